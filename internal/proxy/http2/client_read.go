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
	flooded := o.flooded()
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

func (r *clientReader) resetStream(f *frame) *failure {
	code := errCode(f.number())
	c, o := r.c, &r.c.out
	o.mu.Lock()
	s, idle := r.findLocked(f.id)
	complete := false
	if s != nil {
		s.reset = true
		complete = s.gotEnd
		o.fail(&s.send, resetFault(code))
	}
	o.mu.Unlock()
	switch {
	case idle:
		return errIdle
	case s == nil:
		return r.charge(pointsFrame, true, "RST_STREAM on closed streams")
	}
	c.cfg.Stats.Resets.Add(1)
	if !complete { // else the response is there, and the rest of the request was not wanted
		fault := resetFault(code)
		if fault.Retry == stream.RetryUnsent {
			c.cfg.Stats.Unprocessed.Add(1)
		}
		s.broken = true
		s.fail(fault)
		// An upstream that ends most streams so is used no longer than others;
		// those that it still serves are not punished for it.
		if r.resets.add(pointsReset, time.Now(), "") {
			c.Retire()
		}
	}
	return nil
}

func (r *clientReader) settings(f *frame) *failure {
	if f.has(flagAck) {
		return r.charge(pointsFrame, true, "SETTINGS acknowledgements")
	}
	if r.ready {
		if bad := r.charge(pointsSettings, false, "SETTINGS"); bad != nil {
			return bad
		}
	}
	c, o := r.c, &r.c.out
	o.mu.Lock()
	bad := o.adopt(f.body)
	if bad == nil && o.over == nil {
		o.begin()
		o.buf = appendSettingsAck(o.buf)
	}
	limit := int64(min(uint32(c.cfg.MaxStreams), o.peer.maxStreams))
	o.mu.Unlock()
	if bad != nil {
		return bad
	}
	c.limit.Store(limit)
	r.reply = true
	if !r.ready {
		r.ready = true
		close(c.ready)
	}
	return nil
}

func (r *clientReader) ping(f *frame) *failure {
	c, o := r.c, &r.c.out
	if f.has(flagAck) {
		if string(f.body) == pingData {
			c.health.owed.Store(false)
		}
		return r.charge(pointsFrame, true, "PING acknowledgements")
	}
	if bad := r.charge(pointsFrame, true, "PING"); bad != nil {
		return bad
	}
	o.mu.Lock()
	if o.over == nil {
		o.begin()
		o.buf = appendPing(o.buf, flagAck, f.body)
	}
	o.mu.Unlock()
	r.reply = true
	return nil
}

func (r *clientReader) goAway(f *frame) *failure {
	last, code, _ := f.goAway()
	c, o := r.c, &r.c.out
	if last > r.last {
		return broken(codeProtocol, "GOAWAY with a higher stream than the one before")
	}
	c.cfg.Stats.GoAways.Add(1)
	if bad := r.charge(pointsFrame, false, "GOAWAY"); bad != nil {
		return bad
	}
	var unprocessed []*clientStream
	o.mu.Lock()
	r.last, r.going = last, true
	for id, s := range c.streams {
		if id > last && !s.gotEnd {
			s.reset = true // it never was for the upstream
			unprocessed = append(unprocessed, s)
			o.fail(&s.send, goneAwayFault)
		}
	}
	// Under out.mu: nobody can leave, and hand the object on, meanwhile.
	for _, s := range unprocessed {
		s.broken = true
		s.fail(goneAwayFault)
	}
	o.mu.Unlock()
	c.cfg.Stats.Unprocessed.Add(int64(len(unprocessed)))
	if code != codeNo {
		r.lastWords(code)
	}
	c.Retire()
	return nil
}

var goneAwayFault = &stream.Fault{Kind: stream.UpstreamClosed, Retry: stream.RetryUnsent, Cause: errGoneAway}

// lastWords keeps why the upstream ends the connection.
func (r *clientReader) lastWords(code errCode) {
	r.c.cfg.Log.Debug("an upstream ends a connection", "component", "http2", "upstream", r.c.nc.RemoteAddr(), "code", code.String())
}

func (r *clientReader) windowUpdate(f *frame) *failure {
	o := &r.c.out
	n := int64(f.number() &^ (1 << 31))
	if n < 1<<10 {
		if bad := r.charge(pointsFrame, true, "window dribble"); bad != nil {
			return bad
		}
	}
	if f.id == 0 {
		if n == 0 {
			return broken(codeProtocol, errZeroIncrement.Error())
		}
		o.mu.Lock()
		ok := o.credit(nil, n)
		o.mu.Unlock()
		if !ok {
			return broken(codeFlowControl, errWindowOverflow.Error())
		}
		return nil
	}
	o.mu.Lock()
	s, idle := r.findLocked(f.id)
	ok := s == nil || n == 0 || o.credit(&s.send, n)
	o.mu.Unlock()
	switch {
	case idle:
		return errIdle
	case s == nil || s.broken:
	case n == 0:
		r.breakOff(s, codeProtocol, responseSide.bad(errZeroIncrement))
	case !ok:
		r.breakOff(s, codeFlowControl, responseSide.bad(errWindowOverflow))
	}
	return nil
}

// die ends the connection: the last thing that its goroutine does.
func (c *Client) die(err error) {
	bad, _ := err.(*failure)
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
	left := make([]*clientStream, 0, len(c.streams))
	for _, s := range c.streams {
		left = append(left, s)
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
			"upstream", c.nc.RemoteAddr(), "code", bad.code.String(), "reason", bad.reason, "streams", len(left))
	}
	for _, s := range free {
		s.release()
	}
	_ = c.nc.SetWriteDeadline(time.Now().Add(lastWriteTime))
	if bad != nil {
		c.out.flush()
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
