package reload

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"path/filepath"
	"testing"
	"time"
)

// document is what weir runs from, with the parts that change.
type document struct {
	dir       string
	upstreams []string

	routes    int  // how many others there are
	tag       int  // in a header of every response
	idle      int  // seconds, of the pool
	onlyFirst bool // the second endpoint is gone
	headers   int  // max_header_count
	serial    int  // of the certificate

	key     *ecdsa.PrivateKey
	written int // serial of the certificate that is written
}

func (d *document) write(t *testing.T) {
	t.Helper()
	if d.key == nil || d.written != d.serial {
		d.writeCertificate(t)
	}
	endpoints := fmt.Sprintf("%q, %q", d.upstreams[0], d.upstreams[1])
	if d.onlyFirst {
		endpoints = fmt.Sprintf("%q", d.upstreams[0])
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `
admin: {address: "unix:%s"}
access_log: {to: %s}
listeners:
  - {name: plain, address: "127.0.0.1:0", limits: {max_header_count: %d}}
  - name: secure
    address: "127.0.0.1:0"
    limits: {max_header_count: %d}
    tls: {certificates: [{cert: {file: site.crt}, key: {file: site.key}}]}
clusters:
  - {name: echo, endpoints: [%s], pool: {idle: %ds}}
routes:
  - name: echo
    filters: [{headers: {response: {set: [{name: X-Tag, value: "%d"}]}}}]
    to: [{cluster: echo}]
`, d.adminSocket(), filepath.Join(d.dir, "access.log"), d.headers, d.headers, endpoints, d.idle, d.tag)
	for i := range d.routes {
		fmt.Fprintf(&b, "  - {name: other-%d, match: {path: {prefix: /other/%d}}, respond: {status: 204}}\n", i, i)
	}
	replace(t, d.dir, "weir.yaml", b.Bytes())
}

func (d *document) adminSocket() string { return filepath.Join(d.dir, "a.sock") }

// writeCertificate makes a certificate that is its own authority, always of
// the same key, so that clients know it and certificate and key always match.
func (d *document) writeCertificate(t *testing.T) {
	t.Helper()
	if d.key == nil {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		d.key = key
		secret, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		replace(t, d.dir, "site.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
	}
	d.written = d.serial
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(d.serial) + 1), Subject: pkix.Name{CommonName: "site"}, DNSNames: []string{"site.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &d.key.PublicKey, d.key)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, d.dir, "site.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
