package interop

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/weirproxy/weir/test/testcert"
)

// trust is one authority with a certificate for everybody.
type trust struct {
	authority, site *testcert.Pair
	roots           *x509.CertPool
}

func newTrust(t testing.TB) *trust {
	t.Helper()
	authority, err := testcert.Issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	site, err := testcert.Issue(&x509.Certificate{
		Subject:  pkix.Name{CommonName: "site"}, // OpenSSL takes it for self-signed if its name is that of the authority
		DNSNames: []string{"site.test", "*.site.test", "localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, authority)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority.Leaf)
	return &trust{authority: authority, site: site, roots: roots}
}

// write puts ca.pem, site.crt and site.key into dir.
func (c *trust) write(t testing.TB, dir string) {
	t.Helper()
	for name, content := range map[string][]byte{
		"ca.pem": c.authority.CertPEM(), "site.crt": c.site.CertPEM(), "site.key": c.site.KeyPEM(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// server is for those who show the certificate.
func (c *trust) server(alpn ...string) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{c.site.TLS()}, NextProtos: alpn}
}

// client is for those who check it.
func (c *trust) client(alpn ...string) *tls.Config {
	return &tls.Config{RootCAs: c.roots, ServerName: "site.test", NextProtos: alpn}
}
