package http2

import (
	"encoding/binary"

	"github.com/weirproxy/weir/stream"
)

// tinyUpdate is a WINDOW_UPDATE so small that it is work for nothing.
const tinyUpdate = 256

// handle does what one frame asks for. Nothing that it appends is flushed here:
// dispatch sees to that once all that came is handled.
func (c *serverConn) handle(f *frame) *failure {
	c.useful = false
	if !c.greeted {
		if f.typ != frameSettings || f.has(flagAck) {
			return broken(codeProtocol, "the first frame is not SETTINGS")
		}
		c.greeted = true
	}
	switch f.typ {
	case frameData:
		c.useful = true
		return c.onData(f)
	case frameHeaders:
		c.useful = true
		return c.onHeaders(f)
	case frameContinuation:
		return c.onContinuation(f)
	case frameReset:
		return c.onReset(f)
	case frameSettings:
		return c.onSettings(f)
	case framePing:
		return c.onPing(f)
	case frameWindowUpdate:
		return c.onWindowUpdate(f)
	case framePriorityUpdate:
		return c.onPriorityUpdate(f)
	case framePushPromise:
		return broken(codeProtocol, "PUSH_PROMISE from a client")
	case framePriority:
		return c.score(pointsFrame, "PRIORITY frames")
	case frameGoAway:
		return c.score(pointsFrame, "GOAWAY frames")
	}
	return c.score(pointsFrame, "frames of unknown types")
}

// onSettings applies and acknowledges SETTINGS.
func (c *serverConn) onSettings(f *frame) *failure {
	if f.has(flagAck) {
		c.acked = true
		return nil
	}
	c.out.mu.Lock()
	bad := c.out.adopt(f.body)
	if bad == nil {
		c.out.begin()
		c.out.buf = appendSettingsAck(c.out.buf)
		bad = c.flooded()
	}
	c.out.mu.Unlock()
	if bad != nil {
		return bad
	}
	return c.score(pointsSettings, "SETTINGS frames")
}

// flooded ends a connection whose client asks and does not read. out.mu is held.
func (c *serverConn) flooded() *failure {
	if c.out.flooded() {
		return broken(codeEnhanceYourCalm, "answers that are not read")
	}
	return nil
}

func (c *serverConn) onPing(f *frame) *failure {
	if f.has(flagAck) {
		if string(f.body) == string(drainPing[:]) {
			c.leave()
			return nil
		}
		return c.score(pointsFrame, "PING frames")
	}
	c.out.mu.Lock()
	c.out.begin()
	c.out.buf = appendPing(c.out.buf, flagAck, f.body)
	bad := c.flooded()
	c.out.mu.Unlock()
	if bad != nil {
		return bad
	}
	return c.score(pointsFrame, "PING frames")
}

func (c *serverConn) onWindowUpdate(f *frame) *failure {
	n := int64(f.number() &^ (1 << 31))
	c.out.mu.Lock()
	bad := c.openWindow(f.id, n)
	c.out.mu.Unlock()
	if bad == nil && n < tinyUpdate {
		return c.score(pointsFrame, "small WINDOW_UPDATE frames")
	}
	return bad
}

// openWindow is WINDOW_UPDATE. out.mu is held.
func (c *serverConn) openWindow(id uint32, n int64) *failure {
	if id == 0 {
		switch {
		case n == 0:
			return broken(codeProtocol, "WINDOW_UPDATE of nothing")
		case !c.out.credit(nil, n):
			return broken(codeFlowControl, "the window of the connection grows too large")
		}
		return nil
	}
	s := c.streams[id]
	switch {
	case id > c.last || id%2 == 0:
		return broken(codeProtocol, "WINDOW_UPDATE on a stream that is idle")
	case n == 0:
		return brokenStream(id, codeProtocol, "WINDOW_UPDATE of nothing")
	case s == nil: // closed a moment ago
		return nil
	case !c.out.credit(&s.send, n):
		return brokenStream(id, codeFlowControl, "the window of a stream grows too large")
	}
	return nil
}

