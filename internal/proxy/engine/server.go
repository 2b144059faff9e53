package engine

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/proxy/answer"
	"github.com/weirproxy/weir/internal/proxy/detect"
	"github.com/weirproxy/weir/internal/proxy/entry"
	"github.com/weirproxy/weir/internal/proxy/framed"
	"github.com/weirproxy/weir/internal/proxy/http1"
	"github.com/weirproxy/weir/internal/proxy/http2"
	"github.com/weirproxy/weir/internal/proxy/http3"
	"github.com/weirproxy/weir/internal/proxy/tcp"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

// server is the codecs of a front with the stages between them and the routes.
type server struct {
	protocol string // of the document
	proxied  bool   // connections begin with a PROXY protocol header
	detect   *detect.Stage
	answer   *answer.Stage
	entry    *entry.Stage

	// What the protocol needs, else nil.
	http1  *http1.Server
	http2  *http2.Server
	tcp    *tcp.Server
	framed *framed.Server
}

// newServer makes the server for l. packets is the socket of HTTP/3, if there
// is one.
func (f *front) newServer(l *snapshot.Listener, packets *datagrams) (*server, error) {
	e := f.engine
	s := &server{protocol: l.Spec.Protocol, proxied: l.Spec.ProxyProtocol != nil}
	phases := phasesOf(&l.Spec.Timeouts)
	s.detect = detect.New(detect.Config{
		ProxyFrom: l.ProxyFrom, ProxyDirect: s.proxied && l.Spec.ProxyProtocol.Others == "direct",
		Wait: time.Duration(l.Spec.Timeouts.Detect), Phases: phases, Dog: &e.dog,
	})
	s.entry = entry.New(f.sockets, entry.Config{
		Trust: l.Trust, RFC7239: l.Spec.Forwarded.RFC7239, Via: l.Spec.Forwarded.Via, Listener: l.Spec.Name,
	})
	s.answer = answer.New(s.advertised(l, packets), answer.Config{Log: e.log})
	switch s.protocol {
	case "http":
		s.serveHTTP(f, l, &phases)
		s.serveTCP(f, l, &phases) // for routes that pass TLS on
	case "detect":
		s.serveHTTP(f, l, &phases)
		s.serveTCP(f, l, &phases)
	case "tcp":
		s.serveTCP(f, l, &phases)
	case "framed":
		if err := s.serveFrames(f, l, &phases); err != nil {
			return nil, fmt.Errorf("listener %s: %w", l.Spec.Name, err)
		}
	}
	return s, nil
}

// advertised is the entry stage, which tells clients of TLS of HTTP/3 where it
// is spoken.
func (s *server) advertised(l *snapshot.Listener, packets *datagrams) stream.Service {
	if l.Spec.HTTP3 == nil || l.Spec.HTTP3.Advertise == 0 || packets == nil {
		return s.entry
	}
	return &http3.Advertiser{Next: s.entry, Value: http3.AltSvc(packets.port(), time.Duration(l.Spec.HTTP3.Advertise))}
}

// refuse answers a request that a codec could not read.
func (s *server) refuse(_ context.Context, req *stream.Request, fault *stream.Fault) *stream.Response {
	return s.answer.Respond(req, fault)
}

func (s *server) serveHTTP(f *front, l *snapshot.Listener, phases *stream.PhaseLimits) {
	e, limits, timeouts := f.engine, l.Spec.Limits, l.Spec.Timeouts
	var preface func(context.Context, net.Conn, *stream.Conn)
	if h := l.Spec.HTTP2; h.Enabled {
		s.http2 = http2.NewServer(http2.ServerConfig{
			Limits: http2.Limits{
				MaxHeaderCount: limits.MaxHeaderCount, MaxHeaderBytes: int64(limits.MaxHeaderBytes),
				MaxURIBytes: int64(limits.MaxURIBytes), MaxBodyBytes: int64(limits.MaxBodyBytes),
			},
			MaxStreams: h.MaxStreams, StreamWindow: int64(h.StreamWindow), ConnectionWindow: int64(h.ConnectionWindow), MaxAbuse: h.MaxAbuse,
			Service: s.answer, Refuse: s.refuse, Done: f.done, Go: e.spawn, Dog: &e.dog, Phases: *phases,
			MaxRequests: limits.MaxRequests, MaxAge: time.Duration(timeouts.MaxAge), TunnelMax: time.Duration(timeouts.TunnelMax),
			Tight: e.tight, Payer: e.accounts.Of,
		})
		preface = s.http2.Serve
	}
	s.http1 = http1.NewServer(http1.ServerConfig{
		Limits: http1.Limits{
			MaxHeaderCount: limits.MaxHeaderCount, MaxHeaderBytes: int64(limits.MaxHeaderBytes),
			MaxURIBytes: int64(limits.MaxURIBytes), MaxBodyBytes: int64(limits.MaxBodyBytes),
		},
		Service: s.answer, Refuse: s.refuse, Done: f.done, Go: e.spawn, Dog: &e.dog, Phases: *phases,
		MaxRequests: limits.MaxRequests, MaxAge: time.Duration(timeouts.MaxAge), TunnelMax: time.Duration(timeouts.TunnelMax),
		HTTP2: preface, Tight: e.tight, Payer: e.accounts.Of,
	})
}

