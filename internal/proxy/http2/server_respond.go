package http2

import (
	"errors"
	"io"
	"time"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

var (
	errBodyLonger     = errors.New("the response body is longer than its declared length")
	errBodyShorter    = errors.New("the response body is shorter than its declared length")
	errResponseStalls = errors.New("the response body gives neither bytes nor an end")
)

// reply is a response on its way out.
type reply struct {
	s     *serverStream
	left  int64 // of a body with known length; -1: unknown
	empty bool  // no content follows the head
	held  int   // bytes that are kept in memory while the client takes none
	pace  pace
}

// wholeBody is the body of resp if all of it is in memory.
func wholeBody(resp *stream.Response) ([]byte, bool) {
	if b, ok := resp.Body.(stream.Whole); ok {
		return b.Bytes()
	}
	return nil, false
}

// respond writes resp: what fits at once is appended together and leaves when
// the worker flushes, behind the end of the exchange.
func (w *worker) respond(resp *stream.Response) {
	s := w.s
	s.seal()
	if resp.Status == 101 || s.tunnels(resp) {
		w.tunnel(resp)
		return
	}
	body, whole := wholeBody(resp)
	r := reply{s: s, left: resp.Length}
	if !r.fits(resp, body, whole) {
		w.respondInstead(&stream.Fault{Kind: stream.Internal, Cause: errWriteStatus})
		return
	}
	s.req.Exchange.SetGRPCStatus(&resp.Header)
	c := s.c
	c.out.mu.Lock()
	if s.gone {
		c.out.mu.Unlock()
		return
	}
	if err := c.putHead(s, resp, &r); err != nil {
		c.out.mu.Unlock()
		w.respondInstead(&stream.Fault{Kind: stream.Internal, Cause: err})
		return
	}
	s.headSent(resp.Status)
	switch {
	case r.empty:
		c.sent(s)
		c.out.mu.Unlock()
	case whole:
		w.writeWhole(&r, body) // unlocks
	default:
		c.out.mu.Unlock()
		w.writeStream(&r, resp.Body)
	}
}

// fits judges a response and finds out what follows its head.
func (r *reply) fits(resp *stream.Response, body []byte, whole bool) bool {
	if resp.Status < 200 || resp.Status > 999 {
		return false
	}
	r.empty = r.s.req.Method == "HEAD" || resp.Status == 204 || resp.Status == 304
	if whole && !r.empty {
		if r.left >= 0 && r.left != int64(len(body)) {
			return false
		}
		r.left = int64(len(body))
		r.empty = r.left == 0
	}
	return true
}

// putHead appends the head. out.mu is held.
func (c *serverConn) putHead(s *serverStream, resp *stream.Response, r *reply) error {
	at := c.beginBlock()
	out := appendStatus(c.out.buf, resp.Status)
	out, err := appendFields(out, &resp.Header)
	if err != nil {
		c.out.buf = c.out.buf[:at]
		return err
	}
	if _, ok := resp.Header.GetID(stream.Date); !ok {
		out = c.srv.appendDate(out, time.Now())
	}
	if r.left >= 0 && resp.Status != 204 {
		out = appendLength(out, r.left)
	}
	c.out.buf = out
	c.endBlock(at, s.send.id, r.empty)
	s.req.Exchange.Draining = c.stage != lives
	return nil
}

// beginBlock begins HEADERS. out.mu is held.
func (c *serverConn) beginBlock() (at int) {
	c.out.begin()
	at = len(c.out.buf)
	c.out.buf = beginHeaders(c.out.buf)
	if !c.begun {
		c.out.buf = append(c.out.buf, tableSizeZero)
	}
	return at
}

// endBlock ends it.
func (c *serverConn) endBlock(at int, id uint32, end bool) {
	c.begun = true
	var flags uint8
	if end {
		flags = flagEndStream
	}
	c.out.buf = endHeaders(c.out.buf, at, id, flags, c.out.peer.maxFrame)
}

func (s *serverStream) headSent(status int) {
	now := time.Now()
	ex := &s.req.Exchange
	ex.Status, ex.HeadSent, ex.End = status, now, now
}

// writeWhole appends a body that is in memory. out.mu is held, and not after.
func (w *worker) writeWhole(r *reply, body []byte) {
	c, s := w.c, r.s
	n := c.out.allow(&s.send, len(body))
	if n == len(body) {
		c.out.appendData(s.send.id, body, true)
		c.sent(s)
		c.out.mu.Unlock()
		s.req.Exchange.BytesOut += int64(n)
		return
	}
	if n > 0 {
		c.out.appendData(s.send.id, body[:n], false)
		s.req.Exchange.BytesOut += int64(n)
	}
	c.out.mu.Unlock()
	r.pace.begin(&c.srv.cfg.Phases[stream.PhaseWrite])
	r.held = min(len(body)-n, writeSlice) // of what is larger others have the rest, too: a cache
	w.send(r, body[n:], true)
	s.req.Exchange.End = time.Now()
}

// send appends p as DATA as the windows allow it. It reports whether all of it
// went.
func (w *worker) send(r *reply, p []byte, end bool) bool {
	c, s := w.c, r.s
	for {
		c.out.mu.Lock()
		n := 0
		for !s.gone {
			if n = c.out.allow(&s.send, len(p)); n > 0 || len(p) == 0 {
				break
			}
			if !c.out.idle() { // what is queued leaves before we wait
				c.out.mu.Unlock()
				c.out.flush()
				c.out.mu.Lock()
				continue
			}
			if !w.awaitWindow(r, len(p)) {
				break
			}
		}
		if s.gone {
			c.out.mu.Unlock()
			return false
		}
		c.out.begin()
		last := n == len(p)
		c.out.appendData(s.send.id, p[:n], end && last)
		if end && last {
			c.sent(s)
		}
		c.out.mu.Unlock()
		s.req.Exchange.BytesOut += int64(n)
		w.write.Moved(n)
		if p = p[n:]; last {
			return true
		}
	}
}

// awaitWindow waits until the client takes more. out.mu is held before and
// after, not meanwhile. False: the client is too slow, and the stream reset.
func (w *worker) awaitWindow(r *reply, want int) bool {
	c, s := w.c, r.s
	if r.pace.limit == nil { // a tunnel, which has its own clock
		w.write.HoldMore(pageSize)
		c.out.await(&s.send)
		w.write.HoldMore(-pageSize)
		return true
	}
	if !w.write.watched {
		c.out.mu.Unlock()
		w.write.watch(c, w.expireWrite)
		c.out.mu.Lock()
		if s.gone {
			return false
		}
	}
	w.write.Enter(uint8(stream.PhaseWrite))
	w.hold(&w.write, r.held)
	start := time.Now()
	c.out.await(&s.send)
	w.write.Rest()
	if r.pace.wait(time.Since(start), int(min(int64(want), max(s.send.window, 0)))) != watchdog.None && !s.gone {
		c.resetStream(s, codeCancel, &stream.Fault{Kind: stream.ClientTooSlow})
		return false
	}
	return true
}

// expireWrite runs on the dog's goroutine: of a wait for the window, or of a
// tunnel in which nothing moves.
func (w *worker) expireWrite(phase uint8, v watchdog.Verdict) {
	f := &stream.Fault{Kind: stream.ClientTooSlow}
	if stream.Phase(phase) == stream.PhaseTunnel {
		f = &stream.Fault{Kind: stream.BodyTimeout, Cause: errTunnelIdle}
		if v == watchdog.Shortened {
			f.Limit = "overload"
			w.c.srv.cfg.Dog.Shortened.Add(1)
		}
	}
	code := codeCancel
	if v == watchdog.Costly {
		f, code = stream.Costly(errCostly), codeEnhanceYourCalm
	}
	w.c.out.mu.Lock()
	defer w.c.out.mu.Unlock()
	if _, v := w.write.Fired(); w.s != nil && v != watchdog.None {
		w.c.resetStream(w.s, code, f)
	}
}

// writeStream writes a body as it comes. The page is held only while there are
// bytes in it, and no more is read before these have left.
func (w *worker) writeStream(r *reply, body stream.Body) {
	c, s := w.c, r.s
	r.held = pageSize
	r.pace.begin(&c.srv.cfg.Phases[stream.PhaseWrite])
	awaiter, _ := body.(stream.Awaiter)
	for empty := 0; empty <= maxEmptyReads; empty++ {
		c.out.flush()
		if awaiter != nil {
			_ = awaiter.Await() // a failure comes again from Read
		}
		n, done := w.writePiece(r, body)
		if done {
			s.req.Exchange.End = time.Now()
			return
		}
		if n > 0 {
			empty = 0
		}
	}
	w.cut(s, &stream.Fault{Kind: stream.Internal, Cause: errResponseStalls})
}

// writePiece carries what one read gives.
func (w *worker) writePiece(r *reply, body stream.Body) (n int, done bool) {
	p := pages.Get().(*page)
	defer pages.Put(p)
	n, err := body.Read(p[:])
	if err != nil && err != io.EOF {
		w.cut(r.s, stream.AsFault(err))
		return n, true
	}
	if r.left >= 0 {
		if int64(n) > r.left {
			w.cut(r.s, &stream.Fault{Kind: stream.Internal, Cause: errBodyLonger})
			return n, true
		}
		r.left -= int64(n)
		if err == io.EOF && r.left > 0 {
			w.cut(r.s, &stream.Fault{Kind: stream.ResponseTruncated, Cause: errBodyShorter})
			return n, true
		}
	}
	if err == io.EOF {
		w.writeEnd(r, p[:n], body)
		return n, true
	}
	return n, n > 0 && !w.send(r, p[:n], false)
}

// writeEnd writes the last piece, and the trailer.
func (w *worker) writeEnd(r *reply, p []byte, body stream.Body) {
	trailer := body.Trailer()
	if trailer == nil || trailer.Len() == 0 {
		w.send(r, p, true)
		return
	}
	c, s := w.c, r.s
	s.req.Exchange.SetGRPCStatus(trailer)
	if len(p) > 0 && !w.send(r, p, false) {
		return
	}
	c.out.mu.Lock()
	if s.gone {
		c.out.mu.Unlock()
		return
	}
	at := c.beginBlock()
	out, err := appendFields(c.out.buf, trailer)
	if err != nil {
		c.out.buf = c.out.buf[:at]
		c.out.mu.Unlock()
		w.cut(s, &stream.Fault{Kind: stream.Internal, Cause: err})
		return
	}
	c.out.buf = out
	c.endBlock(at, s.send.id, true)
	c.sent(s)
	c.out.mu.Unlock()
}

// cut ends a response inside its body, so that the client notices.
func (w *worker) cut(s *serverStream, f *stream.Fault) {
	ex := &s.req.Exchange
	w.c.out.mu.Lock()
	if s.gone && s.fault != nil { // why the client's side ended says more
		f = s.fault
	}
	w.c.resetStream(s, codeInternal, f)
	w.c.out.mu.Unlock()
	if ex.Fault == nil {
		ex.Fault = f
	}
	w.c.srv.Stats.Cut.Add(1)
}

// hangUp ends the exchange without a response.
func (w *worker) hangUp(f *stream.Fault) {
	w.s.seal()
	code := codeInternal
	if f.Hangup == stream.HalfClose { // a stream cannot end without a head (RFC 9113 section 8.1)
		code = codeCancel
	}
	w.c.out.mu.Lock()
	w.c.resetStream(w.s, code, f)
	w.c.out.mu.Unlock()
	w.c.srv.Stats.Cut.Add(1)
}

// respondInstead answers f, when nothing of the response was written yet.
func (w *worker) respondInstead(f *stream.Fault) {
	s, c := w.s, w.c
	resp := s.answer(f)
	defer resp.Body.Close()
	body, whole := wholeBody(resp)
	r := reply{s: s, left: resp.Length}
	c.out.mu.Lock()
	if s.gone {
		c.out.mu.Unlock()
		return
	}
	if !whole || !r.fits(resp, body, whole) || c.putHead(s, resp, &r) != nil {
		c.resetStream(s, codeInternal, f)
		c.out.mu.Unlock()
		return
	}
	s.headSent(resp.Status)
	if r.empty {
		c.sent(s)
		c.out.mu.Unlock()
		return
	}
	w.writeWhole(&r, body)
}
