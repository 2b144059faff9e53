package http1

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// What a connection is to Drain.
const (
	connIdle    int32 = iota // between requests
	connBusy                 // inside one
	connDrained              // Drain has ended the wait
)

// serverConn is one downstream connection. Its goroutine reads a request, runs
// the Service and writes the response; that goroutine owns every field that no
// comment gives to others. What is reused from request to request lives here.
type serverConn struct {
	srv    *Server
	nc     net.Conn
	facts  *stream.Conn
	opened time.Time
	expiry time.Time // no further request after it; zero: never

	ctx        context.Context // of every exchange; canceled when the client has gone
	cancel     context.CancelFunc
	detach     func() bool // ends the watch of the parent context
	guard      watchdog.Guard
	prober     syscall.RawConn // under nc; may be nil
	peekFn     func(fd uintptr)
	peeked     bool // of the last probe; the dog's goroutine only
	occupation atomic.Int32
	drainMu    sync.Mutex // Drain ends a wait under it: deadline and occupation together

	src    source
	reader requestReader
	req    stream.Request
	body   serverBody
	writer responseWriter
	// asksTunnel: the request is an upgrade or CONNECT, so that what the client
	// sends behind it may be of another protocol.
	asksTunnel   bool
	websocketKey string // of the request, if it is a WebSocket
	served       int
	blank        bool // the empty line before the present head was taken
	last         bool // the present exchange is the last
	// leaving: the client said so itself, or the connection was a tunnel.
	leaving bool
	turned  *stream.Response // it made a tunnel of the connection; nil until then
	preface bool             // it is a connection of HTTP/2
	ahead   []byte           // what was read of that one, once it can be handed over

	// What writeRaw has under way.
	outgoing   []byte
	following  []byte // goes out with outgoing, from where it lies
	writeErr   error
	transmitFn func(fd uintptr) bool

	interimFn func(int, *stream.Header) error
	interimMu sync.Mutex // orders interim responses before the final one
	sealed    bool       // under interimMu: the final response has begun
	told      bool       // under interimMu: 100 (Continue) was sent
	interims  int        // under interimMu

	requests, bytesIn, bytesOut atomic.Int64 // read by Connections
}

func (c *serverConn) init(parent context.Context) {
	c.ctx, c.cancel = context.WithCancel(parent)
	c.detach = context.AfterFunc(parent, c.poke)
	c.expiry = c.srv.maxAge(c.opened)
	c.src.init(c.nc)
	c.reader.m = meter{side: &requestSide, limits: &c.srv.cfg.Limits}
	c.peekFn = c.peek
	if c.prober = c.src.raw; c.prober == nil {
		c.prober = rawConn(plain(c.nc))
	}
	c.interimFn, c.transmitFn = c.interim, c.transmit
	c.body.init(c)
}

// poke wakes whatever read or write of the connection is blocked.
func (c *serverConn) poke() { c.nc.SetDeadline(longAgo) }

// firstRequestGrace is how long Drain waits for the first request of a
// connection.
const firstRequestGrace = time.Second

var (
	longAgo    = time.Unix(1, 0) // a deadline that has passed
	noDeadline time.Time
)

// serve is the life of the connection.
//
// A tunnel runs here and not in exchange, because here the stack is not deep: a
// quiet tunnel waits for hours, and the runtime halves the stack only of a
// goroutine that uses less than a quarter of it.
func (c *serverConn) serve() {
	defer c.srv.close(c)
	defer c.contain()
	deepen(false)
	for c.next() && c.exchange() {
	}
	if c.turned != nil {
		c.conclude(c.turned, c.tunnel(c.turned.Body.(stream.Duplex)), true)
	}
}

// contain is the recover boundary of the connection: a panic ends it alone.
func (c *serverConn) contain() {
	if p := recover(); p != nil {
		c.panicked(p)
	}
}

