// Package jwttest makes tokens and key sets for tests, good ones and others: it
// signs whatever it is told to, with its own hands.
package jwttest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"
)

// Key is a key pair with its id.
type Key struct {
	ID      string
	Private crypto.Signer
}

// RSA, EC and Ed make a new key.
func RSA(t testing.TB, id string, bits int) Key {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	must(t, err)
	return Key{id, k}
}

// EC makes a key of P-256, or of another curve.
func EC(t testing.TB, id string, curve elliptic.Curve) Key {
	t.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	must(t, err)
	return Key{id, k}
}

// Ed makes a key of Ed25519.
func Ed(t testing.TB, id string) Key {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	return Key{id, k}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// JWK is the public key as RFC 7517 has it, with more members on top.
func (k Key) JWK(more ...string) string {
	m := map[string]any{"kid": k.ID, "use": "sig"}
	switch p := k.Private.Public().(type) {
	case *rsa.PublicKey:
		m["kty"], m["n"], m["e"] = "RSA", Encode(p.N.Bytes()), Encode(big.NewInt(int64(p.E)).Bytes())
	case *ecdsa.PublicKey:
		m["kty"], m["crv"] = "EC", p.Curve.Params().Name
		size := (p.Curve.Params().BitSize + 7) / 8
		point, err := p.Bytes() // 4, x, y
		if err != nil {
			panic(err)
		}
		m["x"], m["y"] = Encode(point[1:1+size]), Encode(point[1+size:])
	case ed25519.PublicKey:
		m["kty"], m["crv"], m["x"] = "OKP", "Ed25519", Encode(p)
	}
	for i := 0; i+1 < len(more); i += 2 {
		m[more[i]] = more[i+1]
	}
	text, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// Set is a key set of JWKs.
func Set(jwks ...string) string { return `{"keys":[` + strings.Join(jwks, ",") + `]}` }

// Encode is base64url without padding.
func Encode[T ~string | ~[]byte](content T) string {
	return base64.RawURLEncoding.EncodeToString([]byte(content))
}

// Token is signed by k over header and payload as they are, by the algorithm alg:
// it need not be what header says.
func (k Key) Token(t testing.TB, alg, header, payload string) string {
	t.Helper()
	input := Encode(header) + "." + Encode(payload)
	return input + "." + Encode(k.sign(t, alg, input))
}

// Claims is a good token of ES256, or of another algorithm, with these claims.
func (k Key) Claims(t testing.TB, alg, payload string) string {
	t.Helper()
	return k.Token(t, alg, fmt.Sprintf(`{"alg":%q,"kid":%q}`, alg, k.ID), payload)
}

func (k Key) sign(t testing.TB, alg, input string) []byte {
	t.Helper()
	if alg == "none" {
		return nil
	}
	if k, ok := k.Private.(ed25519.PrivateKey); ok {
		return ed25519.Sign(k, []byte(input))
	}
	hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[alg[2:]]
	h := hash.New()
	h.Write([]byte(input))
	digest := h.Sum(nil)
	switch key := k.Private.(type) {
	case *rsa.PrivateKey:
		var opts crypto.SignerOpts = hash
		if strings.HasPrefix(alg, "PS") {
			opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
		}
		signature, err := key.Sign(rand.Reader, digest, opts)
		must(t, err)
		return signature
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, key, digest)
		must(t, err)
		size := (key.Curve.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	}
	t.Fatalf("no way to sign by %s with %T", alg, k.Private)
	return nil
}

// HMAC signs by HS256 with a secret, such as the text of a public key.
func HMAC(header, payload string, secret []byte) string {
	input := Encode(header) + "." + Encode(payload)
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(input))
	return input + "." + Encode(h.Sum(nil))
}
