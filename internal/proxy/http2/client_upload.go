package http2

import (
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"time"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// clientUpload sends a request body that is not small and in memory, on a
// goroutine of its own, while the goroutine of the exchange waits for the
// response: an upstream may answer before it has read everything, and in a
// conversation it has to.
type clientUpload struct {
	s       *clientStream
	guard   watchdog.Guard
	watched bool
	pace    pace
	run     func()        // bound once
	done    chan struct{} // one message when run has ended
	started bool          // owned by the goroutine of the exchange
	rest    []byte        // what is in memory
	inline  bool          // and is all there is

	mu      sync.Mutex
	ended   bool
	stopped bool // nobody wants the rest
}

func (u *clientUpload) init(s *clientStream) {
	u.s, u.run, u.done = s, u.serve, make(chan struct{}, 1)
}

// start begins the upload.
func (u *clientUpload) start(rest []byte, inline bool) {
	u.ended, u.stopped = false, false
	u.rest, u.inline = rest, inline
	cfg := u.s.c.cfg
	u.pace.begin(&cfg.Phases[stream.PhaseUpstreamSend])
	if !u.watched {
		u.watched = true
		cfg.Dog.Watch(&u.guard, cfg.limits, u.expire, nil)
	}
	if cfg.Payer != nil {
		u.guard.Bill(cfg.Payer(u.s.req))
	}
	u.started = true
	cfg.Go(u.run)
}

// expire runs on the dog's goroutine. Under out.mu, under which the next stream
// begins, a late verdict cannot meet it.
func (u *clientUpload) expire(_ uint8, v watchdog.Verdict) {
	f := &stream.Fault{Kind: stream.UpstreamTooSlow, Cause: errNotRead}
	if v == watchdog.Costly {
		f = stream.Costly(errNotRead)
	}
	o := &u.s.c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, now := u.guard.Fired(); now == v {
		o.fail(&u.s.send, f)
	}
}

func (u *clientUpload) serve() {
	f := &stream.Fault{Kind: stream.Internal}
	defer func() {
		if p := recover(); p != nil {
			cfg := u.s.c.cfg
			cfg.Stats.Panics.Add(1)
			f.Cause = fmt.Errorf("panic: %v", p)
			cfg.Log.Error("panic while sending a request body; the exchange ends",
				"component", "http2", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
		u.finish(f)
		u.done <- struct{}{}
	}()
	if f = u.copyRest(); f == nil && !u.inline {
		f = u.copy(u.s.req.Body, u.s.req.Length)
	}
}

func (u *clientUpload) copyRest() *stream.Fault {
	if !u.inline {
		return nil
	}
	return u.send(u.rest, true)
}

// copy sends the body. The result is nil when all of it is queued.
func (u *clientUpload) copy(body stream.Body, left int64) *stream.Fault {
	p := pages.Get().(*page)
	defer pages.Put(p)
	known := left >= 0
	for empty := 0; ; {
		n, err := body.Read(p[:minFrame])
		if err != nil && err != io.EOF {
			return stream.AsFault(err)
		}
		if empty++; n > 0 {
			empty = 0
		} else if empty > maxEmptyReads {
			return &stream.Fault{Kind: stream.Internal, Cause: errUploadStuck}
		}
		end := err == io.EOF
		if known {
			if left -= int64(n); left < 0 || end && left > 0 {
				return &stream.Fault{Kind: stream.Internal, Cause: errBodyLength}
			}
		}
		var trailer *stream.Header
		if end {
			trailer = trailerOf(body)
		}
		if n > 0 || end && trailer == nil {
			if f := u.send(p[:n], end && trailer == nil); f != nil {
				return f
			}
		}
		if !end {
			continue
		}
		if trailer == nil {
			return nil
		}
		return u.sendTrailer(trailer)
	}
}

// trailerOf is the trailer of a body that was read; nil when it has no field.
func trailerOf(body stream.Body) *stream.Header {
	if trailer := body.Trailer(); trailer != nil && trailer.Len() > 0 {
		return trailer
	}
	return nil
}

// send queues p, as far as the windows allow, until all of it is.
func (u *clientUpload) send(p []byte, end bool) *stream.Fault {
	s, o := u.s, &u.s.c.out
	for {
		n, f := u.sendSome(p, end)
		if f != nil {
			return f
		}
		s.c.flush()
		s.c.earn(framesPerData)
		s.guard.Moved(n)
		if p = p[n:]; len(p) == 0 {
			return nil
		}
		o.mu.Lock()
		f = u.await()
		o.mu.Unlock()
		if f != nil {
			return f
		}
	}
}

// sendSome queues what may leave now.
func (u *clientUpload) sendSome(p []byte, end bool) (n int, f *stream.Fault) {
	s, o := u.s, &u.s.c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(p) > 0 && s.send.fault == nil && o.over == nil {
		if n = o.allow(&s.send, len(p)); n > 0 {
			break
		}
		if f := u.await(); f != nil {
			return 0, f
		}
	}
	if f := s.sendFault(); f != nil {
		return 0, f
	}
	o.begin()
	s.sentEnd = end && n == len(p)
	o.appendData(s.send.id, p[:n], s.sentEnd)
	return n, nil
}

// await waits for the windows. out.mu is held before and after.
func (u *clientUpload) await() *stream.Fault {
	s, o := u.s, &u.s.c.out
	if f := s.sendFault(); f != nil {
		return f
	}
	start := time.Now()
	u.guard.Enter(uint8(stream.PhaseUpstreamSend))
	u.guard.Hold(pageSize)
	o.await(&s.send)
	fine := u.guard.Rest()
	v := u.pace.wait(time.Since(start), 1)
	if f := s.sendFault(); f != nil {
		return f
	}
	if !fine || v != watchdog.None {
		return &stream.Fault{Kind: stream.UpstreamTooSlow, Cause: errNotRead}
	}
	return nil
}

// sendFault is why nothing more can be sent. out.mu is held.
func (s *clientStream) sendFault() *stream.Fault {
	if s.send.fault == nil && s.c.out.over != nil {
		return connectionFault(s.c.out.over)
	}
	return s.send.fault
}

// sendTrailer ends the stream with a trailer section.
func (u *clientUpload) sendTrailer(trailer *stream.Header) *stream.Fault {
	s, o := u.s, &u.s.c.out
	head, err := appendFields(beginHeaders(nil), trailer)
	if err != nil {
		return &stream.Fault{Kind: stream.Internal, Cause: err}
	}
	o.mu.Lock()
	if f := s.sendFault(); f != nil {
		o.mu.Unlock()
		return f
	}
	o.begin()
	s.sentEnd, s.trailing = true, true
	o.buf = append(o.buf, endHeaders(head, 0, s.send.id, flagEndStream, o.peer.maxFrame)...)
	o.mu.Unlock()
	s.c.flush()
	return nil
}

// finish tells the goroutine of the exchange. What the upstream knows already,
// because it ended the stream itself, is not said again.
func (u *clientUpload) finish(f *stream.Fault) {
	s, o := u.s, &u.s.c.out
	u.guard.Rest()
	u.mu.Lock()
	u.ended = true
	stopped := u.stopped
	u.mu.Unlock()
	if f != nil && !stopped {
		o.mu.Lock()
		known := s.reset || o.over != nil
		o.mu.Unlock()
		if !known {
			s.fail(f)
			return
		}
	}
	s.poke()
}

// over tells whether the upload has ended.
func (u *clientUpload) over() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.ended
}

// stop ends the upload if need be and waits for its end.
func (u *clientUpload) stop() {
	if !u.started {
		return
	}
	u.started = false
	u.mu.Lock()
	running := !u.ended
	u.stopped = true
	u.mu.Unlock()
	if running {
		o := &u.s.c.out
		o.mu.Lock()
		o.fail(&u.s.send, &stream.Fault{Kind: stream.Internal, Cause: errReplyClosed})
		o.mu.Unlock()
		u.s.req.Body.Close()
	}
	<-u.done
	u.rest = nil
}
