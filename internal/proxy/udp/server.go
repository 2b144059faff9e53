package udp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// maxDatagram is the largest datagram of UDP, and more.
const maxDatagram = 64 << 10

// buffers hold a datagram while it is moved.
var buffers = sync.Pool{New: func() any { return new([maxDatagram]byte) }}

// ServerConfig is what a Server needs.
type ServerConfig struct {
	Listener string
	// Service answers a session with a Duplex.
	Service stream.Service
	// Done is called once per session, after its last datagram. May be nil.
	Done func(req *stream.Request)
	// Go starts a goroutine.
	Go  func(func())
	Dog *watchdog.Dog
	// Phases has the limits of stream.PhaseWait and, save for the idle time,
	// PhaseTunnel.
	Phases stream.PhaseLimits
	// SessionIdle ends a session after that much silence, unless the route says
	// otherwise (Request.Tunnel).
	SessionIdle time.Duration
	// SessionMax is the longest duration of a session, 0 for no limit. What the
	// request says counts more.
	SessionMax time.Duration
	// MaxSessions and MaxSessionsPerClient bound the open sessions of all and of
	// one client address (IPv6: of one /64); 0: no limit.
	MaxSessions, MaxSessionsPerClient int
	// Refuse, when not nil, lets no session begin while it is true.
	Refuse func() bool
	// IDs numbers sessions among the connections.
	IDs *atomic.Uint64
	// Places finds where clients are; may be nil.
	Places stream.Locator
	Log    *slog.Logger // nil: slog.Default()
}

// Stats counts what happened; the engine reads it on scrape.
type Stats struct {
	Open   atomic.Int64 // sessions open now
	Opened atomic.Int64 // sessions ever
	Failed atomic.Int64 // sessions that ended by a fault
	Panics atomic.Int64 // sessions that ended by a panic

	DatagramsIn, DatagramsOut atomic.Int64 // from and to clients
	BytesIn, BytesOut         atomic.Int64

	RefusedFull   atomic.Int64 // datagrams that would have begun a session over MaxSessions
	RefusedClient atomic.Int64 // ... over MaxSessionsPerClient
	RefusedDrain  atomic.Int64 // ... after Drain
	RefusedBusy   atomic.Int64 // ... while Refuse
	Overflowed    atomic.Int64 // datagrams dropped because too many waited for an upstream
	Undelivered   atomic.Int64 // datagrams of sessions that had failed
	WriteErrors   atomic.Int64 // replies that the system did not take
	ReadErrors    atomic.Int64
}

// ConnState is what one session is doing.
type ConnState struct {
	Facts    *stream.Conn
	Phase    stream.Phase
	Age      time.Duration
	BytesIn  int64
	BytesOut int64
}

// config is a ServerConfig in use.
type config struct {
	ServerConfig
	limits []watchdog.Limit
}

// Server serves the sessions of one socket.
type Server struct {
	Stats Stats

	cfg      atomic.Pointer[config]
	table    table
	draining atomic.Bool

	beginning sync.Mutex    // no session begins once Drain has
	live      atomic.Int64  // sessions with a goroutine, and one until Drain
	ended     chan struct{} // closed when live reaches 0
}

// NewServer makes a Server.
func NewServer(cfg ServerConfig) *Server {
	s := &Server{ended: make(chan struct{})}
	s.live.Store(1)
	s.table.init()
	s.SetConfig(cfg)
	return s
}

// SetConfig replaces the configuration for sessions that begin from now on.
func (s *Server) SetConfig(cfg ServerConfig) {
	c := &config{ServerConfig: cfg, limits: make([]watchdog.Limit, stream.NumPhases)}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	for p := range stream.NumPhases {
		c.limits[p] = watchdog.Limit(cfg.Phases[p])
	}
	c.limits[stream.PhaseTunnel].Idle = cfg.SessionIdle
	s.cfg.Store(c)
}

// After a failed read the reader waits, twice as long each time.
const (
	minBackOff = 5 * time.Millisecond
	maxBackOff = time.Second
)

