//go:build linux

package main

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"os"
	"path/filepath"

	"github.com/weirproxy/weir/test/testcert"
)

const serverName = "bench.example.com"

// writeCertificate makes a certificate with a P-256 key.
func writeCertificate(dir string) (cert, key string, err error) {
	pair, err := testcert.Issue(&x509.Certificate{Subject: pkix.Name{CommonName: serverName}, DNSNames: []string{serverName}}, nil)
	if err != nil {
		return "", "", err
	}
	cert, key = filepath.Join(dir, "site.crt"), filepath.Join(dir, "site.key")
	if err := os.WriteFile(cert, pair.CertPEM(), 0o600); err != nil {
		return "", "", err
	}
	return cert, key, os.WriteFile(key, pair.KeyPEM(), 0o600)
}
