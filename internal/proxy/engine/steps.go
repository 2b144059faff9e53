package engine

import (
	"net"

	"github.com/weirproxy/weir/internal/proxy/detect"
	"github.com/weirproxy/weir/stream"
)

// handle carries one connection to its end: who the client is, what it speaks,
// TLS, and then the codec.
func (f *front) handle(nc net.Conn, facts *stream.Conn) {
	s := f.server.Load()
	if s.proxied {
		accepted, fault := s.detect.AcceptProxy(f.ctx, nc, facts)
		if fault != nil {
			f.turnAway(facts, fault)
			return
		}
		nc = accepted
	}
	switch {
	case s.protocol == "detect":
		f.detect(s, nc, facts)
	case f.tls != nil:
		f.secure(s, nc, facts)
	case s.protocol == "tcp":
		f.relay(s, nc, facts)
	case s.protocol == "framed":
		s.framed.Serve(f.ctx, nc, facts)
	default:
		s.http1.Serve(f.ctx, nc, facts) // which hands HTTP/2 over
	}
}

// turnAway ends a connection that never came to a codec. The stage has counted
// why.
func (f *front) turnAway(facts *stream.Conn, err error) {
	f.engine.log.Debug("a connection was closed before its first request", "listener", facts.Listener, "client", facts.Remote, "err", err)
}

// detect goes by the first bytes of the client.
func (f *front) detect(s *server, nc net.Conn, facts *stream.Conn) {
	nc, spoken, fault := s.detect.Protocol(nc)
	if fault != nil {
		f.turnAway(facts, fault)
		return
	}
	switch {
	case spoken == detect.HTTP1, spoken == detect.HTTP2:
		s.http1.Serve(f.ctx, nc, facts)
	case spoken == detect.TLS && f.tls != nil && facts.TLS == nil:
		f.secure(s, nc, facts)
	default:
		f.relay(s, nc, facts)
	}
}

// relay carries a connection without looking into it, but for the names in a
// TLS hello when routes go by them.
func (f *front) relay(s *server, nc net.Conn, facts *stream.Conn) {
	if f.readHello.Load() && facts.TLS == nil {
		peeked, _, fault := s.detect.PeekHello(f.ctx, nc, facts)
		if fault != nil {
			f.turnAway(facts, fault)
			return
		}
		nc = peeked
	}
	s.tcp.Serve(f.ctx, nc, facts)
}

// secure ends TLS, unless a route passes it on, and goes on with what the client
// has agreed to.
func (f *front) secure(s *server, nc net.Conn, facts *stream.Conn) {
	if f.passOn.Load() {
		peeked, passed, fault := f.passes(s, nc, facts)
		if fault != nil {
			f.turnAway(facts, fault)
			return
		}
		if nc = peeked; passed {
			s.tcp.Serve(f.ctx, nc, facts)
			return
		}
	}
	secured, err := f.tls.Handshake(f.ctx, nc, facts)
	if err != nil {
		f.turnAway(facts, err)
		return
	}
	f.speak(secured, facts)
}

// passes tells whether a route takes the connection as it is, by its hello.
func (f *front) passes(s *server, nc net.Conn, facts *stream.Conn) (net.Conn, bool, *stream.Fault) {
	nc, hello, fault := s.detect.PeekHello(f.ctx, nc, facts)
	if fault != nil || hello == nil {
		return nc, false, fault
	}
	entry := f.router.Table().Find(&stream.Request{
		Proto: stream.TCP, Target: stream.Target{Host: hello.ServerName}, Body: stream.NoBody, Conn: facts, Client: facts.Remote.Addr(),
	})
	if entry != nil && entry.Route.Spec.Passthrough {
		return nc, true, nil
	}
	facts.Hello = nil // it is answered here, not passed on
	return nc, false, nil
}

// speak goes on after the handshake. The server may be another one by then.
func (f *front) speak(nc net.Conn, facts *stream.Conn) {
	s := f.server.Load()
	switch agreed := facts.TLS.ALPN; {
	case s.protocol == "framed":
		s.framed.Serve(f.ctx, nc, facts)
	case s.protocol == "tcp":
		s.tcp.Serve(f.ctx, nc, facts)
	case agreed == protoHTTP2 && s.http2 != nil:
		s.http2.Serve(f.ctx, nc, facts)
	case s.protocol == "http" || agreed == protoHTTP1:
		s.http1.Serve(f.ctx, nc, facts)
	case agreed == "":
		f.detect(s, nc, facts)
	default: // what a route for connections asks for
		s.tcp.Serve(f.ctx, nc, facts)
	}
}
