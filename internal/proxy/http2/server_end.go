package http2

import (
	"time"

	"github.com/weirproxy/weir/stream"
)

// drainGrace is how long a client that does not answer the PING has to hear of
// the first GOAWAY.
const drainGrace = time.Second

// drainPing is what the PING behind the first GOAWAY carries.
var drainPing = [8]byte{'w', 'e', 'i', 'r', ' ', 'e', 'n', 'd'}

// drainAfter begins the end of the connection in a while. Any goroutine.
func (c *serverConn) drainAfter(wait time.Duration) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if c.stage != lives || c.ended || c.timer != nil {
		return
	}
	c.timer = time.AfterFunc(wait, func() {
		c.out.mu.Lock()
		c.warn()
		c.out.mu.Unlock()
		c.out.flush()
	})
}

// warn is the first step: no more streams, please. out.mu is held.
func (c *serverConn) warn() {
	if c.stage != lives || c.ended {
		return
	}
	c.stage, c.final = warned, maxStream
	c.out.begin()
	c.out.buf = appendGoAway(c.out.buf, maxStream, codeNo, "")
	c.out.buf = appendPing(c.out.buf, 0, drainPing[:])
	if c.timer != nil {
		c.timer.Stop()
	}
	c.timer = time.AfterFunc(drainGrace, func() {
		c.leave()
		c.out.flush()
	})
}

// leave is the second step: what came until now is finished, nothing else is
// begun. Any goroutine; the caller flushes.
func (c *serverConn) leave() {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if c.stage != warned || c.ended {
		return
	}
	c.stage, c.final = leaving, c.last
	c.srv.Stats.GoAways[codeNo].Add(1)
	c.out.begin()
	c.out.buf = appendGoAway(c.out.buf, c.last, codeNo, "")
	if c.over() {
		c.poke()
	}
}

// over tells whether a connection that leaves has nothing more to do. out.mu is
// held.
func (c *serverConn) over() bool {
	return c.stage == leaving && len(c.streams) == 0 && len(c.ready) == 0
}

// goAway ends the connection with a word.
func (c *serverConn) goAway(bad *failure) {
	c.out.mu.Lock()
	if c.stage != leaving || bad.code != codeNo {
		c.srv.Stats.GoAways[bad.code].Add(1)
		c.out.begin()
		last := c.last
		if c.stage == leaving {
			last = c.final // it never grows (RFC 9113 section 6.8)
		}
		c.out.buf = appendGoAway(c.out.buf, last, bad.code, bad.reason)
	}
	if bad.code != codeNo {
		kind := stream.RequestMalformed
		if bad.code == codeEnhanceYourCalm {
			kind = stream.AbusiveClient
		}
		fault := &stream.Fault{Kind: kind, Cause: bad}
		for _, s := range c.streams {
			c.abandon(s, fault)
		}
	}
	c.out.mu.Unlock()
	_ = c.nc.SetDeadline(time.Now().Add(drainGrace))
	c.out.settle()
	c.linger()
}

// maxLinger bounds what is read and thrown away before a close.
const maxLinger = 1 << 20

// linger lets the client read the last frames before the connection closes:
// closed with unread bytes it would be reset, and the reset may overtake them.
func (c *serverConn) linger() {
	h, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || h.CloseWrite() != nil {
		return
	}
	limit := c.srv.cfg.Phases[stream.PhaseLinger]
	_ = c.nc.SetReadDeadline(time.Now().Add(max(limit.Idle, limit.Ceiling)))
	c.enter(stream.PhaseLinger)
	for total := 0; total < maxLinger && c.ctx.Err() == nil; {
		c.in.consume(c.in.buffered())
		if c.in.fill() != nil {
			return
		}
		total += c.in.buffered()
	}
}
