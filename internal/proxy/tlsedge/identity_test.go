package tlsedge

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestIdentity(t *testing.T) {
	ca := newAuthority(t, "ca")
	uri, err := url.Parse("spiffe://prod.example/ns/pay/sa/api")
	if err != nil {
		t.Fatal(err)
	}
	client := ca.issue([]string{"api.pay.svc"}, func(c *x509.Certificate) {
		c.Subject = pkix.Name{CommonName: "api, \"pay\"", Organization: []string{"Example"}}
		c.URIs = []*url.URL{uri}
		c.EmailAddresses = []string{"ops@example.com"}
		c.IPAddresses = []net.IP{net.ParseIP("192.0.2.7"), net.ParseIP("2001:db8::7")}
	})
	for _, mode := range []string{"off", "optional", "require"} {
		server := newSite(ca.issue([]string{"api.example.com"})).clients(mode, ca).server(t)
		out := meet(t, server, &tls.Config{ServerName: "api.example.com", RootCAs: ca.pool, Certificates: []tls.Certificate{client.TLS()}})
		if out.serverErr != nil || out.clientErr != nil {
			t.Fatal(out.serverErr, out.clientErr)
		}
		id := out.facts.Client
		if mode == "off" {
			if id != nil {
				t.Errorf("off: a client has an identity: %+v", id)
			}
			continue
		}
		if id == nil {
			t.Fatalf("%s: no identity", mode)
		}
		if id.Subject != `CN=api\, \"pay\",O=Example` || id.SPIFFE != uri.String() || len(id.Fingerprint) != 64 || !id.NotAfter.Equal(validTo) ||
			!slices.Equal(id.DNSNames, []string{"api.pay.svc"}) || !slices.Equal(id.URIs, []string{uri.String()}) ||
			!slices.Equal(id.Emails, []string{"ops@example.com"}) ||
			!slices.Equal(id.IPs, []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")}) {
			t.Errorf("%s: identity is %+v", mode, id)
		}
	}
	server := newSite(ca.issue([]string{"api.example.com"})).clients("optional", ca).server(t)
	if out := meet(t, server, &tls.Config{ServerName: "api.example.com", RootCAs: ca.pool}); out.serverErr != nil || out.facts.Client != nil {
		t.Errorf("optional without a certificate: %v, %+v", out.serverErr, out.facts)
	}
}

func TestSPIFFE(t *testing.T) {
	long := strings.Repeat("x", 255)
	for _, tt := range []struct {
		uris []string
		good bool
	}{
		{[]string{"spiffe://prod.example/ns/pay"}, true},
		{[]string{"spiffe://prod.example"}, true},
		{[]string{"spiffe://" + long + "/a"}, true},
		{[]string{"spiffe://prod.example/A-b_c.d"}, true},
		{nil, false},
		{[]string{"https://prod.example/ns"}, false},
		{[]string{"spiffe://prod.example/a", "spiffe://prod.example/b"}, false},
		{[]string{"spiffe://prod.example/a", "https://x.example"}, false},
		{[]string{"spiffe:///a"}, false},
		{[]string{"spiffe:prod.example"}, false},
		{[]string{"spiffe://Prod.example/a"}, false},
		{[]string{"spiffe://prod.example:80/a"}, false},
		{[]string{"spiffe://me@prod.example/a"}, false},
		{[]string{"spiffe://prod.example/a?b"}, false},
		{[]string{"spiffe://prod.example/a?"}, false},
		{[]string{"spiffe://prod.example/a#b"}, false},
		{[]string{"spiffe://prod.example/"}, false},
		{[]string{"spiffe://prod.example/a/"}, false},
		{[]string{"spiffe://prod.example//a"}, false},
		{[]string{"spiffe://prod.example/a/../b"}, false},
		{[]string{"spiffe://prod.example/./b"}, false},
		{[]string{"spiffe://prod.example/a%2Fb"}, false},
		{[]string{"spiffe://prod.example/ü"}, false},
		{[]string{"spiffe://" + long + "x/a"}, false},
		{[]string{"spiffe://prod.example/" + strings.Repeat("x", maxSPIFFE)}, false},
	} {
		leaf := &x509.Certificate{}
		for _, text := range tt.uris {
			uri, err := url.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			leaf.URIs = append(leaf.URIs, uri)
		}
		want := ""
		if tt.good {
			want = tt.uris[0]
		}
		if got := spiffeID(leaf); got != want {
			t.Errorf("%.60q: %q", tt.uris, got)
		}
		leaf.IsCA = true
		if got := spiffeID(leaf); got != "" {
			t.Errorf("%.60q: an authority has the id %q", tt.uris, got)
		}
	}
}

// TestNamesWithControlBytes: two programs read such a name differently
// (threats.md section 6, "Certificate content").
func TestNamesWithControlBytes(t *testing.T) {
	ca := newAuthority(t, "ca")
	for name, change := range map[string]func(*x509.Certificate){
		"dns":      func(c *x509.Certificate) { c.DNSNames = []string{"admin.example\x00.evil.example"} },
		"email":    func(c *x509.Certificate) { c.EmailAddresses = []string{"a@b\x00"} },
		"subject":  func(c *x509.Certificate) { c.Subject.CommonName = "admin\x00" },
		"org unit": func(c *x509.Certificate) { c.Subject.OrganizationalUnit = []string{"a\nb"} },
	} {
		t.Run(name, func(t *testing.T) {
			for _, mode := range []string{"optional", "require"} {
				server := newSite(ca.issue([]string{"api.example.com"})).clients(mode, ca).server(t)
				out := meet(t, server, &tls.Config{ServerName: "api.example.com", RootCAs: ca.pool, Certificates: []tls.Certificate{ca.issue(nil, change).TLS()}})
				wantReason(t, server, out.serverErr, BadClientCertificate)
				if out.facts != nil {
					t.Error("there are facts of a refused handshake")
				}
			}
		})
	}
}
