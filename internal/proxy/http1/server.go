package http1

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/account"
	"github.com/weirproxy/weir/internal/prefixconn"
	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// ServerConfig is what a Server needs. Nothing in it changes afterwards.
type ServerConfig struct {
	Limits Limits
	// Service answers the requests. It never returns an error; one that it
	// returns all the same goes to Refuse.
	Service stream.Service
	// Refuse makes the answer to a request that could not be read; req holds
	// what was understood of it.
	Refuse func(ctx context.Context, req *stream.Request, f *stream.Fault) *stream.Response
	// Done is called once per exchange, after its last byte. May be nil.
	Done func(req *stream.Request)
	// Go starts a goroutine.
	Go     func(func())
	Dog    *watchdog.Dog
	Phases stream.PhaseLimits
	// TunnelMax is the longest duration of a tunnel, 0 for no limit. What the
	// request says (stream.Request.Tunnel) counts more.
	TunnelMax time.Duration
	// HTTP2 serves a connection in the clear whose first bytes are the preface of
	// HTTP/2, which it reads again. It owns the connection then, and closes it.
	// Nil: such a client gets 505.
	HTTP2 func(ctx context.Context, nc net.Conn, facts *stream.Conn)
	// Tight, when not nil, ends connections with the answer to their present
	// request while it is true.
	Tight func() bool
	// Payer, when not nil, is who pays for what an exchange keeps in memory. It is
	// asked when its client stalls.
	Payer func(req *stream.Request) *account.Account
	// MaxRequests and MaxAge of a connection, 0 for none; MaxAge is spread by
	// ten per cent either way so that connections do not end together.
	MaxRequests int
	MaxAge      time.Duration
}

// Server serves downstream connections.
type Server struct {
	Stats Stats

	cfg      ServerConfig
	limits   []watchdog.Limit
	tunnel   stream.TunnelLimits // of a request whose route says nothing
	date     atomic.Pointer[dateLine]
	draining atomic.Bool
	retired  atomic.Bool

	mu             sync.Mutex
	conns          map[*serverConn]struct{} // open; touched when one opens or closes only
	closedRequests int64                    // read on connections that are closed
}

// Stats counts what happened; the engine reads it on scrape.
type Stats struct {
	Open     atomic.Int64 // connections open now
	Opened   atomic.Int64 // connections ever
	Panics   atomic.Int64 // exchanges and connections that ended in a panic
	Upgrades atomic.Int64 // connections that became tunnels
	Drained  atomic.Int64 // idle connections that Drain closed
	Cut      atomic.Int64 // connections cut inside a response, so that the client notices
	HTTP2    atomic.Int64 // connections handed over to HTTP/2; Opened has them too
	// Refused counts requests that could not be read, by kind.
	Refused [stream.NumKinds]atomic.Int64
}

// ConnState is what one connection is doing.
type ConnState struct {
	Facts    *stream.Conn
	Phase    stream.Phase
	Age      time.Duration
	Requests int64
	BytesIn  int64 // content read
	BytesOut int64 // content written
}

// NewServer makes a Server.
func NewServer(cfg ServerConfig) *Server {
	return &Server{
		cfg:    cfg,
		limits: watchLimits(&cfg.Phases),
		tunnel: stream.TunnelLimits{Idle: cfg.Phases[stream.PhaseTunnel].Idle, Max: cfg.TunnelMax},
		conns:  make(map[*serverConn]struct{}),
	}
}

// Serve serves nc to its end and closes it. When ctx ends, the connection
// does, with whatever is under way on it.
func (s *Server) Serve(ctx context.Context, nc net.Conn, facts *stream.Conn) {
	c := s.open(ctx, nc, facts)
	c.serve()
	if c.ahead != nil { // nothing of this server is on the connection any more
		s.Stats.HTTP2.Add(1)
		s.cfg.HTTP2(ctx, prefixconn.New(nc, c.ahead), facts)
	}
}

func (s *Server) open(parent context.Context, nc net.Conn, facts *stream.Conn) *serverConn {
	c := &serverConn{srv: s, nc: nc, facts: facts, opened: time.Now()}
	c.init(parent)
	s.cfg.Dog.Watch(&c.guard, s.limits, c.expire, c.probe)
	s.Stats.Open.Add(1)
	s.Stats.Opened.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = struct{}{}
	return c
}

func (s *Server) close(c *serverConn) {
	c.shut()
	s.Stats.Open.Add(-1)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.closedRequests += c.requests.Load()
}

// Retire ends every connection with the answer to its next request, which says
// so. Idle ones stay open for it until their idle time is up: the request may
// be on its way, and would be lost by a close that nobody told of.
func (s *Server) Retire() { s.retired.Store(true) }

// Drain closes the connections that are idle, now; the others answer their
// present request with Connection: close. A connection that was opened to send
// a request but has not sent it yet has a second to do so: nobody told that
// client that the connection could go.
func (s *Server) Drain() {
	s.draining.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.drain()
	}
}

// Requests is how many requests were read, on all connections.
func (s *Server) Requests() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.closedRequests
	for c := range s.conns {
		n += c.requests.Load()
	}
	return n
}

// Connections yields the state of every open connection, until yield returns false.
func (s *Server) Connections(yield func(ConnState) bool) {
	s.mu.Lock()
	states := make([]ConnState, 0, len(s.conns))
	now := time.Now()
	for c := range s.conns {
		states = append(states, c.state(now))
	}
	s.mu.Unlock()
	for _, state := range states {
		if !yield(state) {
			return
		}
	}
}

// maxAge is when a connection opened now answers its last request; zero: never.
func (s *Server) maxAge(opened time.Time) time.Time {
	if s.cfg.MaxAge <= 0 {
		return time.Time{}
	}
	spread := s.cfg.MaxAge / 10
	return opened.Add(s.cfg.MaxAge - spread + rand.N(2*spread+1))
}
