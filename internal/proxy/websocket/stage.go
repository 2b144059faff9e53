package websocket

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/stream"
)

// Config is what a Stage needs. Nothing in it changes afterwards.
type Config struct {
	Log *slog.Logger
}

// Stage follows the WebSockets that go through it.
type Stage struct {
	stats Stats

	next stream.Service
	cfg  Config

	mu      sync.Mutex
	sockets map[*socket]struct{} // open; touched when one opens or closes only
	drain   bool
	until   time.Time // the last socket is told then
}

// Stats counts what happened; the engine reads it on scrape.
type Stats struct {
	Open          atomic.Int64 // sockets open now
	Opened        atomic.Int64 // sockets ever
	ClosedByDrain atomic.Int64 // clients that were told 1001
	Forced        atomic.Int64 // sockets whose upstream or client did not answer the Close in time
	Panics        atomic.Int64
}

var _ stream.Service = (*Stage)(nil)

// New makes the stage around next.
func New(next stream.Service, cfg Config) *Stage {
	return &Stage{next: next, cfg: cfg, sockets: make(map[*socket]struct{})}
}

// Stats is what has been counted so far.
func (s *Stage) Stats() *Stats { return &s.stats }

// Serve passes the request on and takes the socket that it becomes, if any,
// into its table.
func (s *Stage) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	resp, err := s.next.Serve(ctx, req)
	if err != nil || resp.Status != 101 || req.Upgrade != "websocket" {
		return resp, err
	}
	if d, ok := resp.Body.(stream.Duplex); ok {
		resp.Body = s.open(d, req)
	}
	return resp, nil
}

func (s *Stage) open(d stream.Duplex, req *stream.Request) *socket {
	c := &socket{stage: s, d: d, req: req}
	s.stats.Open.Add(1)
	s.stats.Opened.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sockets[c] = struct{}{}
	if s.drain {
		c.schedule(time.Until(s.until))
	}
	return c
}

func (s *Stage) closed(c *socket) {
	s.stats.Open.Add(-1)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sockets, c)
}

// Drain tells every socket, at a random moment within over, that the server
// goes away, so that not all clients come back at once. The sockets end within
// some seconds of that. Those that open from now on are told too.
func (s *Stage) Drain(over time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drain {
		return
	}
	s.drain, s.until = true, time.Now().Add(over)
	for c := range s.sockets {
		c.schedule(over)
	}
}

// schedule lets the socket go at a random moment within over.
func (c *socket) schedule(over time.Duration) {
	after := time.Duration(0)
	if over > 0 {
		after = rand.N(over)
	}
	c.later(after, c.leave)
}

// contain is the recover boundary of what a timer does: a panic ends this
// socket alone.
func (s *Stage) contain(c *socket) {
	p := recover()
	if p == nil {
		return
	}
	s.stats.Panics.Add(1)
	s.cfg.Log.Error("panic while a WebSocket was told to go; the socket ends",
		"component", "websocket", "connection", c.req.Conn.ID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	_ = c.d.Close()
}