// Serve reads pc until it is closed, which gives nil, or ctx ends, which ends
// the sessions too. Sessions answer through pc: it is to be closed once Wait has
// returned. It may be called once.
func (s *Server) Serve(ctx context.Context, pc *net.UDPConn) error {
	defer context.AfterFunc(ctx, func() { _ = pc.SetReadDeadline(longAgo) })()
	defer s.Drain()
	d, err := newDownstream(pc)
	if err != nil {
		return err
	}
	buf := make([]byte, maxDatagram)
	var backOff time.Duration
	for {
		n, who, mark, err := d.read(buf)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			s.Stats.ReadErrors.Add(1)
			if backOff == 0 {
				s.cfg.Load().Log.Error("reading datagrams failed; trying again", "listener", s.cfg.Load().Listener, "err", err)
			}
			backOff = min(max(2*backOff, minBackOff), maxBackOff)
			if !sleep(ctx, backOff) {
				return ctx.Err()
			}
			continue
		}
		backOff = 0
		s.Stats.DatagramsIn.Add(1)
		s.Stats.BytesIn.Add(int64(n))
		s.take(ctx, d, who, mark, buf[:n])
	}
}

var longAgo = time.Unix(1, 0) // a deadline that has passed

// sleep tells whether the time passed before the end of ctx.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// take gives a datagram to its session, or begins one.
func (s *Server) take(ctx context.Context, d *downstream, who tuple, mark, datagram []byte) {
	if x := s.table.find(who); x != nil {
		x.deliver(datagram)
		return
	}
	s.beginning.Lock()
	defer s.beginning.Unlock()
	cfg := s.cfg.Load()
	if s.draining.Load() {
		s.Stats.RefusedDrain.Add(1)
		return
	}
	if cfg.Refuse != nil && cfg.Refuse() {
		s.Stats.RefusedBusy.Add(1)
		return
	}
	if cfg.MaxSessions > 0 && s.Stats.Open.Load() >= int64(cfg.MaxSessions) {
		s.Stats.RefusedFull.Add(1)
		return
	}
	x := newSession(s, cfg, d, who, mark, datagram)
	if !s.table.add(x, cfg.MaxSessionsPerClient) {
		s.Stats.RefusedClient.Add(1)
		return
	}
	s.Stats.Open.Add(1)
	s.Stats.Opened.Add(1)
	s.live.Add(1)
	cfg.Go(func() { x.run(ctx) })
}

// drainIdle is how long a session may be silent once the server drains, looked
// at in two halves.
const drainIdle = time.Second

// Drain begins no session any more. Those that are open end when they have been
// silent for a second: who waits for an answer has had it by then.
func (s *Server) Drain() {
	s.beginning.Lock()
	first := s.draining.CompareAndSwap(false, true)
	s.beginning.Unlock()
	if first {
		s.release()
		s.cfg.Load().Go(s.endSilent)
	}
}

// endSilent ends sessions as they fall silent, until none is left.
func (s *Server) endSilent() {
	ticks := time.NewTicker(drainIdle / 2)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
			s.table.each((*session).endIfSilent)
		case <-s.ended:
			return
		}
	}
}

// Wait returns nil when, after Drain, all sessions have ended, or the error of
// ctx.
func (s *Server) Wait(ctx context.Context) error {
	select {
	case <-s.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// CloseAll ends every session now.
func (s *Server) CloseAll() { s.table.each((*session).end) }

// Connections yields the state of every open session, until yield returns false.
func (s *Server) Connections(yield func(ConnState) bool) {
	var states []ConnState
	now := time.Now()
	s.table.each(func(x *session) { states = append(states, x.state(now)) })
	for _, state := range states {
		if !yield(state) {
			return
		}
	}
}

func (s *Server) release() {
	if s.live.Add(-1) == 0 {
		close(s.ended)
	}
}

// contain is the recover boundary of a session: a panic ends it alone.
func (s *Server) contain(x *session, p any) {
	s.Stats.Panics.Add(1)
	x.cfg.Log.Error("panic while serving a session; the session ends",
		"component", "udp", "connection", x.facts.ID, "listener", x.facts.Listener,
		"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
}
