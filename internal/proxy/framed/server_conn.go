package framed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/weirproxy/weir/internal/peek"
	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// What a connection is to Drain.
const (
	connIdle    int32 = iota // between frames
	connBusy                 // inside one
	connDrained              // Drain has ended the wait
)

// firstRequestGrace is how long Drain waits for the first frame of a connection.
const firstRequestGrace = time.Second

var errCutFrame = errors.New("the client closed the connection inside a frame")

// serverConn is one downstream connection. Its goroutine reads a frame, runs
// the Service and writes the answer; that goroutine owns every field that no
// comment gives to others.
type serverConn struct {
	srv    *Server
	nc     net.Conn
	facts  *stream.Conn
	opened time.Time
	expiry time.Time // no further frame after it; zero: never

	ctx        context.Context // of every exchange; canceled when the client has gone
	cancel     context.CancelFunc
	detach     func() bool // ends the watch of the parent context
	guard      watchdog.Guard
	prober     syscall.RawConn // of the socket; may be nil
	peekFn     func(fd uintptr)
	peeked     bool // of the last probe; the dog's goroutine only
	occupation atomic.Int32
	drainMu    sync.Mutex // Drain ends a wait under it: deadline and occupation together

	in     input
	req    stream.Request
	served int
	last   bool // the present exchange is the last

	requests, bytesIn, bytesOut atomic.Int64 // read by Connections
}

func (c *serverConn) init(parent context.Context) {
	c.ctx, c.cancel = context.WithCancel(parent)
	c.detach = context.AfterFunc(parent, c.poke)
	c.expiry = c.srv.maxAge(c.opened)
	c.in = input{nc: c.nc, framing: &c.srv.framing}
	c.prober, c.peekFn = socketOf(c.nc), c.peek
}

