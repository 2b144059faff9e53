// Package pemfile reads certificate chains, private keys and CA bundles from
// PEM text, and says in words what is wrong with them. It never touches the
// disk or a clock: callers bring the bytes and the time.
package pemfile

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// maxCertificates bounds a chain or bundle: a bundle of all public roots has
// some 150.
const maxCertificates = 4096

// Certificates reads every CERTIFICATE block, in order. Text between blocks is
// skipped; a block of another type, or none at all, is an error.
func Certificates(content []byte) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for rest := content; ; {
		block, after := pem.Decode(rest)
		if block == nil {
			break
		}
		rest = after
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("block %d is a %s, not a CERTIFICATE", len(chain)+1, block.Type)
		}
		if len(chain) == maxCertificates {
			return nil, fmt.Errorf("more than %d certificates", maxCertificates)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(chain)+1, err)
		}
		chain = append(chain, cert)
	}
	if len(chain) == 0 {
		return nil, noBlock(content, "certificate")
	}
	return chain, nil
}

// PrivateKey reads the first private key; parameter blocks before it (openssl
// ecparam writes one) are skipped.
func PrivateKey(content []byte) (crypto.Signer, error) {
	for rest := content; ; {
		block, after := pem.Decode(rest)
		if block == nil {
			return nil, noBlock(content, "private key")
		}
		rest = after
		switch block.Type {
		case "EC PARAMETERS":
			continue
		case "ENCRYPTED PRIVATE KEY":
			return nil, errEncrypted
		case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY":
			if block.Headers["DEK-Info"] != "" {
				return nil, errEncrypted
			}
			return parseKey(block)
		}
		return nil, fmt.Errorf("holds a %s, not a private key", block.Type)
	}
}

var errEncrypted = errors.New("the private key is encrypted with a passphrase")

func parseKey(block *pem.Block) (crypto.Signer, error) {
	var key any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("private key: a %T cannot sign", key)
	}
	return signer, nil
}

// Matches tells whether the key is the one that the certificate was made for.
func Matches(cert *x509.Certificate, key crypto.Signer) bool {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(cert.PublicKey)
}

// noBlock says why a text that should hold PEM does not.
func noBlock(content []byte, want string) error {
	switch {
	case len(bytes.TrimSpace(content)) == 0:
		return errors.New("is empty")
	case bytes.Contains(content, []byte("-----BEGIN")):
		return errors.New("is broken PEM: a block does not end, or is not base64")
	case content[0] == 0x30: // an ASN.1 sequence
		return errors.New("is DER, not PEM (openssl x509 -inform der converts it)")
	}
	return fmt.Errorf("holds no PEM %s", want)
}
