package tcp

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/account"
	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// ServerConfig is what a Server needs. Nothing in it changes afterwards.
type ServerConfig struct {
	// Service answers a connection with a Duplex. A fault closes it.
	Service stream.Service
	// Done is called once per connection that became a request, after its last
	// byte. May be nil.
	Done func(req *stream.Request)
	// Go starts a goroutine.
	Go     func(func())
	Dog    *watchdog.Dog
	Phases stream.PhaseLimits
	// Payer, when not nil, is who pays for what a connection keeps in memory.
	Payer func(req *stream.Request) *account.Account
	// MaxAge is the longest duration of a connection, unless its route says
	// otherwise; 0: none.
	MaxAge time.Duration
}

// Server serves downstream connections.
type Server struct {
	Stats Stats

	cfg      ServerConfig
	limits   []watchdog.Limit
	draining atomic.Bool

	mu    sync.Mutex
	conns map[*serverConn]struct{} // open; touched when one opens or closes only
}

// Stats counts what happened; the engine reads it on scrape.
type Stats struct {
	Open     atomic.Int64 // connections open now
	Opened   atomic.Int64 // connections ever
	Relayed  atomic.Int64 // connections that an upstream was found for
	Panics   atomic.Int64 // connections that ended in a panic
	Cut      atomic.Int64 // connections that did not end by themselves
	BytesIn  atomic.Int64 // of connections that ended
	BytesOut atomic.Int64
	Spliced  atomic.Int64 // bytes that moved without a copy, both ways; of connections that ended
	// Faults counts why connections ended, by kind.
	Faults [stream.NumKinds]atomic.Int64
}

// ConnState is what one connection is doing.
type ConnState struct {
	Facts    *stream.Conn
	Phase    stream.Phase
	Age      time.Duration
	Requests int64
	BytesIn  int64
	BytesOut int64
}

// NewServer makes a Server.
func NewServer(cfg ServerConfig) *Server {
	return &Server{cfg: cfg, limits: watchLimits(&cfg.Phases), conns: make(map[*serverConn]struct{})}
}

func watchLimits(phases *stream.PhaseLimits) []watchdog.Limit {
	limits := make([]watchdog.Limit, len(phases))
	for i, l := range phases {
		limits[i] = watchdog.Limit(l)
	}
	return limits
}

// Serve serves nc to its end and closes it. When ctx ends, the connection
// does.
func (s *Server) Serve(ctx context.Context, nc net.Conn, facts *stream.Conn) {
	c := s.open(ctx, nc, facts)
	defer s.close(c)
	c.serve()
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
}

// Retire does nothing to open connections: there is no word for "please go" in
// a stream that nobody looks into.
func (s *Server) Retire() {}

// Drain leaves open connections alone, for the same reason. They end by
// themselves, or when the context of Serve does, which is the end of the grace
// period.
func (s *Server) Drain() { s.draining.Store(true) }

// Requests is how many connections were served.
func (s *Server) Requests() int64 { return s.Stats.Opened.Load() }

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
