package tlsedge

import (
	"context"
	"crypto/tls"
	"errors"
	"time"

	"github.com/weirproxy/weir/stream"
)

// QUIC has no connection that a handshake could be tied to, and its handshakes
// begin with an address that nobody has proved. So they have slots of their own
// (as many as max_handshakes), taken without a wait: what comes over them is
// refused, and never keeps a client of TCP waiting.

var errNoSlotQUIC = errors.New("max_handshakes are under way over QUIC")

const protoHTTP3 = "h3"

// QUICConfig is for a listener of QUIC: TLS 1.3 and HTTP/3 only, and otherwise
// the certificates, names and client certificates of this server. It follows
// every Update by itself.
func (s *Server) QUICConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{protoHTTP3}, GetConfigForClient: s.chooseQUIC,
	}
}

// QUICFacts makes the facts of a handshake over QUIC. The resumption of a
// session shows what the session was made with.
func QUICFacts(cs *tls.ConnectionState) *stream.TLS { return factsOf(cs, serverName(cs.ServerName)) }

// chooseQUIC is choose for QUIC.
func (s *Server) chooseQUIC(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	st := s.state.Load()
	g := st.lookup(serverName(hello.ServerName))
	if g == nil {
		refuse := st.refuse.Clone()
		refuse.NextProtos = []string{protoHTTP3}
		return refuse, nil
	}
	if st.quicSlots != nil {
		select {
		case st.quicSlots <- struct{}{}:
			context.AfterFunc(hello.Context(), func() { <-st.quicSlots }) // ends with the handshake
		default:
			return nil, errNoSlotQUIC
		}
	}
	g.quic.refreshTickets(&s.master, st.trust, time.Now())
	return g.quic.config, nil
}

// forQUIC is the group as QUIC has it. Its ticket keys are others, so that a
// session goes from TCP to QUIC or back no more than from one set of
// certificates to another.
func (g *group) forQUIC() *group {
	q := &group{config: g.config.Clone(), certs: hashParts([]byte("quic"), g.certs[:])}
	q.config.MinVersion, q.config.NextProtos = tls.VersionTLS13, []string{protoHTTP3}
	q.epoch.Store(-1)
	return q
}

// QUICConfig is how to begin TLS over QUIC to the endpoint whose host is written
// as host. It verifies what Handshake verifies. The error is a *stream.Fault.
func (c *Client) QUICConfig(host string) (*tls.Config, error) {
	name := c.serverName
	if name == "" {
		name = hostName(host)
	}
	cfg := c.base.Clone()
	cfg.ServerName, cfg.MinVersion, cfg.NextProtos = name, tls.VersionTLS13, []string{protoHTTP3}
	if name == "" {
		if !cfg.InsecureSkipVerify {
			c.Stats.Failed.Add(1)
			return nil, stream.Faultf(stream.TLSFailed, stream.RetryUnsent,
				"no name to verify the endpoint %q by; set tls.server_name or tls.sans of the cluster", host)
		}
	}
	return cfg, nil
}
