package detect

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"

	"github.com/weirproxy/weir/internal/proxyproto"
	"github.com/weirproxy/weir/stream"
)

var errFromElsewhere = errors.New("the connection is from no range of proxy_protocol.from, and others is refuse")

// AcceptProxy reads the PROXY protocol header of a connection from one of the
// ranges, where it must have one, and takes the addresses in facts from it;
// the other end of the socket is then facts.Peer. From elsewhere nothing is
// read: who sends a header from there sends it to the codec. A fault means that
// the connection is to be closed.
func (s *Stage) AcceptProxy(ctx context.Context, nc net.Conn, facts *stream.Conn) (net.Conn, *stream.Fault) {
	if !s.proxied(facts.Remote.Addr()) {
		if s.cfg.ProxyDirect {
			s.Stats.ProxyDirect.Add(1)
			return nc, nil
		}
		s.Stats.ProxyRefused.Add(1)
		return nil, &stream.Fault{Kind: stream.ProxyHeaderBad, Cause: errFromElsewhere}
	}
	var header proxyproto.Header
	var rest net.Conn
	late, err := s.bounded(ctx, nc, stream.PhaseProxyHeader, func() (err error) {
		header, rest, err = proxyproto.Read(nc)
		return err
	})
	switch {
	case late || err != nil && !isBad(err):
		return nil, s.broken(ctx, late, err)
	case err != nil:
		s.Stats.ProxyBad.Add(1)
		return nil, &stream.Fault{Kind: stream.ProxyHeaderBad, Cause: err}
	case header.Local:
		s.Stats.ProxyLocal.Add(1)
	default:
		s.Stats.ProxyRead.Add(1)
		facts.Peer, facts.Remote, facts.Local = facts.Remote, header.Source, header.Destination
	}
	return rest, nil
}

// proxied tells whether a header is due from there. The peers of a Unix socket
// have no address; whoever may open the socket is a load balancer.
func (s *Stage) proxied(from netip.Addr) bool {
	if !from.IsValid() {
		return true
	}
	from = from.Unmap().WithZone("")
	for _, p := range s.cfg.ProxyFrom {
		if p.Contains(from) {
			return true
		}
	}
	return false
}

// isBad tells whether what was read is no header, or ended inside of one. A
// client that left without a word, or was cut off, is another matter.
func isBad(err error) bool {
	return errors.Is(err, proxyproto.ErrAbsent) || errors.Is(err, proxyproto.ErrMalformed) || errors.Is(err, io.ErrUnexpectedEOF)
}
