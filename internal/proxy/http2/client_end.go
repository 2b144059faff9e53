package http2

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/weirproxy/weir/stream"
)

// die ends the connection: the last thing that its goroutine does.
func (c *Client) die(err error) {
	var bad *failure
	_ = errors.As(err, &bad)
	o := &c.out
	o.mu.Lock()
	f := c.fault
	if f == nil {
		if f, _ = err.(*stream.Fault); f == nil {
			f = connectionFault(err)
		}
		c.fault = f
	}
	c.setReading(nil)
	c.gone = true
	c.limit.Store(0)
	c.giveBackUnsent(f)
	left := len(c.streams)
	for _, s := range c.streams {
		s.reset = true
		o.fail(&s.send, f)
		// Under out.mu: nobody can leave, and hand the object on, meanwhile.
		s.fail(s.cutShort(f))
	}
	free := c.free
	c.free = nil
	if bad != nil && o.over == nil {
		o.begin()
		o.buf = appendGoAway(o.buf, 0, bad.code, bad.reason)
	}
	o.mu.Unlock()
	if bad != nil {
		c.cfg.Stats.Violations.Add(1)
		c.cfg.Log.Warn("an upstream broke HTTP/2; the connection ends", "component", "http2",
			"upstream", c.nc.RemoteAddr(), "code", bad.code.String(), "reason", bad.reason, "streams", left)
	}
	for _, s := range free {
		s.release()
	}
	_ = c.nc.SetWriteDeadline(time.Now().Add(lastWriteTime))
	if bad != nil {
		c.out.settle()
	}
	o.mu.Lock()
	o.end(errConnectionOver)
	o.mu.Unlock()
	_ = c.nc.Close()
	c.health.guard.Release()
	o.guard.Release()
	c.in.release()
	if !c.in.ready {
		close(c.ready)
	}
	c.cfg.Stats.Open.Add(-1)
	close(c.done)
}

// giveBackUnsent fails the requests that were queued when the connection ended,
// and of which therefore no byte has left. out.mu is held.
func (c *Client) giveBackUnsent(f *stream.Fault) {
	if f.Kind != stream.UpstreamClosed && f.Kind != stream.UpstreamReset {
		return
	}
	queued := c.out.unsent
	if c.out.over == nil {
		queued = c.out.buf
	}
	for len(queued) >= frameHeaderSize {
		size := int(queued[0])<<16 | int(queued[1])<<8 | int(queued[2])
		typ, id := frameType(queued[3]), binary.BigEndian.Uint32(queued[5:])
		queued = queued[min(frameHeaderSize+size, len(queued)):]
		// Behind a trailer section the head may have left before: not known.
		if s := c.streams[id]; s != nil && typ == frameHeaders && !s.trailing {
			c.cfg.Stats.Unprocessed.Add(1)
			s.fail(&stream.Fault{Kind: f.Kind, Retry: stream.RetryUnsent, Cause: f.Cause})
		}
	}
}

// lastWriteTime is how long the upstream has to take our last words.
const lastWriteTime = time.Second

// cutShort is f as it is for this exchange: a body that broke off has another
// name than a response that never came.
func (s *clientStream) cutShort(f *stream.Fault) *stream.Fault {
	if s.headDone && (f.Kind == stream.UpstreamClosed || f.Kind == stream.UpstreamReset) {
		return &stream.Fault{Kind: stream.ResponseTruncated, Cause: f.Cause}
	}
	return f
}
