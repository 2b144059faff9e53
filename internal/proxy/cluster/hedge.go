package cluster

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/internal/latency"
	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

const (
	// hedgeWindow is how far back the times go that tell what is slow.
	hedgeWindow = 30 * time.Second
	// hedgeSamples is how many of them there must be.
	hedgeSamples = 50
)

// hedge is config.Hedge for the request path, with what it has learned.
type hedge struct {
	quantile float64
	least    time.Duration
	methods  []string
	times    *latency.Window
	budget   budget
	idle     sync.Pool // of *race: those that had no second attempt
}

func newHedge(h *config.Hedge, now time.Time) *hedge {
	if h == nil {
		return nil
	}
	return &hedge{
		quantile: h.Quantile, least: time.Duration(h.Least), methods: h.Methods,
		times: latency.New(hedgeWindow, now), budget: budget{born: now, ratio: h.Share},
	}
}

// after is how long the first attempt has before a second one is made; ok is
// false while too little is known.
func (h *hedge) after(now time.Time) (d time.Duration, ok bool) {
	d, n := h.times.Recent(h.quantile, now)
	return max(d, h.least), n >= hedgeSamples
}

// try makes an attempt, with a second one beside it when the route hedges.
func (x *exchange) try(ep *endpoint.Endpoint, now time.Time) (*stream.Response, *stream.Fault) {
	h := x.hedge
	if h == nil || x.req.Exchange.Attempts > 0 {
		return x.attempt(ep, now)
	}
	h.budget.request(now)
	resp, f := x.begin(ep, now)
	if resp != nil {
		h.times.Observe(x.req.Exchange.UpstreamHead.Sub(now), x.req.Exchange.UpstreamHead)
	}
	return resp, f
}

// begin is try without the learning.
func (x *exchange) begin(ep *endpoint.Endpoint, now time.Time) (*stream.Response, *stream.Fault) {
	wait, ok := x.hedge.after(now)
	if !ok || !x.mayHedge() || x.over(now.Add(wait)) {
		return x.attempt(ep, now)
	}
	return x.race(ep, now, wait)
}

// mayHedge tells whether the request may be under way twice: it has no content,
// becomes no tunnel, and does no harm by its method.
func (x *exchange) mayHedge() bool {
	req := x.req
	return x.cluster.start != nil && x.body == stream.NoBody && req.Upgrade == "" && req.GRPC == stream.NotGRPC &&
		slices.Contains(x.hedge.methods, req.Method)
}

// race is an attempt that may get a second one beside it. The first runs where the
// request is, as if there were no hedging: handing each request to another
// goroutine and back costs more than the rest of the path. The second has a
// goroutine and a request of its own, made before the first begins to write into
// that of the exchange. It knows nothing of the exchange, which stays on its stack.
type race struct {
	*service
	ctx   context.Context
	end   time.Time // of all attempts
	set   *endpoint.Set
	key   uint64
	tried [1]*endpoint.Endpoint // of the first attempt
	first *watchdog.Prompt      // its context
	req   stream.Request        // of the second
	timer *time.Timer           // starts run

	mu     sync.Mutex
	over   bool    // the first attempt has ended the race
	second *runner // nil while there is none
}

// runner is a second attempt. What it returns is the first's to close, unless the
// race was over.
type runner struct {
	ep    *endpoint.Endpoint
	req   *stream.Request
	ctx   *watchdog.Prompt
	done  chan struct{} // closed with resp and fault written, unless the race was over
	ended bool          // guarded by race.mu
	resp  *stream.Response
	fault *stream.Fault
}

// race makes an attempt at ep and, when that has no response after wait, one at
// another endpoint. The first response that is not to be retried wins; of two
// failures the first attempt's counts.
func (x *exchange) race(ep *endpoint.Endpoint, now time.Time, wait time.Duration) (resp *stream.Response, f *stream.Fault) {
	r := x.newRace(ep)
	interim := x.req.Interim
	x.ctx, x.req.Interim = r.first, nil // of two, who knows whose response it belongs to
	if r.timer == nil {
		r.timer = time.AfterFunc(wait, func() { r.cluster.start(r.run) })
	} else {
		r.timer.Reset(wait)
	}
	returned := false
	defer func() {
		x.ctx, x.req.Interim = r.ctx, interim
		switch {
		case r.timer.Stop(): // the usual case: there was no second attempt, and never will be
			resp = kept(r.first, resp)
			r.recycle()
		case returned:
			resp, f = x.decide(r, resp, f)
		default: // the transport panicked
			if second := r.finish(true); second != nil {
				r.settle(second)
			}
		}
	}()
	resp, f = x.attempt(ep, now)
	returned = true
	return resp, f
}