func (s *server) serveTCP(f *front, l *snapshot.Listener, phases *stream.PhaseLimits) {
	s.tcp = tcp.NewServer(tcp.ServerConfig{
		Service: f.router, Done: f.done, Go: f.engine.spawn, Dog: &f.engine.dog, Phases: *phases,
		MaxAge: time.Duration(l.Spec.Timeouts.TunnelMax), Payer: f.engine.accounts.Of,
	})
}

func (s *server) serveFrames(f *front, l *snapshot.Listener, phases *stream.PhaseLimits) (err error) {
	s.framed, err = framed.NewServer(framed.ServerConfig{
		Framed: *l.Spec.Framed, Service: s.answer, Refuse: s.refuse, Done: f.done, Dog: &f.engine.dog, Phases: *phases,
		MaxRequests: l.Spec.Limits.MaxRequests, MaxAge: time.Duration(l.Spec.Timeouts.MaxAge),
	})
	return err
}

// empty tells whether no connection is left.
func (s *server) empty() bool {
	open := int64(0)
	if s.http1 != nil {
		open += s.http1.Stats.Open.Load()
	}
	if s.http2 != nil {
		open += s.http2.Stats.Open.Load()
	}
	if s.tcp != nil {
		open += s.tcp.Stats.Open.Load()
	}
	if s.framed != nil {
		open += s.framed.Stats.Open.Load()
	}
	return open == 0
}

// retire ends connections with the answer to their next request.
func (s *server) retire() {
	if s.http1 != nil {
		s.http1.Retire()
	}
	if s.http2 != nil {
		s.http2.Retire()
	}
	if s.tcp != nil {
		s.tcp.Retire()
	}
	if s.framed != nil {
		s.framed.Retire()
	}
}

// drain ends connections as soon as it costs no request.
func (s *server) drain(over time.Duration) {
	if s.http1 != nil {
		s.http1.Drain()
	}
	if s.http2 != nil {
		s.http2.Drain(over)
	}
	if s.tcp != nil {
		s.tcp.Drain()
	}
	if s.framed != nil {
		s.framed.Drain()
	}
}

// rateGrace is how long a body may take before its rate is judged.
const rateGrace = 10 * time.Second

// phasesOf gives every phase its limit. The upstream ones are set by the
// cluster; here they have the ceiling of a tunnel, which no client reaches.
func phasesOf(t *config.ListenerTimeouts) stream.PhaseLimits {
	seconds := func(d config.Duration) time.Duration { return time.Duration(d) }
	var l stream.PhaseLimits
	l[stream.PhaseProxyHeader] = stream.PhaseLimit{Ceiling: seconds(t.Hello)}
	l[stream.PhaseHello] = stream.PhaseLimit{Ceiling: seconds(t.Hello)}
	l[stream.PhasePreface] = stream.PhaseLimit{Ceiling: seconds(t.Head)}
	l[stream.PhaseHandshake] = stream.PhaseLimit{Ceiling: seconds(t.Handshake)}
	l[stream.PhaseIdle] = stream.PhaseLimit{Ceiling: seconds(t.Idle), Floor: idleFloor}
	l[stream.PhaseHead] = stream.PhaseLimit{Ceiling: seconds(t.Head)}
	l[stream.PhaseBody] = stream.PhaseLimit{Idle: seconds(t.BodyIdle), MinRate: int64(t.MinRate), Grace: rateGrace}
	l[stream.PhaseWait] = stream.PhaseLimit{Ceiling: waitCeiling}
	l[stream.PhaseWrite] = stream.PhaseLimit{Idle: seconds(t.WriteIdle), MinRate: int64(t.MinRate), Grace: rateGrace}
	l[stream.PhaseTunnel] = stream.PhaseLimit{Idle: seconds(t.TunnelIdle), Floor: tunnelFloor}
	l[stream.PhaseLinger] = stream.PhaseLimit{Ceiling: lingerCeiling}
	for p := stream.PhaseUpstreamSend; p < stream.NumPhases; p++ {
		l[p] = stream.PhaseLimit{Ceiling: waitCeiling}
	}
	return l
}

// What idle connections keep of their time whatever the process has too little of.
const (
	// idleFloor is enough for the next request of a page.
	idleFloor = 2 * time.Second
	// tunnelFloor is more than what WebSockets and TCP send as signs of life in
	// most applications (30 s), so that one that is alive stays.
	tunnelFloor = time.Minute
	// sessionFloor is that of UDP: an answer comes in less, and a late datagram
	// begins a session again.
	sessionFloor = 5 * time.Second
)

const (
	// waitCeiling ends a wait that the timeouts of routes should have ended.
	waitCeiling = 24 * time.Hour
	// lingerCeiling is how long the rest of a refused request is read, so that
	// the client sees the answer instead of a reset.
	lingerCeiling = 2 * time.Second
)
