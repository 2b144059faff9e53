package tlsedge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

func newClient(t testing.TB, spec config.ClusterTLS, material *snapshot.ClusterTLS) *Client {
	t.Helper()
	c, err := NewClientConfig(&spec, material)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// endpoint answers one connection with TLS and tells what it saw.
func endpoint(t testing.TB, c *Client, host string, server *tls.Config) (net.Conn, tls.ConnectionState, error) {
	t.Helper()
	return endpointThat(t, c, host, func(far net.Conn) tls.ConnectionState {
		tc := tls.Server(far, server)
		if tc.Handshake() == nil {
			tc.Write([]byte("x")) // the tickets go with it
		}
		return tc.ConnectionState()
	})
}

func endpointThat(t testing.TB, c *Client, host string, answer func(net.Conn) tls.ConnectionState) (net.Conn, tls.ConnectionState, error) {
	t.Helper()
	near, far := connect(t)
	served := make(chan tls.ConnectionState, 1)
	go func() {
		defer far.Close()
		served <- answer(far)
	}()
	nc, _, err := c.Handshake(t.Context(), near, host, "http/1.1")
	if err == nil {
		t.Cleanup(func() { nc.Close() })
		nc.Read(make([]byte, 1))
	}
	return nc, <-served, err
}

func wantFault(t *testing.T, c *Client, err error, kind stream.Kind, words ...string) {
	t.Helper()
	fault, ok := err.(*stream.Fault)
	if !ok {
		t.Fatalf("error is %T %v, want a Fault", err, err)
	}
	if fault.Kind != kind || fault.Retry != stream.RetryUnsent {
		t.Errorf("%v, retry %d (%v)", fault.Kind, fault.Retry, err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the cause is %q, want %q in it", err, w)
		}
	}
	if n := c.Stats.Failed.Load(); n != 1 {
		t.Errorf("%d failures counted", n)
	}
}

// TestEndpointsThatAreNotWhoTheyShouldBe: every failure says what to do.
func TestEndpointsThatAreNotWhoTheyShouldBe(t *testing.T) {
	ca := newAuthority(t, "ca")
	limited := newAuthority(t, "limited", func(c *x509.Certificate) { c.ExcludedDNSDomains = []string{"example"} })
	good := []string{"api.example"}
	for _, tt := range []struct {
		name string
		cert *pair
		ca   *authority // nil: ca
		sans []string
		min  uint16
		want []string
	}{
		{name: "unknown authority", cert: newAuthority(t, "other").issue(good), want: []string{`signed by "CN=other"`, "set tls.ca"}},
		{name: "another name", cert: ca.issue([]string{"x.example", "y.example"}), want: []string{`"x.example", "y.example"`, `not for "api.example"`, "tls.server_name"}},
		{name: "no name", cert: ca.issue(nil), want: []string{"without any subject alternative name"}},
		{name: "expired", cert: ca.issue(good, func(c *x509.Certificate) { c.NotAfter = validFrom.Add(time.Hour) }), want: []string{"expired at 1999-01-01T01:00:00Z", "renew it"}},
		{name: "of the future", cert: ca.issue(good, func(c *x509.Certificate) { c.NotBefore = validTo.Add(-time.Hour) }), want: []string{"not valid before 2099", "clocks"}},
		{name: "client usage only", cert: ca.issue(good, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), want: []string{"is not valid", "incompatible key usage"}},
		{name: "wildcard in the middle", cert: ca.issue([]string{"a*.example", "*.*"}), want: []string{"not for"}},
		{name: "nul in the name", cert: ca.issue([]string{"api.example\x00.evil"}), want: []string{`"api.example\x00.evil"`}},
		{name: "excluded subtree", cert: limited.issue(good), ca: limited, want: []string{"not valid"}},
		{name: "huge key", cert: ca.issueFor(newHugeRSA(16384), good), want: []string{"RSA key larger than 8192 bits"}},
		{name: "old version", cert: ca.issue(good), min: tls.VersionTLS10, want: []string{"tls.min_version"}},

		{name: "sans: none of them", cert: ca.issue(good), sans: []string{"other.example", "spiffe://td/x"}, want: []string{`for "api.example" and for none of tls.sans`}},
		{name: "sans: unknown authority", cert: newAuthority(t, "other").issue(good), sans: good, want: []string{"set tls.ca"}},
		{name: "sans: expired", cert: ca.issue(good, func(c *x509.Certificate) { c.NotAfter = validFrom.Add(time.Hour) }), sans: good, want: []string{"expired at"}},
		{name: "sans: no server usage", cert: ca.issue(good, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), sans: good, want: []string{"incompatible key usage"}},
		{name: "sans: longer id", cert: ca.issue(nil, id(t, "spiffe://td/api/more")), sans: []string{"spiffe://td/api"}, want: []string{"none of tls.sans"}},
		{name: "sans: two ids", cert: ca.issue(nil, id(t, "spiffe://td/api", "spiffe://td/other")), sans: []string{"spiffe://td/api"}, want: []string{"none of tls.sans"}},
		{name: "sans: nul in a name", cert: ca.issue([]string{"api.example", "evil\x00.example"}), sans: good, want: []string{"control character"}},
		{name: "sans: excluded subtree", cert: limited.issue(good), ca: limited, sans: good, want: []string{"not valid"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.ca == nil {
				tt.ca = ca
			}
			c := newClient(t, config.ClusterTLS{SANs: tt.sans, CA: &config.Secret{File: "ca.pem"}}, &snapshot.ClusterTLS{CA: tt.ca.bundle()})
			server := &tls.Config{Certificates: []tls.Certificate{tt.cert.TLS()}}
			if tt.min != 0 {
				server.MinVersion, server.MaxVersion = tt.min, tls.VersionTLS11
			}
			nc, _, err := endpoint(t, c, "api.example", server)
			if nc != nil {
				t.Error("there is a connection")
			}
			wantFault(t, c, err, stream.TLSFailed, tt.want...)
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < 0x20 }) {
				t.Errorf("the cause has control characters: %q", err)
			}
		})
	}
}

