// Package testcert makes certificates for tests and benchmarks. What a
// certificate says stands in the test; how it is made stands here.
package testcert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"time"
)

// Pair is a certificate with its key.
type Pair struct {
	Leaf *x509.Certificate
	Key  crypto.Signer
}

// Issue makes a certificate with a new key, signed by issuer, or by itself when
// that is nil. It gives the template a serial number and a validity from an
// hour ago to 90 days from now where they are missing.
func Issue(template *x509.Certificate, issuer *Pair) (*Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return Sign(template, key, issuer)
}

// Sign is Issue for a key that is there.
func Sign(template *x509.Certificate, key crypto.Signer, issuer *Pair) (*Pair, error) {
	complete(template)
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.Leaf, issuer.Key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Pair{Leaf: leaf, Key: key}, nil
}

func complete(template *x509.Certificate) {
	if template.SerialNumber == nil {
		template.SerialNumber, _ = rand.Int(rand.Reader, big.NewInt(1<<62)) // crypto/rand does not fail
	}
	if template.NotBefore.IsZero() && template.NotAfter.IsZero() {
		now := time.Now()
		template.NotBefore, template.NotAfter = now.Add(-time.Hour), now.Add(90*24*time.Hour)
	}
}

// TLS is the pair as crypto/tls has it.
func (p *Pair) TLS() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{p.Leaf.Raw}, PrivateKey: p.Key, Leaf: p.Leaf}
}

// CertPEM is the certificate as it stands in a file.
func (p *Pair) CertPEM() []byte { return block("CERTIFICATE", p.Leaf.Raw) }

// KeyPEM is the key as it stands in a file.
func (p *Pair) KeyPEM() []byte {
	der, _ := x509.MarshalPKCS8PrivateKey(p.Key) // a key that has signed can be written too
	return block("PRIVATE KEY", der)
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
