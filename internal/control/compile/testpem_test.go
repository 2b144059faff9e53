package compile

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"os"
	"sync"
	"time"

	"github.com/weirproxy/weir/test/testcert"
)

func writeFile(name string, content []byte) error { return os.WriteFile(name, content, 0o644) }

const day = 24 * time.Hour

// testPEM has the certificates, keys and bundles of all cases by file name.
var testPEM = sync.OnceValue(func() map[string][]byte {
	files := map[string][]byte{
		"empty.pem":   []byte("\n"),
		"text.pem":    []byte("hello"),
		"broken.pem":  []byte("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"),
		"locked.key":  pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{1}}),
		"nothing.key": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte{1}}),
	}
	authority := issue(request{name: "Test CA", ca: true}, nil)
	files["ca.pem"], files["ca.der"] = authority.CertPEM(), authority.Leaf.Raw
	files["oldca.pem"] = issue(request{name: "Old CA", ca: true, from: -20 * day, until: -day}, nil).CertPEM()
	for name, r := range map[string]request{
		"site":     {hosts: []string{"site.example.com", "*.apps.example.com"}},
		"expired":  {hosts: []string{"site.example.com"}, from: -90 * day, until: -day},
		"early":    {hosts: []string{"site.example.com"}, from: day, until: 90 * day},
		"soon":     {hosts: []string{"site.example.com"}, from: -80 * day, until: 5 * day},
		"brief":    {hosts: []string{"site.example.com"}, from: -time.Hour, until: 12 * time.Hour},
		"weak":     {hosts: []string{"site.example.com"}, rsaBits: 1024},
		"nul":      {hosts: []string{"site.example.com\x00.evil.test"}},
		"inside":   {hosts: []string{"a.*.example.com", "site.example.com"}},
		"nameless": {name: "site.example.com"},
		"address":  {ips: []net.IP{net.IPv4(10, 0, 0, 1)}},
	} {
		pair := issue(r, authority)
		files[name+".crt"], files[name+".key"] = pair.CertPEM(), pair.KeyPEM()
	}
	files["chain.crt"] = append(append([]byte{}, files["site.crt"]...), files["ca.pem"]...)
	files["reversed.crt"] = append(append([]byte{}, files["ca.pem"]...), files["site.crt"]...)
	files["mixed.crt"] = append(append([]byte{}, files["site.crt"]...), files["expired.crt"]...)
	files["/etc/weir/site.crt"], files["/etc/weir/site.key"] = files["site.crt"], files["site.key"]
	return files
})

// request is what a certificate of the tests is like; times are from now.
type request struct {
	name        string
	hosts       []string
	ips         []net.IP
	ca          bool
	rsaBits     int
	from, until time.Duration
}

// issue makes a certificate, signed by itself when there is no issuer.
func issue(r request, issuer *testcert.Pair) *testcert.Pair {
	if r.until == 0 {
		r.from, r.until = -30*day, 60*day
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: r.name}, DNSNames: r.hosts, IPAddresses: r.ips,
		NotBefore: now.Add(r.from), NotAfter: now.Add(r.until), IsCA: r.ca, BasicConstraintsValid: true,
	}
	if r.rsaBits == 0 {
		pair, err := testcert.Issue(template, issuer)
		must(err)
		return pair
	}
	key, err := rsa.GenerateKey(rand.Reader, r.rsaBits)
	must(err)
	pair, err := testcert.Sign(template, key, issuer)
	must(err)
	return pair
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
