package http2

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// How far the end of a connection has come.
const (
	lives   = iota
	warned  // GOAWAY with the largest stream there can be
	leaving // GOAWAY with the last one that counts
)

// serverConn is one downstream connection. Its goroutine reads frames and owns
// every field that no comment gives to others; each exchange runs on a worker.
// The lock of the connection is out.mu.
type serverConn struct {
	srv    *Server
	nc     net.Conn
	facts  *stream.Conn
	scheme string
	opened time.Time
	expiry time.Time // no further request after it; zero: never

	ctx    context.Context // of the connection; parent of every exchange
	cancel context.CancelFunc
	detach func() bool
	guard  watchdog.Guard // of the goroutine that reads
	in     frameReader
	out    outbox

	hpack   decoder
	block   blockBuffer
	head    requestHead
	pending pendingBlock
	now     time.Time // of the last read
	abuse   abuse
	greeted bool // the preface and SETTINGS of the client are here
	acked   bool // the client has our SETTINGS
	phase   stream.Phase
	// What the frames since the last read were for: a PING is no sign of life.
	progress, useful bool

	requests, bytesIn, bytesOut, earned atomic.Int64

	// Under out.mu.
	streams map[uint32]*serverStream // open, as the protocol sees it
	closed  []closedStream           // the last ones that are not; a ring
	nclosed int
	last    uint32 // the highest stream of the client
	final   uint32 // what the last GOAWAY said
	active  int    // streams that count against MaxStreams
	recv    recvWindow
	begun   bool // our first header block is written
	ready   []*serverStream
	parked  []*worker
	working int // workers, parked ones not included
	stage   int // lives, warned, leaving
	ended   bool
	// idleSince is when the last exchange ended.
	idleSince time.Time
	timer     *time.Timer // of Drain

	workers sync.WaitGroup
}

// closedStream is what is remembered of a stream that is over.
type closedStream struct {
	id      uint32
	resetUs bool // we reset it: what the client had on the way is ignored
}

// pendingBlock is the header block that is being received.
type pendingBlock struct {
	id  uint32
	end bool // END_STREAM
}

func (c *serverConn) init(parent context.Context) {
	cfg := &c.srv.cfg
	c.scheme = "http"
	if c.facts.TLS != nil {
		c.scheme = "https"
	}
	c.ctx, c.cancel = context.WithCancel(parent)
	c.detach = context.AfterFunc(parent, c.poke)
	c.expiry = c.srv.maxAge(c.opened)
	c.in.init(c.nc)
	c.out.init(c.nc, stream.PhaseWrite)
	c.hpack.init()
	c.block.limit = cfg.Limits.maxBlock()
	c.streams = make(map[uint32]*serverStream)
	c.recv.init(cfg.ConnectionWindow)
	c.now, c.idleSince = c.opened, c.opened
	c.abuse = abuse{limit: float64(cfg.MaxAbuse), last: c.opened}
	c.greet()
}

// greet says what we take. It leaves before anything is read (dispatch): a
// client goes by guesses until it has it.
func (c *serverConn) greet() {
	cfg := &c.srv.cfg
	c.out.begin()
	c.out.buf = appendSettings(c.out.buf,
		setting{settingMaxStreams, uint32(cfg.MaxStreams)},
		setting{settingInitialWindow, uint32(cfg.StreamWindow)},
		setting{settingMaxHeaderList, uint32(min(cfg.Limits.MaxHeaderBytes, 1<<31))},
		setting{settingConnectProtocol, 1},
		setting{settingNoPriorities, 1})
	if more := cfg.ConnectionWindow - firstCover; more > 0 {
		c.out.buf = appendWindowUpdate(c.out.buf, 0, more)
	}
}

// poke wakes the read that is blocked.
func (c *serverConn) poke() { _ = c.nc.SetReadDeadline(longAgo) }

// serve is the life of the connection.
func (c *serverConn) serve() {
	defer c.finish()
	defer c.contain()
	c.dispatch()
	bad, ok := c.readPreface()
	for ok && bad == nil {
		var err error
		if bad, err = c.frames(); bad == nil && err != nil {
			var again bool
			if bad, again = c.readBroken(err); bad == nil && !again {
				return
			}
		}
	}
	if bad != nil {
		c.goAway(bad)
	}
}

