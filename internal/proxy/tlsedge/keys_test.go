package tlsedge

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"math/big"
	"testing"
)

func newRSAKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// hugeRSA claims an RSA key that would take minutes to make and seconds to
// verify with. It signs noise.
type hugeRSA struct{ public *rsa.PublicKey }

func newHugeRSA(bits uint) hugeRSA {
	n := new(big.Int).Lsh(big.NewInt(1), bits-1)
	return hugeRSA{&rsa.PublicKey{N: n.Add(n, big.NewInt(1)), E: 65537}}
}

func (h hugeRSA) Public() crypto.PublicKey { return h.public }

func (h hugeRSA) Sign(_ io.Reader, _ []byte, _ crypto.SignerOpts) ([]byte, error) {
	if h.public == nil {
		return nil, errors.New("no key")
	}
	return make([]byte, h.public.Size()), nil
}
