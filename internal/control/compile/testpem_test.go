package compile

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"sync"
	"time"
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
	authority, authorityKey := issue(request{name: "Test CA", ca: true}, nil, nil)
	files["ca.pem"] = authority
	files["ca.der"] = decode(authority)
	files["oldca.pem"], _ = issue(request{name: "Old CA", ca: true, from: -20 * day, until: -day}, nil, nil)
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
		cert, key := issue(r, authority, authorityKey)
		files[name+".crt"], files[name+".key"] = cert, keyPEM(key)
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
func issue(r request, issuer []byte, issuerKey crypto.Signer) ([]byte, crypto.Signer) {
	if r.until == 0 {
		r.from, r.until = -30*day, 60*day
	}
	var key crypto.Signer
	var err error
	if r.rsaBits > 0 {
		key, err = rsa.GenerateKey(rand.Reader, r.rsaBits)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	must(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: r.name}, DNSNames: r.hosts, IPAddresses: r.ips,
		NotBefore: now.Add(r.from), NotAfter: now.Add(r.until), IsCA: r.ca, BasicConstraintsValid: true,
	}
	parent, signer := template, key
	if issuer != nil {
		parent, err = x509.ParseCertificate(decode(issuer))
		must(err)
		signer = issuerKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	must(err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key
}

func decode(content []byte) []byte {
	block, _ := pem.Decode(content)
	return block.Bytes
}

func keyPEM(key crypto.Signer) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
