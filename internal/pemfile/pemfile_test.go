package pemfile

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/weirproxy/weir/test/testcert"
)

// selfSign makes a certificate for key with its own key.
func selfSign(t *testing.T, key crypto.Signer, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "a"}}
	if change != nil {
		change(template)
	}
	pair, err := testcert.Sign(template, key, nil)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

func ecKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func TestPrivateKey(t *testing.T) {
	key := ecKey(t, elliptic.P256())
	cert := selfSign(t, key, nil)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		text    []byte
		matches bool
		err     string
	}{
		{"EC", block("EC PRIVATE KEY", ec), true, ""},
		{"EC behind its parameters", append(block("EC PARAMETERS", []byte{6}), block("EC PRIVATE KEY", ec)...), true, ""},
		{"PKCS 8", block("PRIVATE KEY", pkcs8), true, ""},
		{"RSA", block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)), false, ""},
		{"encrypted", block("ENCRYPTED PRIVATE KEY", pkcs8), false, "passphrase"},
		{"encrypted, old form", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"DEK-Info": "AES"}}), false, "passphrase"},
		{"garbage", block("PRIVATE KEY", []byte("x")), false, "private key: "},
		{"a certificate", block("CERTIFICATE", cert.Raw), false, "holds a CERTIFICATE"},
		{"empty", []byte(" \n"), false, "is empty"},
		{"DER", pkcs8, false, "is DER"},
		{"cut", []byte("-----BEGIN PRIVATE KEY-----\nAAAA"), false, "is broken PEM"},
		{"text", []byte("key"), false, "holds no PEM private key"},
	} {
		got, err := PrivateKey(c.text)
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: error %v, want %q", c.name, err, c.err)
			}
		case err != nil:
			t.Errorf("%s: %v", c.name, err)
		case Matches(cert, got) != c.matches:
			t.Errorf("%s: matches the certificate: %t", c.name, !c.matches)
		}
	}
}

func TestWeakness(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	huge := selfSign(t, ecKey(t, elliptic.P256()), nil)
	huge.PublicKey = &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 16384), E: 3}
	sha1 := selfSign(t, ecKey(t, elliptic.P256()), nil)
	sha1.RawIssuer, sha1.SignatureAlgorithm = []byte("another"), x509.ECDSAWithSHA1
	root := selfSign(t, ecKey(t, elliptic.P256()), nil)
	root.SignatureAlgorithm = x509.ECDSAWithSHA1
	for _, c := range []struct {
		name string
		cert *x509.Certificate
		want string
	}{
		{"P-256", selfSign(t, ecKey(t, elliptic.P256()), nil), ""},
		{"Ed25519", selfSign(t, ed, nil), ""},
		{"P-224", selfSign(t, ecKey(t, elliptic.P224()), nil), "P-224"},
		{"RSA 1024", selfSign(t, small, nil), "1024 bits"},
		{"RSA 16384", huge, "more than 8192"},
		{"SHA-1", sha1, "SHA1"},
		{"SHA-1 on itself", root, ""},
	} {
		got := Weakness(c.cert)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestNames(t *testing.T) {
	cert := selfSign(t, ecKey(t, elliptic.P256()), func(c *x509.Certificate) {
		c.DNSNames = []string{"A.Example.com", "*.b.example.com", "*", "x*.example.com", "a.*.example.com"}
	})
	names, odd := Names(cert)
	if !slices.Equal(names, []string{"a.example.com", "*.b.example.com"}) || !slices.Equal(odd, []string{"*", "x*.example.com", "a.*.example.com"}) {
		t.Errorf("names %q, odd %q", names, odd)
	}
	if name, found := Unprintable(cert); found {
		t.Errorf("%q called unprintable", name)
	}
	for _, change := range []func(*x509.Certificate){
		func(c *x509.Certificate) { c.DNSNames = []string{"good.example.com\x00.evil.test"} },
		func(c *x509.Certificate) { c.Subject.CommonName = "a\nb" },
		func(c *x509.Certificate) { c.EmailAddresses = []string{"a\x00@b"} },
	} {
		if _, found := Unprintable(selfSign(t, ecKey(t, elliptic.P256()), change)); !found {
			t.Error("a control character in a name was not found")
		}
	}
}

// FuzzPEM: no text makes a panic, and what is accepted has something in it.
func FuzzPEM(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Add([]byte{})
	f.Add([]byte{0x30, 0x82})
	f.Fuzz(func(t *testing.T, content []byte) {
		if chain, err := Certificates(content); err == nil {
			if len(chain) == 0 {
				t.Error("no certificate and no error")
			}
			Weakness(chain[0])
			Names(chain[0])
			Unprintable(chain[0])
			BrokenAt(chain)
		}
		if key, err := PrivateKey(content); err == nil && key == nil {
			t.Error("no key and no error")
		}
	})
}