func (c *serverConn) panicked(p any) {
	c.srv.Stats.Panics.Add(1)
	slog.Error("panic while serving a connection; the connection ends",
		"component", "http1", "connection", c.facts.ID, "listener", c.facts.Listener,
		"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
}

// shut gives everything back.
func (c *serverConn) shut() {
	c.detach()
	c.cancel()
	if c.ahead == nil {
		c.nc.Close()
	}
	c.guard.Release()
	c.body.guard.Release()
	c.src.release()
}

// expire runs on the dog's goroutine when a phase takes too long.
func (c *serverConn) expire(phase uint8, v watchdog.Verdict) {
	if v == watchdog.Shortened {
		c.srv.cfg.Dog.Shortened.Add(1)
	}
	switch stream.Phase(phase) {
	case stream.PhaseWait:
		c.cancel()
	case stream.PhaseTunnel:
		c.cancel()
		c.poke()
	default:
		c.poke()
	}
}

func (c *serverConn) enter(p stream.Phase) bool { return c.guard.Enter(uint8(p)) }

func (c *serverConn) fired() watchdog.Verdict {
	_, v := c.guard.Fired()
	return v
}

// next reads the next request. It reports false when there is none and the
// connection is over.
func (c *serverConn) next() bool {
	r := &c.reader
	r.scan.reset(1)
	r.m.reset()
	if !c.awaitFirst() {
		return false
	}
	start := time.Now()
	read := start
	c.begin(start)
	for {
		done, f := c.scanHead()
		if f != nil {
			c.refuse(f)
			return false
		}
		if done {
			break
		}
		if read.Equal(start) {
			c.enter(stream.PhaseHead)
		}
		if err := c.src.fill(); err != nil {
			c.headBroken()
			return false
		}
		read = time.Now()
	}
	if c.preface {
		c.handOver()
		return false
	}
	return c.head(read)
}

// scanHead looks at what is there of a head, or of the preface of HTTP/2.
func (c *serverConn) scanHead() (done bool, f *stream.Fault) {
	if c.served == 0 && c.srv.cfg.HTTP2 != nil {
		var part bool
		if c.preface, part = c.beginsHTTP2(); c.preface || part {
			return c.preface, nil
		}
	}
	if ready, f := c.headStart(); !ready {
		return false, f
	}
	return c.reader.scan.scan(c.src.bytes(), &c.reader.m)
}

// awaitFirst waits until there is a byte of a request.
func (c *serverConn) awaitFirst() bool {
	if c.src.buffered() > 0 { // the client sends ahead (RFC 9112 section 9.3.2)
		return true
	}
	c.occupation.Store(connIdle)
	if c.srv.draining.Load() && c.served > 0 {
		return false
	}
	c.enter(stream.PhaseIdle)
	err := c.src.await()
	if c.occupation.CompareAndSwap(connIdle, connBusy) {
		return err == nil
	}
	if err != nil {
		c.srv.Stats.Drained.Add(1)
		return false
	}
	c.drainMu.Lock() // the request came first: it is served
	defer c.drainMu.Unlock()
	c.nc.SetDeadline(noDeadline)
	return true
}

// begin makes the request ready for a new head.
func (c *serverConn) begin(start time.Time) {
	req := &c.req
	header := req.Header
	header.Reset()
	*req = stream.Request{} // and then the few that differ: a literal would be made elsewhere and copied
	req.Header, req.Proto, req.Body = header, stream.HTTP11, stream.NoBody
	req.Conn, req.Client = c.facts, c.facts.Remote.Addr()
	req.Tunnel = c.srv.tunnel
	req.Exchange.Start = start
	c.last, c.leaving, c.blank, c.asksTunnel, c.websocketKey = false, false, false, false, ""
	c.interimMu.Lock()
	c.sealed, c.told, c.interims = false, false, 0
	c.interimMu.Unlock()
}

// headStart takes the empty line before a request line, of which one is
// allowed (RFC 9112 section 2.2), and sees at the first byte that a client
// speaks another protocol, instead of waiting for the end of a line. ready
// reports that the head begins with what is buffered.
func (c *serverConn) headStart() (ready bool, f *stream.Fault) {
	if c.reader.scan.at > 0 {
		return true, nil
	}
	b := c.src.bytes()
	if len(b) > 0 && b[0] == '\r' && !c.blank {
		switch {
		case len(b) == 1:
			return false, nil
		case b[1] != '\n':
			return false, requestSide.bad(errNotHTTP)
		}
		c.blank = true
		c.src.consume(2)
		b = c.src.bytes()
	}
	switch {
	case len(b) == 0:
		return false, nil
	case class[b[0]]&tokenByte == 0:
		return false, requestSide.bad(errNotHTTP)
	}
	return true, nil
}

// head reads a head that is complete. It reports false when it was refused.
func (c *serverConn) head(read time.Time) bool {
	req, r := &c.req, &c.reader
	size := r.scan.at
	text := string(c.src.bytes()[:size])
	c.src.consume(size)
	c.served++
	c.requests.Add(1)
	req.Exchange.HeadRead, req.Exchange.HeadersIn = read, size

	scheme := "http"
	if c.facts.TLS != nil {
		scheme = "https"
	}
	if f := r.parse(text, req, scheme); f != nil {
		c.refuse(f)
		return false
	}
	req.GRPC = stream.GRPCOf(req.Method, &req.Header)
	if c.asksTunnel = req.Upgrade != "" || req.Method == "CONNECT"; c.asksTunnel && req.Upgrade == websocket {
		c.websocketKey, _ = req.Header.GetID(stream.SecWebSocketKey)
	}
	c.leaving = !r.keepAlive(req.Proto)
	c.last = c.leaving || c.full(read)
	if req.Proto == stream.HTTP11 {
		req.Interim = c.interimFn
	}
	c.body.begin(req)
	return true
}

// keepAlive tells whether the client wants the connection to live on (RFC 9112
// section 9.3).
func (r *requestReader) keepAlive(proto stream.Proto) bool {
	return !r.fr.close && (proto == stream.HTTP11 || r.fr.keepAlive)
}

// full tells whether the connection has served its share.
func (c *serverConn) full(now time.Time) bool {
	cfg := &c.srv.cfg
	return cfg.MaxRequests > 0 && c.served >= cfg.MaxRequests || !c.expiry.IsZero() && now.After(c.expiry) || cfg.Tight != nil && cfg.Tight()
}

// exchange answers the request that next has read. It reports whether the
// connection goes on.
func (c *serverConn) exchange() bool {
	if !c.enter(stream.PhaseWait) { // the head came as its time ran out
		c.req.Exchange.Fault = &stream.Fault{Kind: stream.HeadTimeout}
		c.finish()
		return false
	}
	resp, sound := c.ask()
	if f := c.req.Exchange.Fault; f.HangsUp() {
		resp.Body.Close()
		c.hangUp(f)
		return false
	}
	written := c.respond(resp)
	if written && sound && c.writer.kind == tunnelContent {
		c.turned = resp
		return false
	}
	return c.conclude(resp, written, sound)
}

// conclude ends the exchange behind its response. It reports whether the
// connection goes on.
func (c *serverConn) conclude(resp *stream.Response, written, sound bool) bool {
	resp.Body.Close()
	_ = c.body.Close() // never fails
	c.finish()
	switch {
	case !written || !sound || c.ctx.Err() != nil:
		return false
	case !c.last && c.body.drain():
		return true
	case c.leaving && c.body.complete.Load() && c.src.buffered() == 0:
		return false // the client said that it sends nothing more
	}
	c.linger()
	return false
}

// ask runs the Service. It reports false after a panic: then nothing is known
// of who still uses the connection.
func (c *serverConn) ask() (resp *stream.Response, sound bool) {
	defer func() {
		if p := recover(); p != nil {
			c.panicked(p)
			c.last = true
			resp, sound = c.answer(stream.Faultf(stream.Internal, stream.RetryNever, "panic: %v", p)), false
		}
	}()
	resp, err := c.srv.cfg.Service.Serve(c.ctx, &c.req)
	if err != nil {
		resp = c.answer(stream.AsFault(err))
	}
	if f := c.req.Exchange.Fault; f != nil && f.Kind == stream.Internal {
		c.last = true // a defect of ours, or a panic that a stage contained: begin anew
	}
	return resp, true
}

// answer is the response to a fault that no stage has answered.
func (c *serverConn) answer(f *stream.Fault) *stream.Response {
	c.req.Exchange.Fault = f
	return c.srv.cfg.Refuse(c.ctx, &c.req, f)
}

// finish ends the exchange.
func (c *serverConn) finish() {
	ex := &c.req.Exchange
	c.body.retire()
	if c.guard.Billed() {
		c.guard.Bill(nil)
	}
	ex.BytesIn = c.body.received()
	c.bytesIn.Add(ex.BytesIn)
	c.bytesOut.Add(ex.BytesOut)
	if ex.End.IsZero() {
		ex.End = time.Now()
	}
	if c.srv.cfg.Done != nil {
		c.srv.cfg.Done(&c.req)
	}
}

// refuse answers a request that could not be read and ends the connection.
func (c *serverConn) refuse(f *stream.Fault) {
	c.srv.Stats.Refused[f.Kind].Add(1)
	c.last = true
	c.body.none()
	resp := c.answer(f)
	written := c.respond(resp)
	resp.Body.Close()
	c.finish()
	if written {
		c.linger()
	}
}

// headBroken ends a connection whose client stopped inside a head.
func (c *serverConn) headBroken() {
	c.req.Exchange.HeadersIn = c.src.buffered()
	if c.fired() == watchdog.None { // the client closed
		f := &stream.Fault{Kind: stream.ClientGone}
		c.srv.Stats.Refused[f.Kind].Add(1)
		c.req.Exchange.Fault = f
		c.finish()
		return
	}
	c.nc.SetDeadline(noDeadline)
	c.refuse(&stream.Fault{Kind: stream.HeadTimeout})
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
