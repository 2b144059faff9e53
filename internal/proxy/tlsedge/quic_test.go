package tlsedge

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/weirproxy/weir/stream"
)

// meetQUIC makes a handshake over QUIC and returns the facts of the server. In
// TLS 1.3 the client is done first, so the word of the server counts.
func meetQUIC(t *testing.T, s *Server, client *tls.Config) (*stream.TLS, error) {
	t.Helper()
	pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	tr := &quic.Transport{Conn: pc}
	defer tr.Close()
	ln, err := tr.Listen(s.QUICConfig(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client = client.Clone()
	client.NextProtos = []string{"h3"}
	conn, err := quic.DialAddr(ctx, pc.LocalAddr().String(), client, nil)
	if err != nil {
		return nil, err
	}
	defer conn.CloseWithError(0, "")
	accepted := make(chan *quic.Conn, 1)
	go func() {
		defer close(accepted)
		if c, err := ln.Accept(conn.Context()); err == nil {
			accepted <- c
		}
	}()
	server := <-accepted
	if server == nil {
		return nil, context.Cause(conn.Context())
	}
	state := server.ConnectionState().TLS
	return QUICFacts(&state), nil
}

// TestQUICClientCertificates: the policy of the listener holds over QUIC, and
// what a client shows becomes its identity.
func TestQUICClientCertificates(t *testing.T) {
	ca, other := newAuthority(t, "ca"), newAuthority(t, "other")
	s := newSite(ca.issue([]string{"a.example"})).clients("require", ca).server(t)
	base := &tls.Config{RootCAs: ca.pool, ServerName: "A.example"}
	shown := ca.issue([]string{"client"})
	for _, test := range []struct {
		name string
		pair *pair
		ok   bool
	}{{"none", nil, false}, {"of another authority", other.issue([]string{"client"}), false}, {"good", shown, true}} {
		t.Run(test.name, func(t *testing.T) {
			client := base.Clone()
			if test.pair != nil {
				showing(test.pair)(client)
			}
			facts, err := meetQUIC(t, s, client)
			if (err == nil) != test.ok {
				t.Fatalf("error %v, want success: %v", err, test.ok)
			}
			if test.ok && (facts.Client == nil || facts.ServerName != "a.example" || facts.ALPN != "h3" || facts.Version != tls.VersionTLS13) {
				t.Errorf("facts %+v", facts)
			}
		})
	}
}

// TestQUICUnknownName: a name without a certificate is refused over QUIC, too.
func TestQUICUnknownName(t *testing.T) {
	ca := newAuthority(t, "ca")
	site := newSite(ca.issue([]string{"a.example"}))
	site.Spec.UnknownName = "refuse"
	_, err := meetQUIC(t, site.server(t), &tls.Config{RootCAs: ca.pool, ServerName: "b.example"})
	var e *quic.TransportError
	if !errors.As(err, &e) || !e.ErrorCode.IsCryptoError() {
		t.Errorf("error %v, want an alert", err)
	}
}

// TestQUICTicketKeys: a session of TCP is none of QUIC, nor the other way
// round.
func TestQUICTicketKeys(t *testing.T) {
	ca := newAuthority(t, "ca")
	s := newSite(ca.issue([]string{"a.example"})).server(t)
	g := s.state.Load().exact["a.example"]
	epoch := time.Now().Unix() / int64(ticketEpoch/time.Second)
	trust := s.state.Load().trust
	if ticketKey(&s.master, trust, g.certs, epoch) == ticketKey(&s.master, trust, g.quic.certs, epoch) {
		t.Error("QUIC and TCP share their ticket keys")
	}
}

// TestQUICSlots: a handshake without a slot is refused at once, and gives no
// slot of TCP away.
func TestQUICSlots(t *testing.T) {
	ca := newAuthority(t, "ca")
	site := newSite(ca.issue([]string{"a.example"}))
	site.Spec.MaxHandshakes = 1
	s := site.server(t)
	client := &tls.Config{RootCAs: ca.pool, ServerName: "a.example"}
	s.state.Load().quicSlots <- struct{}{}
	if _, err := meetQUIC(t, s, client); err == nil {
		t.Fatal("a handshake beyond max_handshakes")
	}
	<-s.state.Load().quicSlots
	if _, err := meetQUIC(t, s, client); err != nil {
		t.Fatal(err)
	}
	if len(s.state.Load().slots) != 0 {
		t.Error("a slot of TCP is taken")
	}
}
