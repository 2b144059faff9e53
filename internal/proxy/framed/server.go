package framed

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// ServerConfig is what a Server needs. Nothing in it changes afterwards.
type ServerConfig struct {
	// Framed says what a frame is, which request is made of it, and what a
	// failure looks like.
	Framed config.ListenerFramed
	// Service answers the requests. It never returns an error; one that it
	// returns all the same goes to Refuse.
	Service stream.Service
	// Refuse makes the answer to a frame that could not be read, of which only
	// the status is used; req holds what was understood of it.
	Refuse func(ctx context.Context, req *stream.Request, f *stream.Fault) *stream.Response
	// Done is called once per exchange, after its last byte. May be nil.
	Done   func(req *stream.Request)
	Dog    *watchdog.Dog
	Phases stream.PhaseLimits
	// MaxRequests and MaxAge of a connection, 0 for none; MaxAge is spread by
	// ten per cent either way so that connections do not end together.
	MaxRequests int
	MaxAge      time.Duration
}

// Server serves downstream connections.
type Server struct {
	Stats Stats

	cfg      ServerConfig
	framing  framing
	targets  [2]stream.Target // of every request, in the clear and on TLS
	limits   []watchdog.Limit
	draining atomic.Bool
	retired  atomic.Bool

	mu             sync.Mutex
	conns          map[*serverConn]struct{} // open; touched when one opens or closes only
	closedRequests int64                    // read on connections that are closed
}

// Stats counts what happened; the engine reads it on scrape.
type Stats struct {
	Open    atomic.Int64 // connections open now
	Opened  atomic.Int64 // connections ever
	Panics  atomic.Int64 // exchanges and connections that ended in a panic
	Drained atomic.Int64 // idle connections that Drain closed
	Errors  atomic.Int64 // requests answered with the error frame, or with a close where there is none
	// Refused counts frames that could not be read, by kind.
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

// NewServer makes a Server. An error is a defect of the document.
func NewServer(cfg ServerConfig) (*Server, error) {
	s := &Server{cfg: cfg, limits: watchLimits(&cfg.Phases), conns: make(map[*serverConn]struct{})}
	var err error
	if s.framing, err = newFraming(&cfg.Framed.Framing); err != nil {
		return nil, err
	}
	for i, scheme := range [...]string{"http", "https"} {
		target, fault := stream.ParseTarget(scheme, cfg.Framed.Method, cfg.Framed.Path, cfg.Framed.Host)
		if fault != nil {
			return nil, fmt.Errorf("framed: method, host and path of the requests: %w", fault)
		}
		s.targets[i] = target
	}
	if cfg.Framed.Error != "" {
		if _, err := s.errorFrame(nil, 502, "upstream_closed"); err != nil {
			return nil, fmt.Errorf("framed: error is no frame: %w", err)
		}
	}
	return s, nil
}

// errorFrame makes the frame that says why a request failed, in dst if it fits.
// Only the two words are replaced, once.
func (s *Server) errorFrame(dst []byte, status int, reason string) ([]byte, error) {
	text := strings.NewReplacer("{status}", fmt.Sprint(status), "{reason}", reason).Replace(s.cfg.Framed.Error)
	if len(text) > s.framing.max {
		return nil, errTooLarge
	}
	return s.framing.seal(append(s.framing.open(dst), text...))
}

// Serve serves nc to its end and closes it. When ctx ends, the connection
// does, with whatever is under way on it.
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
	s.closedRequests += c.requests.Load()
}

// Retire ends every connection behind the answer to its next frame. Idle ones
// stay open for it until their idle time is up: it may be on its way, and would
// be lost by a close that nobody told of.
func (s *Server) Retire() { s.retired.Store(true) }

// Drain closes the connections that are idle, now; the others end behind their
// present answer. One that has sent nothing yet has a second to do so.
func (s *Server) Drain() {
	s.draining.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.drain()
	}
}

// Requests is how many frames were read, on all connections.
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

// maxAge is when a connection opened now answers its last frame; zero: never.
func (s *Server) maxAge(opened time.Time) time.Time {
	if s.cfg.MaxAge <= 0 {
		return time.Time{}
	}
	spread := s.cfg.MaxAge / 10
	return opened.Add(s.cfg.MaxAge - spread + rand.N(2*spread+1))
}
