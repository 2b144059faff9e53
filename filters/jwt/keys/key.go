package keys

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"github.com/weirproxy/weir/internal/token"
	"github.com/weirproxy/weir/stream"
)

// Algorithms are all that are verified (RFC 7518 section 3.1, RFC 8037): with
// public keys only. There is no "none", and no HMAC, for which a public key of
// another algorithm could be taken (RFC 8725 section 2.1).
func Algorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

// Key is one public key.
type Key struct {
	id         string
	algorithms []string // that it may be used with
	public     any      // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

func (k *Key) fits(algorithm string) bool { return slices.Contains(k.algorithms, algorithm) }

// Verify tells whether the token was signed with this key, by its algorithm.
func (k *Key) Verify(t *token.Token) bool {
	if !k.fits(t.Algorithm) {
		return false
	}
	algorithm := jose.SignatureAlgorithm(t.Algorithm)
	signed, err := jose.ParseSignedCompact(t.Text, []jose.SignatureAlgorithm{algorithm})
	if err != nil {
		return false
	}
	payload, err := signed.Verify(k.public)
	return err == nil && string(payload) == string(t.Payload)
}

var (
	errPrivate = errors.New("it is a private or a secret key: whoever sees it can make tokens; publish the public one only, and make a new key")
	errUse     = errors.New("it is not for signatures")
	errKind    = errors.New("its kind is not known, or not taken")
	errMember  = errors.New("a member has another type than RFC 7517 says")
)

// parseKey reads one key of a set (RFC 7517 section 4).
func parseKey(item *stream.Claim) (Key, error) {
	k := Key{}
	text := map[string]string{}
	for _, name := range []string{"kty", "use", "alg", "kid", "crv", "n", "e", "x", "y"} {
		member, named := item.Members[name]
		if named && (member.Kind != stream.TextClaim || !member.Quoted) {
			return k, errMember
		}
		if named {
			text[name] = member.Text
		}
	}
	if private(item, text["kty"]) {
		return k, errPrivate
	}
	if use := text["use"]; use != "" && use != "sig" || !forVerifying(item) {
		return k, errUse
	}
	if k.id = text["kid"]; len(k.id) > maxID {
		return k, fmt.Errorf("its id has %d bytes, more than %d", len(k.id), maxID)
	}
	if err := k.readPublic(text); err != nil {
		return k, err
	}
	if alg, named := text["alg"]; named { // then it is for no other
		if !k.fits(alg) {
			return k, fmt.Errorf("its algorithm is not one of %q", k.algorithms)
		}
		k.algorithms = []string{alg}
	}
	return k, nil
}

// private: a key that makes signatures stands here. A secret key among public
// ones is left out instead (errKind): it is of no use, but no harm either.
func private(item *stream.Claim, kty string) bool {
	if kty == "oct" {
		return false
	}
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "priv"} {
		if _, named := item.Members[name]; named {
			return true
		}
	}
	return false
}

// forVerifying reads key_ops (RFC 7517 section 4.3).
func forVerifying(item *stream.Claim) bool {
	operations, named := item.Members["key_ops"]
	return !named || operations.Any(func(text string) bool { return text == "verify" })
}

// readPublic reads the key itself. Certificates beside it are not looked at:
// nobody says whom to trust for them.
func (k *Key) readPublic(text map[string]string) error {
	bare := map[string]string{}
	for _, name := range []string{"kty", "crv", "n", "e", "x", "y"} {
		if value := text[name]; value != "" {
			bare[name] = value
		}
	}
	if kty := bare["kty"]; kty != "RSA" && kty != "EC" && kty != "OKP" {
		return errKind
	}
	encoded, err := json.Marshal(bare)
	if err != nil {
		return err
	}
	var read jose.JSONWebKey
	if err := read.UnmarshalJSON(encoded); err != nil {
		return fmt.Errorf("it cannot be read: %w", err)
	}
	return k.take(read.Key)
}

// The sizes of RSA keys: RFC 7518 section 3.3 wants 2048 bits, and longer keys
// than the largest that are in use cost too much of everybody's time.
const (
	minRSA = 2048
	maxRSA = 8192
)

func (k *Key) take(public any) error {
	k.public = public
	switch p := public.(type) {
	case *rsa.PublicKey:
		if bits := p.N.BitLen(); bits < minRSA || bits > maxRSA {
			return fmt.Errorf("it has %d bits; %d to %d are taken", bits, minRSA, maxRSA)
		}
		if p.E < 3 || p.E%2 == 0 || p.E > 1<<31-1 {
			return errors.New("its exponent is not odd, or out of range")
		}
		k.algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	case *ecdsa.PublicKey: // jose has seen that the point is on its curve
		k.algorithms = map[int][]string{256: {"ES256"}, 384: {"ES384"}, 521: {"ES512"}}[p.Curve.Params().BitSize]
	case ed25519.PublicKey:
		k.algorithms = []string{"EdDSA"}
	}
	if len(k.algorithms) == 0 {
		return errKind
	}
	return nil
}