// contain is the recover boundary of the connection: a panic ends it alone.
func (c *serverConn) contain() {
	if p := recover(); p != nil {
		c.panicked(p, "the connection ends")
	}
}

func (c *serverConn) panicked(p any, then string) {
	c.srv.Stats.Panics.Add(1)
	slog.Error("panic while serving a connection; "+then,
		"component", "http2", "connection", c.facts.ID, "listener", c.facts.Listener,
		"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
}

// finish ends every exchange and waits for them.
func (c *serverConn) finish() {
	c.cancel()
	c.nc.Close()
	c.out.mu.Lock()
	c.ended = true
	c.out.end(errConnectionOver)
	if c.timer != nil {
		c.timer.Stop()
	}
	gone := &stream.Fault{Kind: stream.ClientGone, Cause: errConnectionOver}
	if errors.Is(c.out.over, errCostly) {
		gone = stream.Costly(errCostly)
	}
	for _, s := range c.streams {
		c.abandon(s, gone)
	}
	c.runReady() // what never ran is recorded too
	parked := c.parked
	c.parked = nil
	c.out.mu.Unlock()
	for _, w := range parked {
		w.jobs <- job{}
	}
	c.workers.Wait()
}

// shut gives everything back.
func (c *serverConn) shut() {
	c.detach()
	c.guard.Release()
	c.out.guard.Release()
	c.in.release()
}

// readPreface reads what every connection begins with (RFC 9113 section 3.4).
func (c *serverConn) readPreface() (bad *failure, ok bool) {
	c.enter(stream.PhasePreface)
	for {
		b := c.in.bytes()
		n := min(len(b), len(preface))
		if string(b[:n]) != preface[:n] {
			return broken(codeProtocol, "the preface of HTTP/2 is missing"), false
		}
		if n == len(preface) {
			c.in.consume(n)
			return nil, true
		}
		if err := c.in.fill(); err != nil {
			bad, again := c.readBroken(err)
			if !again {
				return bad, false
			}
		}
		c.now = time.Now()
	}
}

// frames handles what is buffered and then reads more.
func (c *serverConn) frames() (*failure, error) {
	for {
		f, ok, bad := c.in.next()
		if ok {
			bad = c.handle(&f)
			c.progress = c.progress || c.in.open == 0 && c.useful
		}
		if bad != nil {
			if bad = c.judge(bad); bad != nil {
				return bad, nil
			}
			continue
		}
		if !ok {
			break
		}
	}
	c.dispatch()
	c.enterRead()
	had := c.in.buffered()
	if err := c.in.fill(); err != nil {
		return nil, err
	}
	c.guard.Moved(c.in.buffered() - had)
	c.now = time.Now()
	return nil, nil
}

// judge ends a stream for what its client did, or says that the connection has
// to end.
func (c *serverConn) judge(bad *failure) *failure {
	if bad.stream == 0 {
		return bad
	}
	c.out.mu.Lock()
	if s := c.streams[bad.stream]; s != nil {
		c.resetStream(s, bad.code, &stream.Fault{Kind: stream.RequestMalformed, Cause: bad})
	} else {
		c.reset(bad.stream, bad.code)
	}
	c.out.mu.Unlock()
	return c.score(pointsReset, "streams that have to be reset")
}

// score adds to what the connection costs.
func (c *serverConn) score(points int, reason string) *failure {
	for n := c.earned.Swap(0); n > 0; n-- {
		c.abuse.earn()
	}
	if !c.abuse.add(points, c.now, reason) {
		return nil
	}
	c.srv.Stats.AbuseCloses.Add(1)
	c.srv.Stats.Refused[stream.AbusiveClient].Add(1)
	return broken(codeEnhanceYourCalm, reason)
}

// enterRead enters the phase of the read that follows. A phase with a ceiling
// goes on over reads that bring only part of a frame or of a header block. While
// nothing is cut the phase is idle even if exchanges are under way: they have
// their own clocks, and when idle ends readBroken looks.
func (c *serverConn) enterRead() {
	next := stream.PhaseIdle
	part, known := c.in.partial()
	switch {
	case !c.greeted:
		next = stream.PhasePreface
	case c.in.open != 0 || c.in.buffered() > 0 && (!known || part != frameData):
		next = stream.PhaseHead
	case known:
		next = stream.PhaseBody
	}
	if next != c.phase || c.progress && next != stream.PhasePreface {
		c.phase = next
		if next == stream.PhaseIdle {
			c.enterIdle()
		} else {
			c.enter(next)
		}
	}
	c.progress = false
}

// enterIdle enters the idle phase, whose end does not move with what the client
// sends besides requests. It reports whether that lies ahead.
func (c *serverConn) enterIdle() bool {
	c.out.mu.Lock()
	until := noDeadline
	if len(c.streams) == 0 {
		limit := c.srv.cfg.Phases[stream.PhaseIdle]
		until = c.idleSince.Add(c.srv.cfg.Dog.Short(max(limit.Ceiling, limit.Idle), limit.Floor))
	}
	c.out.mu.Unlock()
	c.guard.EnterUntil(uint8(stream.PhaseIdle), c.ctx, until)
	return until.IsZero() || time.Now().Before(until)
}

func (c *serverConn) enter(p stream.Phase) {
	c.phase = p
	c.guard.Enter(uint8(p))
}

// expire runs on the dog's goroutine when a phase takes too long.
func (c *serverConn) expire(uint8, watchdog.Verdict) { c.poke() }

// expireWrite ends a connection whose client takes nothing.
func (c *serverConn) expireWrite(uint8, watchdog.Verdict) { _ = c.nc.SetDeadline(longAgo) }

// probe runs on the dog's goroutine now and then while the connection waits: it
// sends home the workers that nobody needed since.
func (c *serverConn) probe(uint8) bool {
	c.out.mu.Lock()
	keep := 0
	if len(c.streams) > 0 {
		keep = (len(c.parked) + 1) / 2
	}
	home := append([]*worker(nil), c.parked[:len(c.parked)-keep]...)
	c.parked = append(c.parked[:0], c.parked[len(c.parked)-keep:]...)
	clear(c.parked[len(c.parked):cap(c.parked)])
	c.out.mu.Unlock()
	for _, w := range home {
		w.jobs <- job{} // a parked worker waits, and its channel is empty
	}
	return false
}

// readBroken says how a connection ends of which nothing more can be read. Both
// results are zero when it ends without a word; again is true when it goes on.
func (c *serverConn) readBroken(err error) (bad *failure, again bool) {
	phase, v := c.guard.Fired()
	if c.ctx.Err() != nil || !errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, false
	}
	_ = c.nc.SetReadDeadline(noDeadline)
	c.out.mu.Lock()
	over, dead := c.over(), c.out.over != nil
	c.out.mu.Unlock()
	switch {
	case dead:
		return nil, false
	case over:
		c.srv.Stats.Drained.Add(1)
		return broken(codeNo, ""), false
	case v == watchdog.None: // a poke that came too early
		return nil, true
	case stream.Phase(phase) == stream.PhaseIdle:
		if c.enterIdle() {
			return nil, true
		}
		if v == watchdog.Shortened {
			c.srv.cfg.Dog.Shortened.Add(1)
		}
		return broken(codeNo, "idle"), false
	case c.in.open != 0:
		c.refuseUnread(&stream.Fault{Kind: stream.HeadTimeout})
	}
	return broken(codeProtocol, "a frame did not come in time"), false
}

// refuseUnread records a request whose head never was complete.
func (c *serverConn) refuseUnread(f *stream.Fault) {
	c.srv.Stats.Refused[f.Kind].Add(1)
	if c.srv.cfg.Done == nil {
		return
	}
	req := &stream.Request{Proto: stream.HTTP2, Body: stream.NoBody, Conn: c.facts, Client: c.facts.Remote.Addr()}
	req.Exchange.Start, req.Exchange.End, req.Exchange.Fault = c.now, time.Now(), f
	req.Exchange.HeadersIn = len(c.block.kept)
	c.srv.cfg.Done(req)
}

func (c *serverConn) state(now time.Time) ConnState {
	phase, _ := c.guard.Fired()
	if phase >= uint8(stream.NumPhases) {
		phase = uint8(stream.PhaseIdle)
	}
	c.out.mu.Lock()
	streams := c.active
	c.out.mu.Unlock()
	if streams > 0 && stream.Phase(phase) == stream.PhaseIdle {
		phase = uint8(stream.PhaseWait)
	}
	return ConnState{
		Facts: c.facts, Phase: stream.Phase(phase), Age: now.Sub(c.opened), Streams: streams,
		Requests: c.requests.Load(), BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(),
	}
}
