package http2

import (
	"time"

	"github.com/weirproxy/weir/stream"
)

func (r *clientReader) resetStream(f *frame) *failure {
	code := errCode(f.number())
	c, o := r.c, &r.c.out
	o.mu.Lock()
	s, idle := r.findLocked(f.id)
	complete := false
	if s != nil {
		s.reset = true
		complete = s.gotEnd
		s.unwanted = complete && code == codeNo
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
		r.owed += frameHeaderSize
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
		r.owed += frameHeaderSize + len(f.body)
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