// onReset ends a stream of which the client wants nothing any more.
func (c *serverConn) onReset(f *frame) *failure {
	c.srv.Stats.ResetsIn.Add(1)
	c.out.mu.Lock()
	idle := f.id > c.last || f.id%2 == 0
	if s := c.streams[f.id]; s != nil {
		c.abandon(s, &stream.Fault{Kind: stream.ClientGone, Cause: errReset})
	}
	c.out.mu.Unlock()
	if idle {
		return broken(codeProtocol, "RST_STREAM on a stream that is idle")
	}
	return c.score(pointsReset, "streams that the client resets")
}

// onPriorityUpdate is RFC 9218 section 7.1. One for a stream that does not exist
// yet is dropped: to keep it would be memory for nothing.
func (c *serverConn) onPriorityUpdate(f *frame) *failure {
	id := binary.BigEndian.Uint32(f.body) &^ (1 << 31)
	if id == 0 {
		return broken(codeProtocol, "PRIORITY_UPDATE of stream 0")
	}
	c.out.mu.Lock()
	if s := c.streams[id]; s != nil {
		s.send.urgency = urgency(string(f.body[4:min(len(f.body), 4+64)]))
	}
	c.out.mu.Unlock()
	return c.score(pointsFrame, "PRIORITY_UPDATE frames")
}

// urgency reads the parameter u of a Priority field (RFC 9218 section 4.1); it
// is a hint, so anything else in the field is passed over.
func urgency(field string) uint8 {
	for i := 0; i+2 < len(field); i++ {
		atStart := i == 0 || field[i-1] == ' ' || field[i-1] == ','
		if atStart && field[i] == 'u' && field[i+1] == '=' && '0' <= field[i+2] && field[i+2] <= '7' {
			return field[i+2] - '0'
		}
	}
	return defaultUrgency
}

// onData takes content.
func (c *serverConn) onData(f *frame) *failure {
	c.out.mu.Lock()
	bad := c.takeData(f)
	c.out.mu.Unlock()
	if bad != nil {
		return bad
	}
	if len(f.body) == 0 && !f.has(flagEndStream) {
		return c.score(pointsFrame, "empty DATA frames")
	}
	return nil
}

// takeData is onData with out.mu held.
func (c *serverConn) takeData(f *frame) *failure {
	if !c.recv.receive(f.size) {
		return broken(codeFlowControl, "more content than the window of the connection")
	}
	s := c.streams[f.id]
	if s == nil || s.recvDone {
		c.giveBack(nil, f.size)
		return c.afterEnd(f.id, s)
	}
	if !s.recv.receive(f.size) {
		c.giveBack(nil, f.size)
		return brokenStream(f.id, codeFlowControl, "more content than the window of the stream")
	}
	end := f.has(flagEndStream)
	s.received += int64(len(f.body))
	if s.declared >= 0 && (s.received > s.declared || end && s.received < s.declared) {
		c.giveBack(nil, f.size)
		return brokenStream(f.id, codeProtocol, errLengthContent.Error())
	}
	if fault := c.srv.cfg.Limits.body(&requestSide, s.received); fault != nil {
		s.inbox.fail(fault)
	}
	kept := len(f.body) == 0 || s.inbox.put(f.body)
	if end {
		c.recvEnd(s)
	}
	if kept { // padding is nobody's to read
		c.giveBack(s, f.size-len(f.body))
	} else { // the window of the stream stays shut: nobody reads on
		c.giveBack(nil, f.size)
	}
	return nil
}

// recvEnd is END_STREAM from the client. out.mu is held.
func (c *serverConn) recvEnd(s *serverStream) {
	s.recvDone = true
	s.inbox.end()
}

// giveBack opens the windows for n bytes that nobody reads any more. s may be
// nil. out.mu is held.
func (c *serverConn) giveBack(s *serverStream, n int) {
	if n == 0 {
		return
	}
	if more := c.recv.take(n); more > 0 {
		c.out.begin()
		c.out.buf = appendWindowUpdate(c.out.buf, 0, more)
	}
	if s == nil || s.recvDone || s.gone {
		return
	}
	if more := s.recv.take(n); more > 0 {
		c.out.begin()
		c.out.buf = appendWindowUpdate(c.out.buf, s.send.id, more)
	}
}

