package http2

import (
	"time"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// job is what a worker is woken for; the zero job sends it home.
type job struct {
	s     *serverStream
	flush bool
}

// worker runs exchanges of one connection, one after the other, so that its
// stack has grown when the second comes. There are no more than MaxStreams.
type worker struct {
	c    *serverConn
	jobs chan job
	s    *serverStream // what it runs; under out.mu

	read  lazyGuard // of the body of the request, whoever reads it
	write lazyGuard // of waits for the window, and of a tunnel
}

// lazyGuard is a guard that the dog knows from the first wait on.
type lazyGuard struct {
	watchdog.Guard
	watched bool
}

// watch must not be called with out.mu held: expire takes it.
func (g *lazyGuard) watch(c *serverConn, expire func(uint8, watchdog.Verdict)) {
	if !g.watched {
		g.watched = true
		c.srv.cfg.Dog.Watch(&g.Guard, c.srv.limits, expire, nil)
	}
}

func (g *lazyGuard) release() {
	if g.watched {
		g.Release()
	}
}

// dispatch hands the requests that were read to workers, and what is to be
// written to one of them: the goroutine that reads never blocks in a write.
func (c *serverConn) dispatch() {
	c.out.mu.Lock()
	c.runReady()
	idle := c.out.idle()
	var w *worker
	if !idle && len(c.parked) > 0 {
		w = c.unpark()
	}
	c.out.mu.Unlock()
	switch {
	case idle:
	case w != nil:
		w.jobs <- job{flush: true}
	default:
		c.workers.Add(1)
		c.srv.cfg.Go(func() {
			defer c.workers.Done()
			defer c.contain()
			c.out.flush()
		})
	}
}

// runReady starts what is ready, as far as there are workers. out.mu is held.
func (c *serverConn) runReady() {
	n := 0
	for _, s := range c.ready {
		if len(c.parked) > 0 {
			c.unpark().jobs <- job{s: s} // which waits: its channel is empty
		} else if c.working < c.srv.cfg.MaxStreams {
			c.hire(s)
		} else {
			break
		}
		n++
	}
	if n == len(c.ready) {
		clear(c.ready)
		c.ready = c.ready[:0]
		return
	}
	c.ready = append(c.ready[:0], c.ready[n:]...)
	clear(c.ready[len(c.ready):cap(c.ready)])
}

func (c *serverConn) unpark() *worker {
	last := len(c.parked) - 1
	w := c.parked[last]
	c.parked[last] = nil
	c.parked = c.parked[:last]
	c.working++
	return w
}

func (c *serverConn) hire(s *serverStream) {
	c.working++
	c.workers.Add(1)
	w := &worker{c: c, jobs: make(chan job, 1)}
	c.srv.cfg.Go(func() { w.run(job{s: s}) })
}

// run is the life of a worker.
func (w *worker) run(j job) {
	c := w.c
	defer c.workers.Done()
	defer w.read.release()
	defer w.write.release()
	for j != (job{}) {
		if j.s != nil {
			w.exchange(j.s)
		}
		c.out.flush()
		j = w.next()
	}
}

// next is what there is to do next; it waits for it.
func (w *worker) next() job {
	c := w.c
	c.out.mu.Lock()
	if len(c.ready) > 0 {
		s := c.ready[0]
		c.ready = append(c.ready[:0], c.ready[1:]...)
		c.out.mu.Unlock()
		return job{s: s}
	}
	c.working--
	if c.over() {
		c.poke()
	}
	if c.ended {
		c.out.mu.Unlock()
		return job{}
	}
	c.parked = append(c.parked, w)
	c.out.mu.Unlock()
	return <-w.jobs
}

// exchange answers one request. It is the recover boundary of the stream.
func (w *worker) exchange(s *serverStream) {
	c := w.c
	defer func() {
		if p := recover(); p != nil {
			c.panicked(p, "the stream is reset")
			w.panicked(s)
		}
	}()
	c.out.mu.Lock()
	w.s = s
	gone := s.gone
	if s.recvDone && !s.inbox.trailers && s.malformed == nil {
		if s.req.Length < 0 { // all of it came before we began
			s.req.Length = s.received
		}
	}
	c.out.mu.Unlock()
	if !gone {
		s.x.body.begin(w)
		resp := s.ask()
		if f := s.req.Exchange.Fault; f.HangsUp() {
			w.hangUp(f)
		} else {
			w.respond(resp)
		}
		resp.Body.Close()
	}
	w.finish(s)
	s.recycle()
}

// ask runs the Service, or has the refusal answered.
func (s *serverStream) ask() *stream.Response {
	if s.malformed != nil {
		s.c.srv.Stats.Refused[s.malformed.Kind].Add(1)
		return s.answer(s.malformed)
	}
	resp, err := s.c.srv.cfg.Service.Serve(&s.x.ctx, &s.req)
	if err != nil {
		return s.answer(stream.AsFault(err))
	}
	return resp
}

// answer is the response to a fault that no stage has answered.
func (s *serverStream) answer(f *stream.Fault) *stream.Response {
	s.req.Exchange.Fault = f
	return s.c.srv.cfg.Refuse(&s.x.ctx, &s.req, f)
}

// panicked ends the stream of a handler that has panicked. Nothing is known of
// who still uses s, so it is not used again.
func (w *worker) panicked(s *serverStream) {
	defer w.c.contain() // Done, or what the defect has left behind
	f := stream.Faultf(stream.Internal, stream.RetryNever, "a panic while the request was served")
	s.req.Exchange.Fault = f
	w.c.out.mu.Lock()
	if !s.sendDone {
		w.c.resetStream(s, codeInternal, f)
	}
	w.c.out.mu.Unlock()
	w.finish(s)
}

// finish ends the exchange, once its last byte is queued.
func (w *worker) finish(s *serverStream) {
	c := w.c
	s.x.body.retire()
	c.out.mu.Lock()
	w.s = nil
	if !s.sendDone { // respond gave up without a reset: cannot be
		c.resetStream(s, codeInternal, &stream.Fault{Kind: stream.Internal})
	}
	c.uncount(s)
	fault, clean := s.fault, !s.gone
	if w.write.Billed() {
		w.write.Bill(nil)
	}
	c.out.mu.Unlock()
	s.x.ctx.cancel()
	if clean {
		c.earned.Add(1)
	}
	ex := &s.req.Exchange
	if ex.Fault == nil || fault != nil && fault.Kind == stream.Overloaded { // what follows from it says less
		ex.Fault = fault
	}
	if ex.Status == 0 && fault != nil && fault.Kind != stream.Internal {
		c.srv.Stats.Refused[fault.Kind].Add(refusedBy(s, fault))
	}
	ex.BytesIn += s.inbox.total
	c.bytesIn.Add(ex.BytesIn)
	c.bytesOut.Add(ex.BytesOut)
	if ex.End.IsZero() {
		ex.End = time.Now()
	}
	c.srv.Stats.Streams.Add(-1)
	if c.srv.cfg.Done != nil {
		c.srv.cfg.Done(&s.req)
	}
}

// refusedBy is 1 for a request that was reset because it was malformed.
func refusedBy(s *serverStream, f *stream.Fault) int64 {
	if f.Kind == stream.RequestMalformed && s.resetUs {
		return 1
	}
	return 0
}
