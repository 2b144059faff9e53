package tlsedge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

// TestCertificateByName is the SNI column of the mTLS matrix (threats.md
// section 6): exact, wildcard, case, absent, unknown.
func TestCertificateByName(t *testing.T) {
	ca := newAuthority(t, "ca")
	byName := map[string]*pair{
		"default":  ca.issue([]string{"default.example"}),
		"exact":    ca.issue([]string{"api.example.com"}),
		"wildcard": ca.issue([]string{"*.example.com", "*.Mixed.Example"}),
		"nested":   ca.issue([]string{"*.deep.example.com"}),
		"odd":      ca.issue([]string{"a.*.example.org", "f*.example.org"}),
	}
	s := newSite(byName["default"], byName["exact"], byName["wildcard"], byName["nested"], byName["odd"])
	for _, refuse := range []bool{false, true} {
		if refuse {
			s.Spec.UnknownName = "refuse"
		}
		for _, tt := range []struct{ sni, want string }{
			{"api.example.com", "exact"},
			{"API.Example.COM", "exact"},
			{"www.example.com", "wildcard"},
			{"WWW.example.com", "wildcard"},
			{"x.mixed.example", "wildcard"},
			{"x.deep.example.com", "nested"},
			{"deep.example.com", "wildcard"},
			{"a.b.deep.example.com", ""},
			{"a.b.example.com", ""},
			{"example.com", ""},
			{"a.b.example.org", ""},
			{"foo.example.org", ""},
			{"*.example.com", ""},
			{"", ""},
			{"nul\x00.example.com", ""},
			{"-", ""},
		} {
			server := s.server(t)
			out := meet(t, server, &tls.Config{ServerName: tt.sni, InsecureSkipVerify: true})
			if tt.want == "" && refuse {
				wantReason(t, server, out.serverErr, UnknownName)
				if out.clientErr == nil || !strings.Contains(out.clientErr.Error(), "unrecognized name") {
					t.Errorf("%q: the client got %v, want the alert unrecognized_name", tt.sni, out.clientErr)
				}
				continue
			}
			if out.serverErr != nil || out.clientErr != nil {
				t.Errorf("%q: %v, %v", tt.sni, out.serverErr, out.clientErr)
				continue
			}
			want := byName["default"]
			if tt.want != "" {
				want = byName[tt.want]
			}
			if !out.client.PeerCertificates[0].Equal(want.Leaf) {
				t.Errorf("%q: got the certificate for %v", tt.sni, out.client.PeerCertificates[0].DNSNames)
			}
		}
	}
}

func TestFacts(t *testing.T) {
	ca := newAuthority(t, "ca")
	server := newSite(ca.issue([]string{"api.example.com"})).server(t)
	out := meet(t, server, &tls.Config{ServerName: "API.example.com", RootCAs: ca.pool, NextProtos: []string{"h2", "http/1.1"}})
	if out.serverErr != nil || out.clientErr != nil {
		t.Fatal(out.serverErr, out.clientErr)
	}
	f := out.facts
	if f.Version != tls.VersionTLS13 || f.Suite == 0 || f.ServerName != "api.example.com" || f.ALPN != "http/1.1" || f.Resumed || f.Client != nil {
		t.Errorf("facts are %+v", f)
	}
	if server.Stats.Done.Load() != 1 || server.Stats.Underway.Load() != 0 {
		t.Errorf("done %d, under way %d", server.Stats.Done.Load(), server.Stats.Underway.Load())
	}
	out = meet(t, server, &tls.Config{ServerName: "bytes\x01.example", InsecureSkipVerify: true})
	if out.serverErr != nil || out.facts.ServerName != "" {
		t.Errorf("a name with control bytes became the fact %q (%v)", out.facts.ServerName, out.serverErr)
	}
}

// TestRSAAndECDSAForOneName: the client gets the one that it can use.
func TestRSAAndECDSAForOneName(t *testing.T) {
	ca := newAuthority(t, "ca")
	ecdsaPair := ca.issue([]string{"api.example.com"})
	rsaPair := ca.issueFor(newRSAKey(t), []string{"api.example.com"})
	server := newSite(ecdsaPair, rsaPair).server(t)
	for suite, want := range map[uint16]*pair{
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:   rsaPair,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: ecdsaPair,
	} {
		out := meet(t, server, &tls.Config{ServerName: "api.example.com", RootCAs: ca.pool, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite}})
		if out.serverErr != nil || out.clientErr != nil {
			t.Fatal(out.serverErr, out.clientErr)
		}
		if !out.client.PeerCertificates[0].Equal(want.Leaf) {
			t.Errorf("suite %s got the other certificate", tls.CipherSuiteName(suite))
		}
	}
}

