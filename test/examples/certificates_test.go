package examples

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/weirproxy/weir/test/testcert"
)

// authority is every certificate that the examples and the documentation name,
// by the name of its file.
type authority map[string]*testcert.Pair

var issued = sync.OnceValues(issue)

func pki(t *testing.T) authority {
	t.Helper()
	a, err := issued()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// issue makes what the openssl commands of the examples make.
func issue() (authority, error) {
	a := authority{}
	for _, c := range []struct{ name, by, san string }{
		{"site", "", "DNS:shop.test"},
		{"wildcard", "", "DNS:*.tenants.test"},
		{"clients-ca", "", ""},
		{"alice", "clients-ca", "URI:spiffe://example.test/user/alice"},
		{"services-ca", "", ""},
		{"api", "services-ca", "DNS:api.internal.test,URI:spiffe://example.test/service/api"},
		{"edge", "services-ca", "URI:spiffe://example.test/service/edge"},
		{"other", "services-ca", "URI:spiffe://example.test/service/other"},
	} {
		p, err := newPair(c.name, c.san, a[c.by])
		if err != nil {
			return nil, err
		}
		a[c.name] = p
	}
	return a, nil
}

func newPair(name, san string, by *testcert.Pair) (*testcert.Pair, error) {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true, IsCA: by == nil,
	}
	for _, entry := range strings.Split(san, ",") {
		switch kind, value, _ := strings.Cut(entry, ":"); kind {
		case "DNS":
			template.DNSNames = append(template.DNSNames, value)
		case "URI":
			uri, err := url.Parse(value)
			if err != nil {
				return nil, err
			}
			template.URIs = append(template.URIs, uri)
		}
	}
	return testcert.Issue(template, by)
}

func (a authority) pool(names ...string) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, name := range names {
		pool.AddCert(a[name].Leaf)
	}
	return pool
}

func (a authority) tls(name string) *tls.Certificate {
	pair := a[name].TLS()
	return &pair
}

// folder is a new folder with certs/ and the other files of the examples in it. Its path is short: Unix sockets are
// made there.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for file, content := range map[string][]byte{"redis-password": []byte(redisPassword + "\n"), "countries.mmdb": atlas()} {
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	certs := filepath.Join(dir, "certs")
	if err := os.Mkdir(certs, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, p := range pki(t) {
		for file, content := range map[string][]byte{name + ".crt": p.CertPEM(), name + ".key": p.KeyPEM()} {
			if err := os.WriteFile(filepath.Join(certs, file), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}
