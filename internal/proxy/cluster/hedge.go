package cluster

import (
	"context"
	"slices"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/internal/latency"
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

// runner is one of two attempts: a goroutine with a request of its own, since
// an attempt writes into its request. What it returns is the other's to close.
type runner struct {
	ep     *endpoint.Endpoint
	req    stream.Request
	cancel context.CancelFunc
	resp   *stream.Response
	fault  *stream.Fault
}

func (x *exchange) runner(ep *endpoint.Endpoint, now time.Time, done chan<- *runner) *runner {
	r := &runner{ep: ep, req: *x.req}
	r.req.Header = x.req.Header.Clone()
	r.req.Interim = nil // of two, who knows whose response it belongs to
	r.req.Deadline = x.attemptEnd(now)
	r.req.Exchange.Attempts, r.req.Exchange.UpstreamStart = 1, now
	x.tellDeadline(&r.req, now)
	ctx, cancel := context.WithCancel(x.ctx)
	r.cancel = cancel
	ep.Began()
	c := x.cluster // x stays on its stack
	c.start(func() {
		defer func() { done <- r }() // also when the transport panics
		r.fault = stream.Faultf(stream.Internal, stream.RetryNever, "the attempt panicked")
		resp, err := ep.Transport.Serve(ctx, &r.req)
		if err != nil {
			r.fault = stream.AsFault(err)
			c.observe(ctx, ep, &r.req, now, nil, r.fault)
			return
		}
		c.takeReport(ep, &r.req, resp)
		r.req.Exchange.UpstreamHead, r.req.Exchange.UpstreamStatus = time.Now(), resp.Status
		c.observe(ctx, ep, &r.req, now, resp, nil)
		r.resp, r.fault = resp, nil
	})
	return r
}

// race makes an attempt at ep and, when that has no response after wait, one at
// another endpoint. The first response that is not to be retried wins; of two
// failures the first attempt's counts.
func (x *exchange) race(ep *endpoint.Endpoint, now time.Time, wait time.Duration) (*stream.Response, *stream.Fault) {
	done := make(chan *runner, 2)
	first := x.runner(ep, now, done)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-done:
		return x.win(first)
	case <-timer.C:
	}
	second := x.second(ep, done)
	if second == nil {
		<-done
		return x.win(first)
	}
	winner := <-done
	other := winner.rival(first, second)
	if x.good(winner) {
		other.cancel()
		c := x.cluster   // x stays on its stack
		c.start(func() { // its endpoint may take its time
			<-done
			c.settle(other)
		})
		return x.won(winner, second)
	}
	if <-done; x.good(other) {
		x.ep = winner.ep
		x.judge(winner.resp, winner.fault, time.Now())
		x.cluster.settle(winner)
		return x.won(other, second)
	}
	x.ep = second.ep
	x.judge(second.resp, second.fault, time.Now())
	x.cluster.settle(second)
	return x.win(first)
}

func (x *exchange) won(r, second *runner) (*stream.Response, *stream.Fault) {
	if r == second {
		x.cluster.Stats.HedgeWon.Add(1)
	}
	return x.win(r)
}

func (r *runner) rival(first, second *runner) *runner {
	if r == first {
		return second
	}
	return first
}

// second makes the attempt beside the first, if there is another endpoint for it
// and the budget allows it.
func (x *exchange) second(ep *endpoint.Endpoint, done chan<- *runner) *runner {
	now := time.Now()
	x.tried = append(x.tried[:0], ep)
	other := x.pick(now)
	x.tried = x.tried[:0]
	if other == nil || other == ep || !x.hedge.budget.retry(now) {
		return nil
	}
	x.cluster.Stats.Hedges.Add(1)
	x.cluster.load.Reenter() // the end of each response gives a place back
	return x.runner(other, now, done)
}

// good tells whether a result ends the race.
func (x *exchange) good(r *runner) bool {
	if r.fault != nil {
		return false
	}
	_, retried := x.retry.onResponse(&r.req, r.resp)
	return !retried
}

// win makes the result of r that of the exchange.
func (x *exchange) win(r *runner) (*stream.Response, *stream.Fault) {
	facts, own := &x.req.Exchange, &r.req.Exchange
	facts.Endpoint, facts.Reused, facts.Attempts = r.ep.Address, own.Reused, 1
	facts.UpstreamHead, facts.UpstreamStatus, facts.GRPCStatus = own.UpstreamHead, own.UpstreamStatus, own.GRPCStatus
	if facts.UpstreamStart.IsZero() {
		facts.UpstreamStart = own.UpstreamStart
	}
	x.ep = r.ep
	if r.resp == nil {
		r.cancel()
		r.ep.Aborted()
		return nil, r.fault
	}
	r.resp.Body = &raced{passing{r.resp.Body}, r, facts}
	return r.resp, nil
}

// settle gives back what an attempt has that is not wanted. Its endpoint has
// done nothing wrong, nor right.
func (c *Cluster) settle(r *runner) {
	if r.resp != nil {
		_ = r.resp.Body.Close()
	} else {
		r.ep.Aborted()
		c.load.Leave()
	}
	r.cancel()
}

// raced is the body of a response that won: its end is that of the attempt.
type raced struct {
	passing
	runner *runner
	facts  *stream.Exchange
}

// Close implements stream.Body.
func (b *raced) Close() error {
	err := b.Body.Close()
	b.facts.UpstreamEnd = b.runner.req.Exchange.UpstreamEnd
	b.runner.cancel()
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