// socketOf is the descriptor of the socket that carries nc, or nil.
func socketOf(nc net.Conn) syscall.RawConn {
	for {
		t, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		nc = t.NetConn()
	}
	if socket, ok := nc.(syscall.Conn); ok {
		if raw, err := socket.SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
}

// probe asks the socket, on the dog's goroutine, whether the client has reset
// the connection while it waits. One that only closed its sending side waits
// for its answer: a line sent by a pipe ends so.
func (c *serverConn) probe(phase uint8) bool {
	if stream.Phase(phase) != stream.PhaseWait || c.prober == nil {
		return false
	}
	c.peeked = false
	return c.prober.Control(c.peekFn) == nil && c.peeked
}

func (c *serverConn) peek(fd uintptr) {
	err := peek.Look(fd)
	c.peeked = err != nil && err != io.EOF && !errors.Is(err, syscall.EAGAIN)
}

// poke wakes whatever read or write of the connection is blocked.
func (c *serverConn) poke() { _ = c.nc.SetDeadline(longAgo) }

// expire runs on the dog's goroutine when a phase takes too long.
func (c *serverConn) expire(phase uint8, v watchdog.Verdict) {
	if v == watchdog.Shortened {
		c.srv.cfg.Dog.Shortened.Add(1)
	}
	if stream.Phase(phase) == stream.PhaseWait {
		c.cancel()
		return
	}
	c.poke()
}

func (c *serverConn) enter(p stream.Phase) bool { return c.guard.Enter(uint8(p)) }

func (c *serverConn) fired() watchdog.Verdict {
	_, v := c.guard.Fired()
	return v
}

// serve is the life of the connection.
func (c *serverConn) serve() {
	defer func() {
		if p := recover(); p != nil {
			c.panicked(p)
		}
	}()
	for c.next() && c.exchange() {
	}
}

func (c *serverConn) panicked(p any) {
	c.srv.Stats.Panics.Add(1)
	slog.Error("panic while serving a connection; the connection ends",
		"component", "framed", "connection", c.facts.ID, "listener", c.facts.Listener,
		"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
}

// shut gives everything back.
func (c *serverConn) shut() {
	c.detach()
	c.cancel()
	c.nc.Close()
	c.guard.Release()
	c.in.release()
}

// next reads the next frame. It reports false when there is none and the
// connection is over.
func (c *serverConn) next() bool {
	if !c.awaitFirst() {
		return false
	}
	start := time.Now()
	c.begin(start)
	for late := false; ; late = true {
		content, ok, err := c.in.next()
		if err != nil {
			c.refuse(malformed(err))
			return false
		}
		if ok {
			read := start
			if late {
				read = time.Now()
			}
			c.frame(content, read)
			return true
		}
		if !late {
			c.enter(stream.PhaseHead)
		}
		if _, err := c.in.fill(); err != nil {
			c.cutFrame(err)
			return false
		}
	}
}

func malformed(err error) *stream.Fault {
	if errors.Is(err, errTooLarge) {
		return &stream.Fault{Kind: stream.BodyTooLarge, Limit: "framing.max", Cause: err}
	}
	return &stream.Fault{Kind: stream.RequestMalformed, Cause: err}
}

// awaitFirst waits until there is a byte of a frame.
func (c *serverConn) awaitFirst() bool {
	if c.in.buffered() > 0 { // the client sends ahead
		return true
	}
	c.in.rest()
	c.occupation.Store(connIdle)
	if c.srv.draining.Load() && c.served > 0 {
		return false
	}
	c.enter(stream.PhaseIdle)
	_, err := c.in.fill()
	if c.occupation.CompareAndSwap(connIdle, connBusy) {
		return err == nil
	}
	if err != nil {
		c.srv.Stats.Drained.Add(1)
		return false
	}
	c.drainMu.Lock() // the frame came first: it is served
	defer c.drainMu.Unlock()
	_ = c.nc.SetDeadline(noDeadline)
	return true
}

// begin makes the request ready for a new frame.
func (c *serverConn) begin(start time.Time) {
	s := c.srv
	c.req.Header.Reset()
	c.req = stream.Request{
		Method: s.cfg.Framed.Method, Target: s.targets[0], Proto: stream.Framed, Header: c.req.Header,
		Body: stream.NoBody, Conn: c.facts, Client: c.facts.Remote.Addr(),
	}
	if c.facts.TLS != nil {
		c.req.Target = s.targets[1]
	}
	if s.cfg.Framed.ContentType != "" {
		c.req.Header.AddID(stream.ContentType, s.cfg.Framed.ContentType)
	}
	c.req.Exchange.Start = start
	c.last = false
}

// frame makes the request of a frame that is complete. Its content is a copy:
// whoever reads a body too late does not read the next one.
func (c *serverConn) frame(content []byte, read time.Time) {
	c.served++
	c.requests.Add(1)
	c.req.Exchange.HeadRead = read
	if len(content) > 0 {
		c.req.Body, c.req.Length = stream.BytesBody(bytes.Clone(content)), int64(len(content))
	}
	c.req.Exchange.BytesIn = int64(len(content))
	c.bytesIn.Add(int64(len(content)))
	c.req.GRPC = stream.GRPCOf(c.req.Method, &c.req.Header)
	limit := c.srv.cfg.MaxRequests
	c.last = limit > 0 && c.served >= limit || !c.expiry.IsZero() && read.After(c.expiry)
}

// cutFrame ends a connection whose client stopped inside a frame.
func (c *serverConn) cutFrame(err error) {
	c.req.Exchange.BytesIn = int64(c.in.buffered())
	if c.fired() != watchdog.None {
		c.refuse(&stream.Fault{Kind: stream.HeadTimeout})
		return
	}
	if err == io.EOF {
		err = errCutFrame
	}
	f := &stream.Fault{Kind: stream.ClientGone, Cause: err}
	c.srv.Stats.Refused[f.Kind].Add(1)
	c.req.Exchange.Fault = f
	c.finish()
}

// drain is Server.Drain for one connection; any goroutine.
func (c *serverConn) drain() {
	c.drainMu.Lock()
	defer c.drainMu.Unlock()
	switch {
	case !c.occupation.CompareAndSwap(connIdle, connDrained):
	case c.requests.Load() == 0:
		_ = c.nc.SetReadDeadline(time.Now().Add(firstRequestGrace))
	default:
		c.poke()
	}
}

func (c *serverConn) state(now time.Time) ConnState {
	phase, _ := c.guard.Fired()
	if phase >= uint8(stream.NumPhases) {
		phase = uint8(stream.PhaseIdle)
	}
	return ConnState{
		Facts: c.facts, Phase: stream.Phase(phase), Age: now.Sub(c.opened),
		Requests: c.requests.Load(), BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(),
	}
}
