package engine_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/weirproxy/weir/test/testcert"
)

// TestHTTP3ClientCertificates: a route that needs a client certificate judges the
// handshake again over HTTP/3 too: without a certificate, and for another name
// than that of the handshake, the answer is 421.
func TestHTTP3ClientCertificates(t *testing.T) {
	certificates, trust := site(t)
	client, err := testcert.Issue(&x509.Certificate{
		DNSNames: []string{"client"}, IsCA: true, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	bundle := filepath.Join(t.TempDir(), "clients.pem")
	if err := os.WriteFile(bundle, client.CertPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	e := start(t, compiled(t, fmt.Sprintf(`
admin: {address: "off"}
access_log: {to: "off"}
listeners:
  - {name: a, address: "127.0.0.1:0", %s, client_certificate: {mode: optional, ca: {file: %q}}}, http3: {}}
routes:
  - {name: open, match: {path: {exact: /open}}, respond: {body: hi}}
  - {name: closed, client_certificate: require, respond: {body: hi}}
`, certificates[:len(certificates)-1], bundle), nil))
	_, port, _ := net.SplitHostPort(e.Addresses()["a"])
	for _, c := range []struct {
		name, path, host string
		shows            bool
		want             int
	}{
		{"open route, no certificate", "/open", "", false, 200},
		{"closed route, no certificate", "/", "", false, 421},
		{"closed route, certificate", "/", "", true, 200},
		{"closed route, certificate, another name", "/", "other.example.com", true, 421},
		{"open route, another name", "/open", "other.example.com", false, 200},
	} {
		cfg := &tls.Config{RootCAs: trust}
		if c.shows {
			cfg.Certificates = []tls.Certificate{client.TLS()}
		}
		transport := &http3.Transport{TLSClientConfig: cfg}
		req, err := http.NewRequest(http.MethodGet, "https://localhost:"+port+c.path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = c.host
		resp, err := (&http.Client{Transport: transport, Timeout: 5 * time.Second}).Do(req)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else {
			resp.Body.Close()
			if resp.StatusCode != c.want || resp.ProtoMajor != 3 {
				t.Errorf("%s: %s over %s, want %d", c.name, resp.Status, resp.Proto, c.want)
			}
		}
		transport.Close()
	}
}
