package tlsedge

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
	"github.com/weirproxy/weir/test/testcert"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authority is a CA of a test.
type authority struct {
	*testcert.Pair
	t    testing.TB
	pool *x509.CertPool
}

// The validity covers the clock of synctest, which begins in the year 2000.
var (
	validFrom = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
	validTo   = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
)

func newAuthority(t testing.TB, name string, change ...func(*x509.Certificate)) *authority {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, NotBefore: validFrom, NotAfter: validTo,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	for _, c := range change {
		c(template)
	}
	own, err := testcert.Issue(template, nil)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{Pair: own, t: t, pool: x509.NewCertPool()}
	a.pool.AddCert(own.Leaf)
	return a
}

func (a *authority) bundle() snapshot.Material {
	return snapshot.NewMaterial(a.CertPEM())
}

// pair is a certificate with its key.
type pair struct{ *testcert.Pair }

// issue makes a certificate for DNS names; change, if any, changes the
// template before it is signed.
func (a *authority) issue(names []string, change ...func(*x509.Certificate)) *pair {
	a.t.Helper()
	own, err := testcert.Issue(leaf(names, change), a.Pair)
	if err != nil {
		a.t.Fatal(err)
	}
	return &pair{own}
}

func (a *authority) issueFor(key crypto.Signer, names []string, change ...func(*x509.Certificate)) *pair {
	a.t.Helper()
	own, err := testcert.Sign(leaf(names, change), key, a.Pair)
	if err != nil {
		a.t.Fatal(err)
	}
	return &pair{own}
}

func leaf(names []string, change []func(*x509.Certificate)) *x509.Certificate {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "leaf"}, DNSNames: names, NotBefore: validFrom, NotAfter: validTo,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, c := range change {
		c(template)
	}
	return template
}

func (p *pair) material() snapshot.KeyPair {
	return snapshot.KeyPair{Chain: snapshot.NewMaterial(p.CertPEM()), Key: snapshot.NewMaterial(p.KeyPEM())}
}

// site is a server configuration of a test.
type site struct {
	Config
}

func newSite(pairs ...*pair) *site {
	material := &snapshot.ListenerTLS{}
	for _, p := range pairs {
		material.Certificates = append(material.Certificates, p.material())
	}
	phases := &stream.PhaseLimits{}
	phases[stream.PhaseHandshake].Ceiling = 10 * time.Second
	return &site{Config{
		Spec:     config.ListenerTLS{UnknownName: "default", MinVersion: "1.2", ClientCertificate: config.ClientCertificate{Mode: "off"}},
		Material: material, NextProtos: []string{"http/1.1"}, Phases: phases, Dog: new(watchdog.Dog),
	}}
}

// clients sets how clients show themselves.
func (s *site) clients(mode string, ca *authority) *site {
	s.Spec.ClientCertificate.Mode = mode
	s.Material.ClientCA = ca.bundle()
	return s
}

func (s *site) server(t testing.TB) *Server {
	t.Helper()
	server, err := NewServer(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// outcome is what both sides say of one handshake.
type outcome struct {
	facts     *stream.TLS
	serverErr error
	client    tls.ConnectionState
	clientErr error
}

// meet makes one connection between a client and the server. Once both
// handshakes are over, the server sends one byte: with it come the tickets.
func meet(t testing.TB, s *Server, client *tls.Config) outcome {
	t.Helper()
	return meetOver(t, s, client, func(nc net.Conn) net.Conn { return nc })
}

func meetOver(t testing.TB, s *Server, client *tls.Config, wrap func(net.Conn) net.Conn) outcome {
	t.Helper()
	near, far := connect(t)
	return converse(s, client, wrap(near), far)
}

// meetInBubble is meet over a pipe, for synctest.
func meetInBubble(t testing.TB, s *Server, client *tls.Config) outcome {
	t.Helper()
	near, far := net.Pipe()
	return converse(s, client, near, far)
}

func converse(s *Server, client *tls.Config, near, far net.Conn) outcome {
	defer near.Close()
	var out outcome
	served := make(chan struct{})
	go func() {
		defer close(served)
		defer far.Close()
		facts := &stream.Conn{}
		var nc net.Conn
		if nc, out.serverErr = s.Handshake(context.Background(), far, facts); out.serverErr != nil {
			return
		}
		out.facts = facts.TLS
		nc.Write([]byte("x"))
		nc.Close()
	}()
	tc := tls.Client(near, client)
	if out.clientErr = tc.Handshake(); out.clientErr == nil {
		out.client = tc.ConnectionState()
		if _, err := tc.Read(make([]byte, 1)); err != nil && !errors.Is(err, io.EOF) {
			out.clientErr = err
		}
	}
	near.Close()
	<-served
	return out
}

// connect is a TCP connection over loopback.
func connect(t testing.TB) (near, far net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if near, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return near, far
}

func wantReason(t *testing.T, s *Server, err error, want Reason) {
	t.Helper()
	var failure *Failure
	if !errors.As(err, &failure) {
		t.Fatalf("error is %v, want a Failure with %v", err, want)
	}
	if failure.Reason != want {
		t.Errorf("reason is %v, want %v (%v)", failure.Reason, want, err)
	}
	if n := s.Stats.Failed[want].Load(); n != 1 {
		t.Errorf("%v is counted %d times", want, n)
	}
}
