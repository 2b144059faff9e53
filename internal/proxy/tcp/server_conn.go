package tcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/weirproxy/weir/internal/peek"
	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// serverConn is one downstream connection: one request. Its goroutine asks the
// Service and then carries upstream to downstream; another one carries
// downstream to upstream.
type serverConn struct {
	srv    *Server
	nc     net.Conn
	facts  *stream.Conn
	opened time.Time

	ctx    context.Context // of the exchange; canceled when the client has gone
	cancel context.CancelFunc
	detach func() bool // ends the watch of the parent context
	guard  watchdog.Guard
	peeked bool // of the last probe; the dog's goroutine only

	req      stream.Request
	quiet    quietReader // of nc, when it is no plain socket
	up, down lane

	mu     sync.Mutex
	fault  *stream.Fault // the first one: why the relay was cut
	tunnel stream.Duplex // once there is one
}

func (c *serverConn) init(parent context.Context) {
	c.ctx, c.cancel = context.WithCancel(parent)
	c.detach = context.AfterFunc(parent, c.poke)
	c.up.guard, c.down.guard = &c.guard, &c.guard
	host := ""
	switch {
	case c.facts.TLS != nil:
		host = c.facts.TLS.ServerName
	case c.facts.Hello != nil:
		host = c.facts.Hello.ServerName
	}
	c.req = stream.Request{
		Proto: stream.TCP, Target: stream.Target{Host: host}, Body: stream.NoBody,
		Conn: c.facts, Client: c.facts.Remote.Addr(), ID: newID(),
	}
	c.req.Exchange.Start, c.req.Exchange.HeadRead = c.opened, c.opened
}

// newID is 128 random bits, as the entry stage makes them for requests.
func newID() string {
	var id [32]byte
	const hex = "0123456789abcdef"
	for i := 0; i < len(id); {
		for bits, n := rand.Uint64(), 0; n < 16; n++ {
			id[i] = hex[bits>>60]
			bits <<= 4
			i++
		}
	}
	return string(id[:])
}

var (
	longAgo    = time.Unix(1, 0) // a deadline that has passed
	noDeadline time.Time
)

// poke wakes whatever read or write of the connection is blocked, for good.
func (c *serverConn) poke() {
	c.quiet.cut.Store(true)
	c.nc.SetDeadline(longAgo)
}

// serve is the life of the connection.
func (c *serverConn) serve() {
	f := c.exchange()
	ex := &c.req.Exchange
	ex.BytesIn, ex.BytesOut = c.up.count.Load(), c.down.count.Load()
	ex.Draining = c.srv.draining.Load()
	ex.End = time.Now()
	stats := &c.srv.Stats
	stats.BytesIn.Add(ex.BytesIn)
	stats.BytesOut.Add(ex.BytesOut)
	stats.Spliced.Add(c.up.spliced + c.down.spliced)
	if f != nil {
		ex.Fault = f
		stats.Faults[f.Kind].Add(1)
		stats.Cut.Add(1)
		c.turnAway(f)
	}
	defer c.contain("done")
	if c.srv.cfg.Done != nil {
		c.srv.cfg.Done(&c.req)
	}
}

// exchange asks the Service and relays.
func (c *serverConn) exchange() (f *stream.Fault) {
	defer func() {
		if p := recover(); p != nil {
			f = c.panicked(p, "exchange")
		}
	}()
	c.guard.EnterUntil(uint8(stream.PhaseWait), c.ctx, noDeadline)
	resp, err := c.srv.cfg.Service.Serve(c.ctx, &c.req)
	if err != nil {
		return c.refused(stream.AsFault(err))
	}
	defer resp.Body.Close()
	d, ok := resp.Body.(stream.Duplex)
	if !ok {
		return stream.Faultf(stream.Forbidden, stream.RetryNever,
			"the route answered a TCP connection with status %d and no tunnel; only a cluster can carry it", resp.Status)
	}
	if !c.begin() {
		return c.refused(&stream.Fault{Kind: stream.ClientGone})
	}
	ex := &c.req.Exchange
	ex.Status, ex.HeadSent = resp.Status, time.Now()
	c.srv.Stats.Relayed.Add(1)
	c.relay(d)
	return c.fault
}

// refused is why there is no tunnel: a verdict of the watchdog made the Service
// give up.
func (c *serverConn) refused(f *stream.Fault) *stream.Fault {
	switch _, v := c.guard.Fired(); v {
	case watchdog.None, watchdog.Canceled, watchdog.PeerGone:
		return f
	}
	return &stream.Fault{Kind: stream.UpstreamTimeout, Cause: f}
}

// begin enters the phase of the tunnel. It reports false when the wait before
// it had expired.
func (c *serverConn) begin() bool {
	limits := c.req.Tunnel
	if limits.Max == 0 {
		limits.Max = c.srv.cfg.MaxAge
	}
	var end time.Time
	if limits.Max > 0 {
		end = c.opened.Add(limits.Max)
	}
	if payer := c.srv.cfg.Payer; payer != nil {
		c.guard.Bill(payer(&c.req))
	}
	_, v := c.guard.Fired()
	return c.guard.EnterIdle(uint8(stream.PhaseTunnel), c.ctx, end, limits.Idle) && v == watchdog.None
}

// contain is the recover boundary of a goroutine: a panic ends this connection
// alone.
func (c *serverConn) contain(where string) {
	if p := recover(); p != nil {
		_ = c.panicked(p, where)
	}
}

func (c *serverConn) panicked(p any, where string) *stream.Fault {
	c.srv.Stats.Panics.Add(1)
	slog.Error("panic while serving a connection; the connection ends",
		"component", "tcp", "connection", c.facts.ID, "listener", c.facts.Listener, "in", where,
		"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	return stream.Faultf(stream.Internal, stream.RetryNever, "panic: %v", p)
}

// shut gives everything back.
func (c *serverConn) shut() {
	c.detach()
	c.cancel()
	c.nc.Close()
	c.guard.Release()
}

// expire runs on the dog's goroutine when a phase takes too long.
func (c *serverConn) expire(phase uint8, v watchdog.Verdict) {
	if v == watchdog.Shortened {
		c.srv.cfg.Dog.Shortened.Add(1)
	}
	c.cancel()
	if stream.Phase(phase) == stream.PhaseTunnel {
		c.poke()
	}
}

// probe asks the descriptor, on the dog's goroutine, whether the client has
// reset the connection while it waits for an upstream. A client that closed its
// sending side has not gone: it may wait for what a server says by itself.
func (c *serverConn) probe(phase uint8) bool {
	if stream.Phase(phase) != stream.PhaseWait {
		return false
	}
	raw := rawConn(plain(c.nc))
	if raw == nil {
		return false
	}
	c.peeked = false
	return raw.Control(c.peek) == nil && c.peeked
}

func (c *serverConn) peek(fd uintptr) {
	c.peeked = errors.Is(peek.Look(fd), syscall.ECONNRESET)
}

func (c *serverConn) state(now time.Time) ConnState {
	phase, _ := c.guard.Fired()
	if phase >= uint8(stream.NumPhases) {
		phase = uint8(stream.PhaseWait)
	}
	return ConnState{
		Facts: c.facts, Phase: stream.Phase(phase), Age: now.Sub(c.opened),
		Requests: 1, BytesIn: c.up.count.Load(), BytesOut: c.down.count.Load(),
	}
}