// newRace is the race that begins with an attempt at ep. Most end without a second
// attempt and lend their memory to the next: only what the transport may hold on to
// is new, the context.
func (x *exchange) newRace(ep *endpoint.Endpoint) *race {
	r, ok := x.hedge.idle.Get().(*race)
	if !ok {
		r = new(race)
	}
	header := r.req.Header
	r.service, r.ctx, r.end, r.set, r.key, r.tried[0] = x.service, x.ctx, x.end, x.set, x.key, ep
	r.first, r.req = watchdog.NewPrompt(x.ctx), *x.req
	r.req.Header = header
	for _, field := range x.req.Header.Fields() {
		r.req.Header.Append(field)
	}
	return r
}

// recycle keeps the memory of a race without a second attempt, and nothing else of
// it.
func (r *race) recycle() {
	h := r.hedge
	header := r.req.Header
	header.Reset()
	r.service, r.ctx, r.set, r.tried[0], r.first = nil, nil, nil, nil, nil
	r.req = stream.Request{Header: header}
	h.idle.Put(r)
}

// decide is the result of the race, whose first attempt has ended.
func (x *exchange) decide(r *race, resp *stream.Response, f *stream.Fault) (*stream.Response, *stream.Fault) {
	good, cut := r.good(x.req, resp, f), r.first.Err() != nil
	second := r.finish(good)
	if second == nil {
		return kept(r.first, resp), f
	}
	first, now := x.ep, time.Now()
	if r.good(second.req, second.resp, second.fault) {
		if !good && !cut {
			x.judge(resp, f, now)
		}
		x.cluster.settle(resp)
		x.cluster.Stats.HedgeWon.Add(1)
		return x.win(second)
	}
	if second.fault == nil || !stale(second.req, second.fault) {
		x.ep = second.ep
		x.judge(second.resp, second.fault, now)
		x.ep = first
	}
	r.settle(second)
	return kept(r.first, resp), f
}

// finish is called when the first attempt has ended, well or not. The result is
// the second, ended, or nil when the first decides: there is no other, or none that
// matters any more.
func (r *race) finish(good bool) *runner {
	r.mu.Lock()
	second := r.second
	if second == nil || good && !second.ended {
		r.over = true
		r.mu.Unlock()
		if second != nil {
			second.ctx.End() // it gives back what it has by itself: its endpoint may take its time
		}
		return nil
	}
	r.mu.Unlock()
	<-second.done
	return second
}

// run is the second attempt. It runs when the first has taken too long.
func (r *race) run() {
	now := time.Now()
	s := r.begin(now)
	if s == nil {
		return
	}
	defer r.ended(s) // also when the transport panics
	s.fault = stream.Faultf(stream.Internal, stream.RetryNever, "the attempt panicked")
	resp, err := s.ep.Transport.Serve(s.ctx, s.req)
	if err != nil {
		s.fault = stream.AsFault(err)
		r.cluster.observe(s.ctx, s.ep, s.req, now, nil, s.fault)
		return
	}
	r.cluster.takeReport(s.ep, s.req, resp)
	s.req.Exchange.UpstreamHead, s.req.Exchange.UpstreamStatus = time.Now(), resp.Status
	r.cluster.observe(s.ctx, s.ep, s.req, now, resp, nil)
	s.resp, s.fault = resp, nil
}

