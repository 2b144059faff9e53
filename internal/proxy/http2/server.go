package http2

import (
	"context"
	"math/rand/v2"
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
	Limits Limits
	// MaxStreams is how many requests of a connection are under way at once: as
	// streams that the client may open, and as handlers that run, which a client
	// that resets its streams does not make more.
	MaxStreams int
	// StreamWindow and ConnectionWindow bound what is taken of request bodies
	// before the service has read it.
	StreamWindow, ConnectionWindow int64
	// MaxAbuse is how many points a connection may collect; see abuse. 0: no limit.
	MaxAbuse int
	// Service answers the requests. It never returns an error; one that it
	// returns all the same goes to Refuse.
	Service stream.Service
	// Refuse makes the answer to a request that could not be read; req holds
	// what was understood of it.
	Refuse func(ctx context.Context, req *stream.Request, f *stream.Fault) *stream.Response
	// Done is called once per exchange, after its last byte was queued. May be nil.
	Done func(req *stream.Request)
	// Go starts a goroutine.
	Go     func(func())
	Dog    *watchdog.Dog
	Phases stream.PhaseLimits
	// Tight, when not nil, ends connections behind their next request while it is
	// true.
	Tight func() bool
	// Payer, when not nil, is who pays for what an exchange keeps in memory. It is
	// asked for requests with much content, and when a client stalls.
	Payer func(req *stream.Request) *account.Account
	// MaxRequests and MaxAge of a connection, 0 for none; MaxAge is spread by
	// ten per cent either way so that connections do not end together.
	MaxRequests int
	MaxAge      time.Duration
	// TunnelMax is the longest duration of a tunnel, 0 for no limit. What the
	// request says (stream.Request.Tunnel) counts more.
	TunnelMax time.Duration
}

// Server serves downstream connections.
type Server struct {
	Stats Stats

	cfg      ServerConfig
	limits   []watchdog.Limit
	date     atomic.Pointer[dateField]
	draining atomic.Bool
	retired  atomic.Bool

	mu             sync.Mutex
	conns          map[*serverConn]struct{} // open; touched when one opens or closes only
	closedRequests int64                    // read on connections that are closed
}

// Stats counts what happened; the engine reads it on scrape.
type Stats struct {
	Open           atomic.Int64 // connections open now
	Opened         atomic.Int64 // connections ever
	Streams        atomic.Int64 // exchanges under way
	Panics         atomic.Int64 // exchanges and connections that ended in a panic
	Upgrades       atomic.Int64 // streams that became tunnels
	Drained        atomic.Int64 // connections that ended because they were told to
	Cut            atomic.Int64 // responses cut, so that the client notices
	ResetsIn       atomic.Int64 // RST_STREAM that came
	ResetsOut      atomic.Int64 // RST_STREAM that we sent
	RefusedStreams atomic.Int64 // streams beyond MaxStreams
	AbuseCloses    atomic.Int64 // connections over MaxAbuse
	// GoAways counts the connections that we ended, by error code; see GoAwayReason.
	GoAways [numCodes]atomic.Int64
	// Refused counts requests that could not be read, by kind.
	Refused [stream.NumKinds]atomic.Int64
}

// GoAwayReason is the word for Stats.GoAways[i].
func GoAwayReason(i int) string { return codeNames[i] }

// ConnState is what one connection is doing.
type ConnState struct {
	Facts    *stream.Conn
	Phase    stream.Phase
	Age      time.Duration
	Requests int64
	BytesIn  int64 // content read
	BytesOut int64 // content written
	Streams  int   // exchanges under way
}

// NewServer makes a Server.
func NewServer(cfg ServerConfig) *Server {
	cfg.MaxStreams = max(cfg.MaxStreams, 1)
	cfg.StreamWindow = min(max(cfg.StreamWindow, firstCover), maxWindow)
	cfg.ConnectionWindow = min(max(cfg.ConnectionWindow, firstCover), maxWindow)
	return &Server{cfg: cfg, limits: watchLimits(&cfg.Phases), conns: make(map[*serverConn]struct{})}
}

// Serve serves nc, from its preface on, to its end and closes it; every
// exchange on it is over by then. When ctx ends, the connection does.
func (s *Server) Serve(ctx context.Context, nc net.Conn, facts *stream.Conn) {
	c := s.open(ctx, nc, facts)
	defer s.close(c)
	c.serve()
}

func (s *Server) open(parent context.Context, nc net.Conn, facts *stream.Conn) *serverConn {
	c := &serverConn{srv: s, nc: nc, facts: facts, opened: time.Now()}
	c.init(parent)
	s.cfg.Dog.Watch(&c.guard, s.limits, c.expire, c.probe)
	s.cfg.Dog.Watch(&c.out.guard, s.limits, c.expireWrite, nil)
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

// Retire ends every connection with its next request: the client is told then,
// and what is under way is finished.
func (s *Server) Retire() { s.retired.Store(true) }

// Drain ends every connection in two steps (RFC 9113 section 6.8): first the
// client is told to open no more streams, and when it must have heard so, which
// it was the last one. Each connection is told at a moment of its own within
// over; it closes when the streams that it has are done.
func (s *Server) Drain(over time.Duration) {
	s.draining.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		var wait time.Duration
		if over > 0 {
			wait = rand.N(over)
		}
		c.drainAfter(wait)
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

// maxAge is when a connection opened now takes its last request; zero: never.
func (s *Server) maxAge(opened time.Time) time.Time {
	if s.cfg.MaxAge <= 0 {
		return time.Time{}
	}
	spread := s.cfg.MaxAge / 10
	return opened.Add(s.cfg.MaxAge - spread + rand.N(2*spread+1))
}

// dateField is the date field of one second, as it stands in a header block.
type dateField struct {
	second int64
	text   string
}

// appendDate appends the date field of now, which is made once a second.
func (s *Server) appendDate(dst []byte, now time.Time) []byte {
	field := s.date.Load()
	if second := now.Unix(); field == nil || field.second != second {
		const layout = "Mon, 02 Jan 2006 15:04:05 GMT"
		field = &dateField{second: second, text: string(appendPair(nil, staticDate, now.UTC().Format(layout)))}
		s.date.Store(field)
	}
	return append(dst, field.text...)
}
