package examples

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// authority is every certificate that the examples and the documentation name,
// by the name of its file.
type authority map[string]*pair

type pair struct {
	leaf *x509.Certificate
	key  *ecdsa.PrivateKey
	cert []byte // PEM
	pem  []byte // of the key
}

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

func newPair(name, san string, by *pair) (*pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		BasicConstraintsValid: true, IsCA: by == nil,
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
	p := &pair{key: key}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.leaf, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	if p.leaf, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	text, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	p.cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	p.pem = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text})
	return p, nil
}

func (a authority) pool(names ...string) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, name := range names {
		pool.AddCert(a[name].leaf)
	}
	return pool
}

func (a authority) tls(name string) *tls.Certificate {
	return &tls.Certificate{Certificate: [][]byte{a[name].leaf.Raw}, PrivateKey: a[name].key, Leaf: a[name].leaf}
}

// folder is a new folder with certs/ in it. Its path is short: Unix sockets are
// made there.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	certs := filepath.Join(dir, "certs")
	if err := os.Mkdir(certs, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, p := range pki(t) {
		for file, content := range map[string][]byte{name + ".crt": p.cert, name + ".key": p.pem} {
			if err := os.WriteFile(filepath.Join(certs, file), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}