// afterEnd judges a frame on a stream on which nothing may come any more.
// out.mu is held.
func (c *serverConn) afterEnd(id uint32, s *serverStream) *failure {
	switch {
	case s != nil:
		return brokenStream(id, codeStreamClosed, "a frame behind END_STREAM")
	case id > c.last || id%2 == 0:
		if id > c.final && c.stage == leaving { // RFC 9113 section 6.8: ignored
			return nil
		}
		return broken(codeProtocol, "a frame on a stream that is idle")
	}
	if closed, known := c.recall(id); known && closed.resetUs {
		return nil // it was on its way when we reset the stream
	}
	return brokenStream(id, codeStreamClosed, "a frame on a stream that is closed")
}

// recall finds one of the last closed streams. out.mu is held.
func (c *serverConn) recall(id uint32) (closedStream, bool) {
	for i := range c.closed {
		if c.closed[i].id == id {
			return c.closed[i], true
		}
	}
	return closedStream{}, false
}

// onHeaders begins a header block.
func (c *serverConn) onHeaders(f *frame) *failure {
	if f.id%2 == 0 {
		return broken(codeProtocol, "a stream of a client with an even number")
	}
	c.pending = pendingBlock{id: f.id, end: f.has(flagEndStream)}
	if len(f.body) == 0 && !f.has(flagEndHeaders) {
		if bad := c.score(pointsFrame, "empty HEADERS frames"); bad != nil {
			return bad
		}
	}
	return c.fragment(f)
}

func (c *serverConn) onContinuation(f *frame) *failure {
	if len(f.body) == 0 {
		if bad := c.score(pointsFrame, "empty CONTINUATION frames"); bad != nil {
			return bad
		}
	}
	return c.fragment(f)
}

// fragment adds to the header block and, when it is complete, decodes it.
func (c *serverConn) fragment(f *frame) *failure {
	block, done, bad := c.block.add(f.body, f.has(flagEndHeaders))
	if bad != nil || !done {
		return bad
	}
	c.useful = true
	bad = c.headers(block)
	c.block.reset()
	return bad
}

// headers handles a complete header block: of a new stream, or a trailer
// section.
func (c *serverConn) headers(block []byte) *failure {
	id := c.pending.id
	c.out.mu.Lock()
	s, last := c.streams[id], c.last
	closed, known := c.recall(id)
	c.out.mu.Unlock()
	switch {
	case id > last:
		return c.newStream(id, block)
	case s != nil:
		return c.trailers(s, block)
	}
	var m meter
	_ = c.discard(block, &m)
	switch {
	case known && closed.resetUs:
		return nil
	case known:
		return broken(codeStreamClosed, "HEADERS on a stream that is closed")
	}
	return broken(codeProtocol, "a stream has a lower number than one before it")
}

// discard decodes a block that is of no interest, for the table's sake.
func (c *serverConn) discard(block []byte, m *meter) *failure {
	m.side, m.limits = &requestSide, &c.srv.cfg.Limits
	_, _, bad := c.hpack.decode(block, m)
	return bad
}

// trailers takes the trailer section of a request.
func (c *serverConn) trailers(s *serverStream, block []byte) *failure {
	id := c.pending.id
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if c.streams[id] != s { // it has ended meanwhile
		var m meter
		return c.discard(block, &m)
	}
	fields, over, bad := c.hpack.decode(block, &s.meter)
	switch {
	case bad != nil:
		return bad
	case s.recvDone:
		return brokenStream(id, codeStreamClosed, "HEADERS behind END_STREAM")
	case !c.pending.end:
		return brokenStream(id, codeProtocol, errTrailerEnd.Error())
	case over != nil:
		s.inbox.fail(over)
		s.recvDone = true
		return nil
	case s.declared >= 0 && s.received < s.declared:
		return brokenStream(id, codeProtocol, errLengthContent.Error())
	}
	s.inbox.mu.Lock()
	kept, err := readTrailer(fields, &s.inbox.trailer)
	s.inbox.trailers = kept
	s.inbox.mu.Unlock()
	if err != nil {
		return brokenStream(id, codeProtocol, err.Error())
	}
	c.recvEnd(s)
	return nil
}
