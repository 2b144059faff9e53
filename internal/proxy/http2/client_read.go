package http2

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/weirproxy/weir/stream"
)

// clientReader reads the frames of one upstream connection. Its goroutine
// never writes and never waits for anything but the connection: what it has to
// say is queued, and another goroutine writes it.
type clientReader struct {
	frameReader
	c     *Client
	dec   decoder
	block blockBuffer

	// Of the header block that is not complete.
	blockID  uint32
	blockEnd bool // END_STREAM

	ready  bool            // the first SETTINGS came
	last   uint32          // of GOAWAY: streams above it were not processed
	going  bool            // GOAWAY came. Under out.mu, but for this goroutine
	news   []*clientStream // wait for a head, and have one when the batch is handled
	unread int             // bytes that nobody wants: to be returned to the window
	reply  bool            // something was queued
	owed   int             // bytes of answers in the queue, at most

	meter  meter // of blocks that belong to no exchange
	abuse  abuse
	resets abuse
}

func (r *clientReader) init(c *Client) {
	r.c, r.last = c, maxStream
	r.frameReader.init(c.nc)
	r.dec.init()
	r.block.limit = c.cfg.Limits.maxBlock()
	r.abuse.limit, r.resets.limit = float64(c.cfg.MaxAbuse), float64(c.cfg.MaxAbuse)
}