func id(t testing.TB, uris ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		for _, text := range uris {
			uri, err := url.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			c.URIs = append(c.URIs, uri)
		}
	}
}

func TestEndpointsThatAreWhoTheyShouldBe(t *testing.T) {
	ca := newAuthority(t, "ca")
	for _, tt := range []struct {
		name string
		spec config.ClusterTLS
		host string
		cert *pair
		sni  string
	}{
		{"host of the endpoint", config.ClusterTLS{}, "api.example", ca.issue([]string{"api.example"}), "api.example"},
		{"case and dot", config.ClusterTLS{}, "API.example.", ca.issue([]string{"api.example"}), "api.example"},
		{"server name", config.ClusterTLS{ServerName: "api.example"}, "10.0.0.1", ca.issue([]string{"api.example"}), "api.example"},
		{"address", config.ClusterTLS{}, "10.0.0.1", ca.issue(nil, address("10.0.0.1")), ""},
		{"address in brackets", config.ClusterTLS{}, "[2001:db8::1]", ca.issue(nil, address("2001:db8::1")), ""},
		{"wildcard", config.ClusterTLS{}, "api.example", ca.issue([]string{"*.example"}), "api.example"},
		{"sans dns", config.ClusterTLS{SANs: []string{"other.example", "API.internal"}}, "api.example", ca.issue([]string{"api.internal"}), "api.example"},
		{"sans spiffe", config.ClusterTLS{SANs: []string{"spiffe://td/ns/api"}}, "10.0.0.1", ca.issue(nil, id(t, "spiffe://td/ns/api")), ""},
		{"sans on a Unix socket", config.ClusterTLS{SANs: []string{"api.internal"}}, "/run/api.sock", ca.issue([]string{"api.internal"}), ""},
		{"verify off", config.ClusterTLS{Verify: "off"}, "api.example", newAuthority(t, "other").issue(nil), "api.example"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newClient(t, tt.spec, &snapshot.ClusterTLS{CA: ca.bundle()})
			_, seen, err := endpoint(t, c, tt.host, &tls.Config{Certificates: []tls.Certificate{tt.cert.TLS()}, NextProtos: []string{"h2", "http/1.1"}})
			if err != nil {
				t.Fatal(err)
			}
			if seen.ServerName != tt.sni || seen.NegotiatedProtocol != "http/1.1" {
				t.Errorf("the endpoint saw the name %q and %q", seen.ServerName, seen.NegotiatedProtocol)
			}
			off := tt.spec.Verify == "off"
			if c.Verifies() == off || (c.Stats.Unverified.Load() == 1) != off || c.Stats.Done.Load() != 1 {
				t.Errorf("verifies %v, unverified %d", c.Verifies(), c.Stats.Unverified.Load())
			}
		})
	}
}

func address(text string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.ParseIP(text)} }
}

func TestClientCertificate(t *testing.T) {
	ca := newAuthority(t, "ca")
	own := ca.issue([]string{"weir.example"}).material()
	c := newClient(t, config.ClusterTLS{}, &snapshot.ClusterTLS{CA: ca.bundle(), Cert: &own})
	server := &tls.Config{
		Certificates: []tls.Certificate{ca.issue([]string{"api.example"}).TLS()},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: ca.pool, MaxVersion: tls.VersionTLS12,
	}
	_, seen, err := endpoint(t, c, "api.example", server)
	if err != nil || len(seen.PeerCertificates) != 1 || seen.PeerCertificates[0].DNSNames[0] != "weir.example" {
		t.Errorf("the endpoint saw %d certificates (%v)", len(seen.PeerCertificates), err)
	}
	c = newClient(t, config.ClusterTLS{}, &snapshot.ClusterTLS{CA: ca.bundle()})
	_, _, err = endpoint(t, c, "api.example", server)
	wantFault(t, c, err, stream.TLSFailed, "client certificate", "tls.certificate")
}