// begin is the second attempt before it is sent; nil: the first has ended by now,
// there is no other endpoint, or the budget does not allow it.
func (r *race) begin(now time.Time) *runner {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return nil
	}
	ep, open := r.cluster.picker.Pick(r.set, now, r.tried[:], r.key)
	if ep == nil || ep == r.tried[0] || !ep.HasRoom() || !r.hedge.budget.retry(now) || ep.Began() != nil {
		return nil
	}
	stats := &r.cluster.Stats
	if open {
		stats.FailOpen.Add(1)
	}
	stats.Hedges.Add(1)
	r.cluster.load.Reenter() // the end of each response gives a place back
	s := &runner{ep: ep, req: &r.req, ctx: watchdog.NewPrompt(r.ctx), done: make(chan struct{})}
	s.req.Interim = nil
	s.req.Deadline = r.attemptEnd(r.end, now)
	s.req.Exchange.Attempts, s.req.Exchange.UpstreamStart = 1, now
	r.tellDeadline(s.req, r.end, now)
	r.second = s
	return s
}

// ended tells the first attempt of the end of the second, or gives back what that
// has when nobody waits for it.
func (r *race) ended(s *runner) {
	r.mu.Lock()
	over := r.over
	s.ended = true
	r.mu.Unlock()
	if over {
		r.settle(s)
		return
	}
	if r.good(s.req, s.resp, s.fault) {
		r.first.End()
	}
	close(s.done)
}

// good tells whether a result ends the race.
func (s *service) good(req *stream.Request, resp *stream.Response, f *stream.Fault) bool {
	if f != nil || resp == nil {
		return false
	}
	_, retried := s.retry.onResponse(req, resp)
	return !retried
}

// kept is a response of the first attempt, which gives back what its context has
// of its parent.
func kept(ctx *watchdog.Prompt, resp *stream.Response) *stream.Response {
	switch {
	case !ctx.Held():
	case resp == nil:
		ctx.Release()
	default:
		resp.Body = &raced{passing: passing{resp.Body}, ctx: ctx}
	}
	return resp
}

// win makes the result of the second attempt that of the exchange.
func (x *exchange) win(s *runner) (*stream.Response, *stream.Fault) {
	facts, own := &x.req.Exchange, &s.req.Exchange
	facts.Endpoint, facts.Reused, facts.Attempts = s.ep.Address, own.Reused, 1
	facts.UpstreamHead, facts.UpstreamStatus, facts.GRPCStatus = own.UpstreamHead, own.UpstreamStatus, own.GRPCStatus
	x.ep = s.ep
	s.resp.Body = &raced{passing{s.resp.Body}, s.ctx, facts, own}
	return s.resp, nil
}

// settle gives back what a second attempt has that is not wanted. Its endpoint has
// done nothing wrong, nor right.
func (r *race) settle(s *runner) {
	if s.resp == nil {
		s.ep.Aborted()
	}
	r.cluster.settle(s.resp)
	s.ctx.Release()
}

// settle gives back the place in the load of an attempt of a race that is not
// wanted, and its response if there is one.
func (c *Cluster) settle(resp *stream.Response) {
	if resp != nil {
		_ = resp.Body.Close()
		return
	}
	c.load.Leave()
}

// raced is the body of a response of a race: its end is that of the attempt.
type raced struct {
	passing
	ctx   *watchdog.Prompt
	facts *stream.Exchange // of the request; nil: the attempt wrote into it
	own   *stream.Exchange // of the attempt
}

// Close implements stream.Body.
func (b *raced) Close() error {
	err := b.Body.Close()
	if b.facts != nil {
		b.facts.UpstreamEnd = b.own.UpstreamEnd
	}
	b.ctx.Release()
	return err
}

// passing is a body that has what the one behind it has.
type passing struct{ stream.Body }

// Bytes implements stream.Whole.
func (b *passing) Bytes() ([]byte, bool) {
	if w, ok := b.Body.(stream.Whole); ok {
		return w.Bytes()
	}
	return nil, false
}

// Prefetch implements stream.Prefetcher.
func (b *passing) Prefetch(limit int) error {
	if p, ok := b.Body.(stream.Prefetcher); ok {
		return p.Prefetch(limit)
	}
	return nil
}

// Announced implements stream.Announcer.
func (b *passing) Announced() string {
	if a, ok := b.Body.(stream.Announcer); ok {
		return a.Announced()
	}
	return ""
}

// Await implements stream.Awaiter.
func (b *passing) Await() error {
	if a, ok := b.Body.(stream.Awaiter); ok {
		return a.Await()
	}
	return nil
}