// TestFailuresByReason holds the reasons that are read from the words of the
// standard library, too.
func TestFailuresByReason(t *testing.T) {
	ca := newAuthority(t, "ca")
	own := ca.issue([]string{"api.example.com"})
	stranger := newAuthority(t, "stranger").issue(nil)
	expired := ca.issue(nil, func(c *x509.Certificate) { c.NotAfter = validFrom.Add(time.Hour) })
	serverOnly := ca.issue(nil, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	plain := func(c *tls.Config) {}
	for _, tt := range []struct {
		name   string
		site   func(*site)
		client func(*tls.Config)
		want   Reason
	}{
		{"version", func(s *site) { s.Spec.MinVersion = "1.3" }, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, NoSharedVersion},
		{"ancient version", nil, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, NoSharedVersion},
		{"cipher", nil, func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
		}, NoSharedCipher},
		{"alpn", nil, func(c *tls.Config) { c.NextProtos = []string{"h2"} }, NoSharedProtocol},
		{"no client certificate", func(s *site) { s.clients("require", ca) }, plain, NoClientCertificate},
		{"unknown authority", func(s *site) { s.clients("require", ca) }, showing(stranger), BadClientCertificate},
		{"unknown authority, optional", func(s *site) { s.clients("optional", ca) }, showing(stranger), BadClientCertificate},
		{"expired", func(s *site) { s.clients("require", ca) }, showing(expired), BadClientCertificate},
		{"no client usage", func(s *site) { s.clients("require", ca) }, showing(serverOnly), BadClientCertificate},
		{"client does not trust", nil, func(c *tls.Config) { c.RootCAs = x509.NewCertPool() }, RefusedByClient},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			site := newSite(own)
			if tt.site != nil {
				tt.site(site)
			}
			client := &tls.Config{ServerName: "api.example.com", RootCAs: ca.pool, MaxVersion: version}
			tt.client(client)
			t.Run(tt.name+" "+tls.VersionName(client.MaxVersion), func(t *testing.T) {
				server := site.server(t)
				out := meet(t, server, client)
				wantReason(t, server, out.serverErr, tt.want)
				// The client reads an alert, never a bare reset: see linger.
				if out.clientErr == nil || tt.want != RefusedByClient && !strings.Contains(out.clientErr.Error(), "remote error") {
					t.Errorf("the client got %v, want an alert", out.clientErr)
				}
			})
		}
	}
}

// showing lets a client show a certificate whatever authorities the server
// names.
func showing(p *pair) func(*tls.Config) {
	return func(c *tls.Config) {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			cert := p.TLS()
			return &cert, nil
		}
	}
}

func TestNotTLSAndClosed(t *testing.T) {
	ca := newAuthority(t, "ca")
	for _, tt := range []struct {
		name, sent string
		want       Reason
	}{
		{"plain HTTP", "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n", NotTLS},
		{"noise", "\x16\x03\x01\x00\x05\x99\x00\x00\x01\x00", Other},
		{"nothing", "", Closed},
		{"half a hello", "\x16\x03\x01\x02\x00\x01", Closed},
		{"huge message", "\x16\x03\x01\x00\x04\x01\xff\xff\xff", Other},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := newSite(ca.issue([]string{"api.example.com"})).server(t)
			near, far := connect(t)
			defer far.Close()
			near.Write([]byte(tt.sent))
			near.(*net.TCPConn).CloseWrite()
			_, err := server.Handshake(context.Background(), far, &stream.Conn{})
			near.Close()
			wantReason(t, server, err, tt.want)
		})
	}
}