// read is the goroutine of the connection.
func (c *Client) read() {
	err := error(&stream.Fault{Kind: stream.Internal})
	defer func() {
		if p := recover(); p != nil {
			c.cfg.Stats.Panics.Add(1)
			err = &stream.Fault{Kind: stream.Internal, Cause: fmt.Errorf("panic: %v", p)}
			c.cfg.Log.Error("panic while reading an upstream connection; the connection ends",
				"component", "http2", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
		c.die(err)
	}()
	err = c.in.loop()
}

// loop handles frames until the connection ends.
func (r *clientReader) loop() error {
	for {
		f, ok, bad := r.next()
		if bad == nil && ok {
			bad = r.handle(&f)
		}
		switch {
		case bad != nil && bad.stream != 0:
			r.breakStream(bad.stream, bad.code, responseSide.bad(bad))
		case bad != nil:
			return bad
		case !ok:
			if bad := r.batchDone(); bad != nil {
				return bad
			}
			if err := r.fill(); err != nil {
				return err
			}
			r.c.health.guard.Moved(1)
		}
	}
}

// batchDone does what waits until everything that came is handled: a response
// that came whole is handed on whole.
func (r *clientReader) batchDone() *failure {
	c, o := r.c, &r.c.out
	o.mu.Lock()
	c.setReading(nil)
	if r.unread > 0 {
		if n := c.window.take(r.unread); n > 0 && o.over == nil {
			o.begin()
			o.buf = appendWindowUpdate(o.buf, 0, n)
			r.reply = true
		}
		r.unread = 0
	}
	write := r.reply && !o.idle()
	r.owed = min(r.owed, len(o.buf))
	flooded := r.owed > maxControl
	o.mu.Unlock()
	r.reply = false
	for i, s := range r.news {
		s.poke()
		r.news[i] = nil
	}
	r.news = r.news[:0]
	if flooded {
		return r.abused(errNotRead.Error())
	}
	if write {
		c.cfg.Go(c.write)
	}
	return nil
}

// abused ends a connection that costs more than it gives.
func (r *clientReader) abused(reason string) *failure {
	r.c.cfg.Stats.Abusive.Add(1)
	return broken(codeEnhanceYourCalm, reason)
}

// charge adds points, unless we have earned the frame.
func (r *clientReader) charge(points int, earned bool, reason string) *failure {
	if earned && r.c.credit.Load() > 0 {
		r.c.credit.Add(-1)
		return nil
	}
	if r.abuse.add(points, time.Now(), reason) {
		return r.abused(reason)
	}
	return nil
}

func (r *clientReader) handle(f *frame) *failure {
	if !r.ready && f.typ != frameSettings {
		return broken(codeProtocol, "the first frame is not SETTINGS")
	}
	switch f.typ {
	case frameData:
		return r.data(f)
	case frameHeaders:
		r.blockID, r.blockEnd = f.id, f.has(flagEndStream)
		return r.fragment(f)
	case frameContinuation:
		if bad := r.charge(pointsFrame, false, "CONTINUATION"); bad != nil {
			return bad
		}
		return r.fragment(f)
	case frameReset:
		return r.resetStream(f)
	case frameSettings:
		return r.settings(f)
	case framePushPromise:
		return broken(codeProtocol, "PUSH_PROMISE although SETTINGS_ENABLE_PUSH is 0")
	case framePing:
		return r.ping(f)
	case frameGoAway:
		return r.goAway(f)
	case frameWindowUpdate:
		return r.windowUpdate(f)
	case framePriorityUpdate:
		return broken(codeProtocol, "PRIORITY_UPDATE from a server")
	}
	return r.charge(pointsFrame, true, "frames without a use")
}

// find is the exchange of a stream, nil when it is over; the reader may use it
// until the next find. idle: the stream was never opened.
func (r *clientReader) find(id uint32) (s *clientStream, idle bool) {
	c := r.c
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return r.findLocked(id)
}

func (r *clientReader) findLocked(id uint32) (s *clientStream, idle bool) {
	c := r.c
	s = c.streams[id]
	c.setReading(s)
	return s, s == nil && (id&1 == 0 || id >= c.next)
}

// setReading says which exchange the goroutine that reads is at. One that ended
// meanwhile is left to it. out.mu is held.
func (c *Client) setReading(s *clientStream) {
	if old := c.reading; old != nil && old != s && old.orphan {
		old.orphan = false
		c.free = append(c.free, old)
	}
	c.reading = s
}

var errIdle = broken(codeProtocol, "a frame on a stream that was not opened")

func (r *clientReader) data(f *frame) *failure {
	c, o := r.c, &r.c.out
	end := f.has(flagEndStream)
	o.mu.Lock()
	s, idle := r.findLocked(f.id)
	within := true
	switch {
	case idle:
		o.mu.Unlock()
		return errIdle
	case !c.window.receive(f.size):
		o.mu.Unlock()
		return broken(codeFlowControl, "more DATA than the window of the connection")
	case s == nil:
		if c.late -= int64(f.size); c.late < 0 {
			within = false
		}
	case s.gotEnd || s.reset:
		o.mu.Unlock()
		return broken(codeStreamClosed, "DATA behind the end of a stream")
	default:
		within = s.recv.receive(f.size)
		s.gotEnd = end
	}
	o.mu.Unlock()
	if f.size == 0 && !end {
		if bad := r.charge(pointsFrame, false, "empty DATA"); bad != nil {
			return bad
		}
	}
	switch {
	case s == nil && !within:
		return broken(codeStreamClosed, "more DATA on closed streams than their windows had left")
	case s == nil || s.broken:
		r.unread += f.size
		return nil
	case !within:
		r.unread += f.size
		r.breakOff(s, codeFlowControl, responseSide.bad(errStreamWindow))
		return nil
	}
	return r.content(s, f, end)
}

// content puts DATA where the reader of the body finds it.
func (r *clientReader) content(s *clientStream, f *frame, end bool) *failure {
	fault := s.takeContent(len(f.body))
	if fault == nil && end {
		fault = s.contentEnds()
	}
	if fault != nil {
		r.unread += f.size
		r.breakOff(s, codeProtocol, fault)
		return nil
	}
	if len(f.body) > 0 && !s.in.put(f.body) {
		r.unread += f.size
	} else if padding := f.size - len(f.body); padding > 0 {
		r.unread += padding
		r.padding(s, padding)
	}
	if end {
		s.in.end()
		r.earned()
	}
	return nil
}

// padding gives the window of the stream back what was no content.
func (r *clientReader) padding(s *clientStream, n int) {
	o := &r.c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if own := s.recv.take(n); own > 0 && !s.gotEnd && o.over == nil {
		o.begin()
		o.buf = appendWindowUpdate(o.buf, s.send.id, own)
		r.reply = true
	}
}

// earned notes a response that came as it should.
func (r *clientReader) earned() {
	r.abuse.earn()
	r.resets.earn()
}

// fragment takes a part of a header block.
func (r *clientReader) fragment(f *frame) *failure {
	block, done, bad := r.block.add(f.body, f.has(flagEndHeaders))
	if bad != nil || !done {
		return bad
	}
	defer r.block.reset()
	c, o := r.c, &r.c.out
	o.mu.Lock()
	s, idle := r.findLocked(r.blockID)
	closed := s != nil && (s.gotEnd || s.reset)
	if s != nil && !closed {
		s.gotEnd = r.blockEnd
	}
	o.mu.Unlock()
	switch {
	case idle:
		return errIdle
	case closed:
		return broken(codeStreamClosed, "HEADERS behind the end of a stream")
	}
	m := &r.meter
	if s != nil && !s.broken {
		m = &s.meter
	} else {
		*m = meter{side: &responseSide, limits: &c.cfg.Limits}
	}
	fields, over, bad := r.dec.decode(block, m)
	defer r.dec.release()
	switch {
	case bad != nil:
		return bad
	case s == nil:
		return r.charge(pointsFrame, true, "HEADERS on closed streams")
	case s.broken:
		return nil
	case over != nil:
		r.breakOff(s, codeEnhanceYourCalm, over)
		return nil
	}
	if fault := s.takeHead(fields, r.blockEnd); fault != nil {
		r.breakOff(s, codeProtocol, fault)
		return nil
	}
	if r.blockEnd {
		r.earned()
	}
	r.news = append(r.news, s)
	return nil
}

// breakOff fails what a stream brings, and what it takes: the exchange resets it.
func (r *clientReader) breakOff(s *clientStream, code errCode, f *stream.Fault) {
	s.broken = true
	o := &r.c.out
	o.mu.Lock()
	s.code = code
	if code != codeCancel && code != codeNo {
		s.gotEnd = false // whatever it said: it is to be told
	}
	o.fail(&s.send, f)
	o.mu.Unlock()
	s.fail(f)
}

func (r *clientReader) breakStream(id uint32, code errCode, f *stream.Fault) {
	if s, _ := r.find(id); s != nil && !s.broken {
		r.breakOff(s, code, f)
	}
}