func TestEndpointsThatDoNotSpeakTLS(t *testing.T) {
	ca := newAuthority(t, "ca")
	for _, tt := range []struct{ name, answer, want string }{
		{"plain HTTP", "HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak TLS"},
		{"closes", "", "closed the connection"},
		{"unrecognized name", "\x15\x03\x03\x00\x02\x02\x70", "tls.server_name"},
		{"certificate required", "\x15\x03\x03\x00\x02\x02\x74", "set tls.certificate"},
		{"unknown authority of ours", "\x15\x03\x03\x00\x02\x02\x30", "does not know the authority of the client certificate"},
		{"handshake failure", "\x15\x03\x03\x00\x02\x02\x28", "cipher suite"},
		{"no protocol", "\x15\x03\x03\x00\x02\x02\x78", "http/1.1 by ALPN"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newClient(t, config.ClusterTLS{}, &snapshot.ClusterTLS{CA: ca.bundle()})
			_, _, err := endpointThat(t, c, "api.example", func(far net.Conn) tls.ConnectionState {
				far.Read(make([]byte, 64<<10)) // the hello
				io.WriteString(far, tt.answer)
				return tls.ConnectionState{}
			})
			wantFault(t, c, err, stream.TLSFailed, tt.want)
		})
	}
}

func TestEndpointWithoutAName(t *testing.T) {
	c := newClient(t, config.ClusterTLS{}, nil)
	near, far := net.Pipe()
	defer far.Close()
	_, _, err := c.Handshake(t.Context(), near, "/run/api.sock")
	wantFault(t, c, err, stream.TLSFailed, "tls.server_name or tls.sans")
}

func TestSlowEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, config.ClusterTLS{}, nil)
		for _, cancel := range []bool{false, true} {
			near, far := net.Pipe()
			go io.Copy(io.Discard, far)
			ctx, stop := context.WithTimeout(t.Context(), 3*time.Second)
			if cancel {
				time.AfterFunc(time.Second, stop)
			}
			begun := time.Now()
			_, _, err := c.Handshake(ctx, near, "api.example")
			stop()
			if cancel {
				var fault *stream.Fault
				if !errors.As(err, &fault) || fault.Kind != stream.ClientGone || time.Since(begun) != time.Second {
					t.Errorf("canceled: %v after %v", err, time.Since(begun))
				}
				continue
			}
			wantFault(t, c, err, stream.ConnectTimeout, "connect_timeout")
			if took := time.Since(begun); took != 3*time.Second {
				t.Errorf("it took %v", took)
			}
		}
	})
}

// TestClientResumption: sessions are used again, and a new Client (a change of
// trust) has none. An endpoint that lost its right to a name is not resumed
// with under that name.
func TestClientResumption(t *testing.T) {
	ca := newAuthority(t, "ca")
	server := &tls.Config{Certificates: []tls.Certificate{ca.issue([]string{"api.example"}).TLS()}}
	for _, sans := range [][]string{nil, {"api.example"}} {
		spec := config.ClusterTLS{SANs: sans}
		c := newClient(t, spec, &snapshot.ClusterTLS{CA: ca.bundle()})
		for i, want := range []int64{0, 1, 2} {
			if _, _, err := endpoint(t, c, "api.example", server); err != nil {
				t.Fatal(err)
			}
			if got := c.Stats.Resumed.Load(); got != want {
				t.Errorf("sans %v: after connection %d %d were resumed, want %d", sans, i, got, want)
			}
		}
		other := newClient(t, spec, &snapshot.ClusterTLS{CA: newAuthority(t, "other").bundle()})
		_, _, err := endpoint(t, other, "api.example", server)
		wantFault(t, other, err, stream.TLSFailed, "set tls.ca")
	}
}

func TestBadClientConfigIsRefused(t *testing.T) {
	ca := newAuthority(t, "ca")
	mismatch := ca.issue(nil).material()
	mismatch.Key = ca.issue(nil).material().Key
	for _, tt := range []struct {
		name     string
		spec     config.ClusterTLS
		material *snapshot.ClusterTLS
		want     string
	}{
		{"ca is gone", config.ClusterTLS{CA: &config.Secret{File: "ca.pem"}}, nil, "ca is configured"},
		{"ca is garbage", config.ClusterTLS{}, &snapshot.ClusterTLS{CA: snapshot.NewMaterial([]byte("x"))}, "ca holds no PEM"},
		{"certificate is gone", config.ClusterTLS{Certificate: &config.Certificate{}}, nil, "certificate is configured"},
		{"wrong key", config.ClusterTLS{}, &snapshot.ClusterTLS{Cert: &mismatch}, "does not belong"},
		{"verify", config.ClusterTLS{Verify: "no"}, nil, "neither full nor off"},
		{"version", config.ClusterTLS{MinVersion: "1.1"}, nil, "neither 1.2 nor 1.3"},
		{"san", config.ClusterTLS{SANs: []string{"a b"}}, nil, "sans"},
	} {
		if _, err := NewClientConfig(&tt.spec, tt.material); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}
