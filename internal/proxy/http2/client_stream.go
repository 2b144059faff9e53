package http2

import (
	"context"
	"time"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// clientStream is one exchange of a Client. The object serves one exchange
// after the other; it is handed on only when neither the goroutine that reads
// nor that of the upload knows it any more.
type clientStream struct {
	c     *Client
	in    inbox          // what comes
	guard watchdog.Guard // of the goroutine that serves
	up    clientUpload
	wake  chan struct{} // something changed before the final head: one message at most

	// Under out.mu.
	send     sender
	recv     recvWindow
	code     errCode // of the reset with which we end it
	sentEnd  bool    // END_STREAM left
	trailing bool    // with a trailer section
	gotEnd   bool    // END_STREAM came
	reset    bool    // RST_STREAM came
	unwanted bool    // it says that the rest of the request is not needed (RFC 9113 section 8.1)
	orphan   bool    // the exchange is over, the goroutine that reads hands the object on

	// Of the goroutine that reads, until headHere. Under in.mu from there on.
	meter     meter
	header    stream.Header // memory that each response takes turns with
	status    int
	length    int64 // what Content-Length says; -1 without one
	announced string

	// Under in.mu.
	interims []interim
	headHere bool // the final head is complete

	// Set before the upstream can answer.
	bodyless bool // HEAD
	tunnel   bool // CONNECT, extended or not

	// Of the goroutine that reads.
	left     int64 // content to come; -1: nobody knows
	heads    int   // interim ones
	headDone bool  // as headHere
	broken   bool  // what comes is of no interest

	// Of the goroutine that serves.
	req    *stream.Request
	ctx    context.Context
	opened bool   // the upstream may know of it
	head   []byte // the HEADERS frame, as it is made
	timer  *time.Timer
	pace   pace
	budget time.Duration // for the head, once the upload is over; 0: the deadline holds
}

// interim is a 1xx response on its way to the goroutine that serves.
type interim struct {
	status int
	header stream.Header
}

// stream is a stream object for one exchange, at rest.
func (c *Client) stream() *clientStream {
	c.out.mu.Lock()
	var s *clientStream
	if last := len(c.free) - 1; last >= 0 {
		s = c.free[last]
		c.free[last] = nil
		c.free = c.free[:last]
	}
	c.out.mu.Unlock()
	if s == nil {
		s = &clientStream{c: c, wake: make(chan struct{}, 1)}
		s.up.init(s)
		s.guard.Passive = true // what waits here goes with what the client's side holds
		c.cfg.Dog.Watch(&s.guard, c.cfg.limits, s.expire, nil)
	}
	s.renew()
	return s
}

// renew makes the object forget the exchange before.
func (s *clientStream) renew() {
	b := &s.in
	b.mu.Lock()
	b.reset()
	clear(s.interims)
	s.interims, s.headHere = s.interims[:0], false
	b.mu.Unlock()
	select {
	case <-s.wake:
	default:
	}
	s.meter = meter{side: &responseSide, limits: &s.c.cfg.Limits}
	s.code, s.sentEnd, s.trailing, s.gotEnd, s.reset, s.unwanted = codeCancel, false, false, false, false, false
	s.status, s.length, s.announced = 0, -1, ""
	s.left, s.heads, s.headDone, s.broken = -1, 0, false, false
	s.opened, s.budget = false, 0
}

// poke wakes the goroutine that waits for the head.
func (s *clientStream) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// fail breaks the response off.
func (s *clientStream) fail(f *stream.Fault) {
	s.in.fail(f)
	s.poke()
}

// expire runs on the dog's goroutine. Under in.mu, which renew takes, a late
// verdict cannot meet the next exchange.
func (s *clientStream) expire(phase uint8, v watchdog.Verdict) {
	f := verdictFault(stream.Phase(phase), v)
	b := &s.in
	b.mu.Lock()
	if _, now := s.guard.Fired(); now == v {
		if b.fault == nil && !b.ended {
			b.fault = f
		}
		b.signal()
		s.poke()
	}
	b.mu.Unlock()
	if stream.Phase(phase) != stream.PhaseTunnel {
		return
	}
	o := &s.c.out // as with in.mu: the next exchange begins under it
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, now := s.guard.Fired(); now == v {
		o.fail(&s.send, f)
	}
}

// took opens the receive windows for n bytes that were read.
func (s *clientStream) took(n int) {
	o := &s.c.out
	o.mu.Lock()
	var own int64
	if !s.gotEnd && !s.reset {
		own = s.recv.take(n)
	}
	shared := s.c.window.take(n)
	if own+shared == 0 || o.over != nil {
		o.mu.Unlock()
		return
	}
	o.begin()
	if own > 0 {
		o.buf = appendWindowUpdate(o.buf, s.send.id, own)
	}
	if shared > 0 {
		o.buf = appendWindowUpdate(o.buf, 0, shared)
	}
	o.mu.Unlock()
	s.c.flush()
}

// end ends the exchange, whatever state it is in, and gives its place back. The
// object may be another exchange's afterwards.
func (s *clientStream) end() {
	c, req := s.c, s.req
	s.up.stop()
	s.guard.Rest()
	s.guard.Bill(nil)
	s.noteGRPC()
	unread := s.in.close()
	req.Body.Close()
	req.Exchange.UpstreamEnd = time.Now()
	s.req, s.ctx = nil, nil

	o := &c.out
	o.mu.Lock()
	write := s.opened && s.leave(unread)
	keep := !c.gone && len(c.free) < c.cfg.MaxStreams
	if s.orphan = keep && c.reading == s; keep && !s.orphan {
		c.free = append(c.free, s)
	}
	o.mu.Unlock()
	if !keep {
		s.release()
	}
	if write {
		c.flush()
	}
	c.leave()
}

// leave takes the stream out of the connection and tells the upstream what it
// has to know. out.mu is held.
func (s *clientStream) leave(unread int) (write bool) {
	c, o := s.c, &s.c.out
	delete(c.streams, s.send.id)
	o.close(&s.send)
	if o.over != nil {
		return false
	}
	if !s.reset && (!s.gotEnd || !s.sentEnd) {
		c.cfg.Stats.Canceled.Add(1)
		if !s.gotEnd {
			c.late += s.recv.left
		}
		c.earn(framesPerStream)
		o.begin()
		o.buf = appendReset(o.buf, s.send.id, s.code)
		write = true
	}
	if n := c.window.take(unread); n > 0 {
		o.begin()
		o.buf = appendWindowUpdate(o.buf, 0, n)
		write = true
	}
	return write
}

// release ends the watch of an object that is not used again.
func (s *clientStream) release() {
	s.guard.Release()
	s.up.guard.Release()
	if s.timer != nil {
		s.timer.Stop()
	}
}

// noteGRPC notes the status of a gRPC call, which stands in the trailer or,
// without content, in the header.
func (s *clientStream) noteGRPC() {
	if s.req.GRPC == stream.NotGRPC {
		return
	}
	b := &s.in
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended && b.trailers {
		s.req.Exchange.SetGRPCStatus(&b.trailer)
	}
}

// framesPerStream and framesPerData are how many frames an upstream may well
// send in reply to one of ours: acknowledgements of bytes, and PINGs by which
// it measures the way.
const (
	framesPerStream = 8
	framesPerData   = 4
	maxCredit       = 10_000
)

// earn lets the upstream send n more frames that carry nothing.
func (c *Client) earn(n int64) {
	if c.credit.Load() < maxCredit {
		c.credit.Add(n)
	}
}