func TestBadUpdateKeepsTheOld(t *testing.T) {
	ca := newAuthority(t, "ca")
	good, next := ca.issue([]string{"api.example.com"}), ca.issue([]string{"api.example.com"})
	server := newSite(good).clients("require", ca).server(t)
	mismatch := next.material()
	mismatch.Key = good.material().Key
	broken := ca.bundle().Reveal()
	for name, change := range map[string]func(*site){
		"no certificates": func(s *site) { s.Material.Certificates = nil },
		"wrong key":       func(s *site) { s.Material.Certificates = []snapshot.KeyPair{mismatch} },
		"empty cert":      func(s *site) { s.Material.Certificates[0].Chain = snapshot.Material{} },
		"garbage key":     func(s *site) { s.Material.Certificates[0].Key = snapshot.NewMaterial([]byte("nothing")) },
		"ca missing":      func(s *site) { s.Material.ClientCA = snapshot.Material{} },
		"ca garbage":      func(s *site) { s.Material.ClientCA = snapshot.NewMaterial([]byte("nothing")) },
		"ca second block broken": func(s *site) {
			s.Material.ClientCA = snapshot.NewMaterial(append(broken[:len(broken):len(broken)], pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})...))
		},
		"mode":         func(s *site) { s.Spec.ClientCertificate.Mode = "maybe" },
		"version":      func(s *site) { s.Spec.MinVersion = "1.1" },
		"unknown name": func(s *site) { s.Spec.UnknownName = "ignore" },
	} {
		t.Run(name, func(t *testing.T) {
			changed := newSite(next).clients("require", ca)
			change(changed)
			if _, err := NewServer(changed.Config); err == nil {
				t.Error("a new server takes it")
			}
			err := server.Update(changed.Config)
			if err == nil || !strings.Contains(err.Error(), "stay in use") {
				t.Errorf("error is %v", err)
			}
			out := meet(t, server, &tls.Config{ServerName: "api.example.com", RootCAs: ca.pool, Certificates: []tls.Certificate{next.TLS()}})
			if out.serverErr != nil || out.clientErr != nil || !out.client.PeerCertificates[0].Equal(good.Leaf) {
				t.Errorf("the old certificate is gone: %v, %v", out.serverErr, out.clientErr)
			}
			if out := meet(t, server, &tls.Config{ServerName: "api.example.com", RootCAs: ca.pool}); out.serverErr == nil {
				t.Error("a client without a certificate came in")
			}
		})
	}
}

// TestRotation: a connection goes on while the certificate changes under it.
func TestRotation(t *testing.T) {
	ca := newAuthority(t, "ca")
	first, second := ca.issue([]string{"api.example.com"}), ca.issue([]string{"api.example.com"})
	site := newSite(first)
	server := site.server(t)
	near, far := connect(t)
	defer near.Close()
	echoed := make(chan struct{})
	go func() {
		defer close(echoed)
		defer far.Close()
		if nc, err := server.Handshake(context.Background(), far, &stream.Conn{}); err == nil {
			io.Copy(nc, nc)
		}
	}()
	client := &tls.Config{ServerName: "api.example.com", RootCAs: ca.pool}
	tc := tls.Client(near, client)
	ping := func() {
		t.Helper()
		if _, err := tc.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := tc.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	ping()
	if err := server.Update(site.Config); err != nil || server.Stats.Updates.Load() != 0 {
		t.Errorf("the same content: %v, %d updates", err, server.Stats.Updates.Load())
	}
	if err := server.Update(newSite(second).Config); err != nil || server.Stats.Updates.Load() != 1 {
		t.Fatalf("update: %v, %d updates", err, server.Stats.Updates.Load())
	}
	ping()
	if out := meet(t, server, client); out.clientErr != nil || !out.client.PeerCertificates[0].Equal(second.Leaf) {
		t.Errorf("a new connection gets the old certificate (%v)", out.clientErr)
	}
	tc.Close()
	<-echoed
}

func TestExpiries(t *testing.T) {
	ca := newAuthority(t, "ca")
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	until := func(at time.Time) func(*x509.Certificate) { return func(c *x509.Certificate) { c.NotAfter = at } }
	server := newSite(
		ca.issue([]string{"a.example"}, until(now.Add(90*24*time.Hour))),
		ca.issue([]string{"a.example"}, until(now.Add(36*time.Hour))), // another kind of key, say
		ca.issue([]string{"a.example"}, until(now.Add(48*time.Hour))),
		ca.issue(nil, until(now.Add(-24*time.Hour)))).server(t)
	got := server.Expiries(now)
	if len(got) != 2 || got[0].Name != "a.example" || got[0].Days != 1.5 || got[1].Name != "CN=leaf" || got[1].Days != -1 {
		t.Errorf("got %+v", got)
	}
}

func BenchmarkHandshake(b *testing.B) {
	ca := newAuthority(b, "ca")
	server := newSite(ca.issue([]string{"api.example.com"})).server(b)
	for _, resume := range []bool{false, true} {
		name, client := "full", &tls.Config{ServerName: "api.example.com", RootCAs: ca.pool}
		if resume {
			name, client.ClientSessionCache = "resumed", tls.NewLRUClientSessionCache(1)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if out := meetInBubble(b, server, client); out.serverErr != nil || out.clientErr != nil {
					b.Fatal(out.serverErr, out.clientErr)
				}
			}
		})
	}
}
