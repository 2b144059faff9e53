package scenario

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/weirproxy/weir/test/testcert"
)

// authority signs the leaves of one case.
type authority struct{ *testcert.Pair }

func newAuthority(dir, name string) (*authority, error) {
	own, err := testcert.Issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil)
	if err != nil {
		return nil, err
	}
	return &authority{own}, os.WriteFile(filepath.Join(dir, name+".pem"), own.CertPEM(), 0o600)
}

// leaf writes NAME.crt and NAME.key for what stands behind "=", by default the
// name itself.
func (a *authority) leaf(dir, what string) error {
	name, sans, ok := strings.Cut(what, "=")
	if !ok {
		sans = name
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, san := range strings.Split(sans, ",") {
		if u, err := url.Parse(san); err == nil && u.Scheme != "" {
			template.URIs = append(template.URIs, u)
			continue
		}
		template.DNSNames = append(template.DNSNames, san)
	}
	pair, err := testcert.Issue(template, a.Pair)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, name+".crt"), pair.CertPEM(), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".key"), pair.KeyPEM(), 0o600)
}

// clientTLS trusts ca.pem and shows the leaf, if there is one.
func clientTLS(dir, serverName, leaf string) (*tls.Config, error) {
	bundle, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{ServerName: serverName, RootCAs: x509.NewCertPool(), NextProtos: []string{"http/1.1"}}
	cfg.RootCAs.AppendCertsFromPEM(bundle)
	if leaf != "" {
		cfg.Certificates, err = keyPair(dir, leaf)
	}
	return cfg, err
}

func keyPair(dir, leaf string) ([]tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, leaf+".crt"), filepath.Join(dir, leaf+".key"))
	return []tls.Certificate{pair}, err
}
