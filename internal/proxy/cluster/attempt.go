package cluster

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

// prefetch is the largest body that is brought into memory before the first
// attempt: it leaves with the head in one write, and can be sent again.
const prefetch = 16 << 10

// exchange is one request on its way through its attempts. It lives on the
// stack of Serve.
type exchange struct {
	*service
	ctx   context.Context
	req   *stream.Request
	end   time.Time   // of all attempts; zero: none
	limit string      // what end is called in the document
	began time.Time   // the last attempt
	body  stream.Body // as it came
	kept  *replay     // what of body may be sent again; nil: there is none, or never
	call  *bounded    // of a gRPC call that says how long it may take; else nil

	set   *endpoint.Set
	key   uint64               // what balance hash goes by; 0: none
	ep    *endpoint.Endpoint   // of the last attempt
	tried []*endpoint.Endpoint // before the last one
	token string               // of the session that the client says; "": none
	trial endpoint.Trial       // of the endpoint that the request is to prove
	away  bool                 // the endpoint of the session had no room

	retrying bool // the attempt has a place among the retries
	turned   int  // endpoints that had no room after all
}

// run makes attempts until one is final. The request has a place in the load,
// which goes with the response or is given back here.
func (x *exchange) run(now time.Time) (resp *stream.Response, err error) {
	defer func() {
		x.endTrial(resp != nil)
		x.retried()
		if resp == nil { // also when something panics
			x.cluster.load.Leave()
			x.giveUp()
			x.call.release()
		}
	}()
	if x.body != stream.NoBody && x.retry.maxBody > 0 {
		if f := x.keepBody(); f != nil {
			return nil, f
		}
		if now = time.Now(); x.over(now) { // the body was on its way for too long
			return nil, x.late(nil)
		}
	}
	x.set = x.endpoints()
	if x.cluster.hashKey != nil {
		if key, ok := x.cluster.hashKey(x.req); ok {
			x.key = key
		}
	}
	ep := x.pick(now)
	if ep == nil {
		x.cluster.Stats.NoPick.Add(1)
		return nil, &stream.Fault{Kind: stream.NoEndpoint}
	}
	for {
		x.began = now
		resp, f := x.try(ep, now)
		if f != nil && endpoint.IsFull(f) {
			now = time.Now()
			if other := x.elsewhere(ep, f, now); other != nil {
				ep = other
				continue
			}
			x.cluster.Stats.EndpointsFull.Add(1)
			return x.finish(nil, f, now)
		}
		x.retried()
		if now = x.req.Exchange.UpstreamHead; f != nil {
			now = time.Now()
		}
		x.judge(resp, f, now)
		next, wait, again := x.next(resp, f, now)
		if !again {
			return x.finish(resp, f, now)
		}
		if resp != nil {
			x.drop(resp)
		}
		if wait > 0 && !x.wait(wait) {
			return nil, x.ended(nil)
		}
		ep, now = next, time.Now()
		x.cluster.Stats.Retries.Add(1)
	}
}

// keepBody prepares the body for being sent more than once.
func (x *exchange) keepBody() *stream.Fault {
	if p, ok := x.body.(stream.Prefetcher); ok {
		if err := p.Prefetch(min(prefetch, x.retry.maxBody)); err != nil {
			return stream.AsFault(err)
		}
	}
	x.kept = newReplay(x.body, x.retry.maxBody)
	return nil
}

// giveUp closes the body when no attempt is left that would.
func (x *exchange) giveUp() {
	x.req.Body = x.body
	_ = x.body.Close()
}

func (x *exchange) pick(now time.Time) *endpoint.Endpoint {
	if ep := x.session(now); ep != nil {
		return ep
	}
	if ep := x.prove(now); ep != nil {
		return ep
	}
	ep, open := x.cluster.picker.Pick(x.set, now, x.tried, x.key)
	if open {
		x.cluster.Stats.FailOpen.Add(1)
	}
	return ep
}

// attempt makes one attempt, and a second one at once if the first met a
// pooled connection that the endpoint had closed: that says nothing about the
// endpoint and is not a retry in the sense of the document.
func (x *exchange) attempt(ep *endpoint.Endpoint, now time.Time) (*stream.Response, *stream.Fault) {
	resp, f := x.send(ep, now)
	if f == nil || !stale(x.req, f) || x.ctx.Err() != nil {
		return resp, f
	}
	now = time.Now()
	if x.over(now) || !x.rewind() {
		return nil, f
	}
	x.cluster.Stats.Replaced.Add(1)
	x.req.Exchange.Attempts--
	x.req.Fresh = true
	resp, f = x.send(ep, now)
	x.req.Fresh = false
	return resp, f
}

// stale tells whether the endpoint had closed the pooled connection.
func stale(req *stream.Request, f *stream.Fault) bool {
	return req.Exchange.Reused && f.Retry == stream.RetryUnsent &&
		(f.Kind == stream.UpstreamClosed || f.Kind == stream.UpstreamReset)
}

// send hands the request to the endpoint once.
func (x *exchange) send(ep *endpoint.Endpoint, now time.Time) (resp *stream.Response, f *stream.Fault) {
	req := x.req
	if f := ep.Began(); f != nil {
		return nil, f
	}
	x.ep = ep
	defer func() {
		if resp == nil { // also when the transport panics
			ep.Aborted()
		}
	}()
	facts := &req.Exchange
	facts.Endpoint, facts.Reused, facts.UpstreamStatus = ep.Address, false, 0
	facts.UpstreamHead, facts.UpstreamEnd, facts.GRPCStatus = time.Time{}, time.Time{}, 0
	facts.Attempts++
	facts.AttemptStart = now
	if facts.UpstreamStart.IsZero() {
		facts.UpstreamStart = now
	}
	req.Deadline = x.attemptEnd(x.end, now)
	x.setTimeout(now)
	x.tellDeadline(req, x.end, now)
	x.numberAttempt()
	if x.kept != nil {
		req.Body = x.kept.view()
	}
	resp, err := ep.Transport.Serve(x.ctx, req)
	if err != nil {
		if f = stream.AsFault(err); endpoint.IsFull(f) {
			facts.Attempts-- // it was none
			return nil, f
		}
		x.cluster.observe(x.ctx, ep, req, now, nil, f)
		return nil, f
	}
	x.cluster.takeReport(ep, req, resp)
	facts.UpstreamHead = time.Now()
	facts.UpstreamStatus = resp.Status
	x.cluster.observe(x.ctx, ep, req, now, resp, nil)
	return resp, nil
}

// attemptEnd is when an attempt ends that begins now, all of them until last.
func (s *service) attemptEnd(last, now time.Time) time.Time {
	if s.retry.perTry > 0 {
		if end := now.Add(s.retry.perTry); last.IsZero() || end.Before(last) {
			return end
		}
	}
	return last
}

// next decides whether there is another attempt, at which endpoint, and after
// which wait. What it returns true for is paid out of the budget.
func (x *exchange) next(resp *stream.Response, f *stream.Fault, now time.Time) (*endpoint.Endpoint, time.Duration, bool) {
	p := &x.retry
	if p.attempts <= 1 || x.ctx.Err() != nil {
		return nil, 0, false
	}
	known, wanted := p.onResponse(x.req, resp)
	if f != nil {
		known, wanted = f.Retry, p.onFault(f)
	}
	if !wanted {
		return nil, 0, false
	}
	n := x.req.Exchange.Attempts
	if x.anothersTurn(resp) {
		return x.refuse(RefusedHop)
	}
	if !p.mayRepeat(known, x.req.Method) {
		return x.refuse(RefusedMethod)
	}
	if n >= p.attempts {
		return x.refuse(RefusedAttempts)
	}
	if !x.repeatable() {
		return x.refuse(RefusedBody)
	}
	wait := p.backoff.Full(n, rand.Uint64())
	if asked, ok := retryAfter(resp, now); ok {
		if asked > p.longest {
			return x.refuse(RefusedRetryAfter)
		}
		wait = max(wait, asked)
	}
	if x.over(now.Add(wait + x.deadline.least)) {
		return x.refuse(RefusedDeadline)
	}
	x.set = x.endpoints()
	x.tried = append(x.tried, x.ep)
	ep := x.pick(now)
	switch {
	case ep == nil:
		return x.refuse(RefusedNoEndpoint)
	case !ep.HasRoom():
		return x.refuse(RefusedFull)
	case !x.cluster.retries.enter():
		return x.refuse(RefusedMaxRetries)
	}
	x.retrying = true
	if !x.cluster.budget.retry(now) {
		x.retried()
		return x.refuse(RefusedBudget)
	}
	if !x.rewind() { // an upload was under way after all
		x.retried()
		return x.refuse(RefusedBody)
	}
	return ep, wait, true
}

// retried gives the place among the retries back, if there is one.
func (x *exchange) retried() {
	if x.retrying {
		x.retrying = false
		x.cluster.retries.leave()
	}
}

func (x *exchange) refuse(r Refusal) (*endpoint.Endpoint, time.Duration, bool) {
	x.cluster.Stats.RetryRefused[r].Add(1)
	x.req.Exchange.RetryRefused = r.String()
	return nil, 0, false
}

// over tells whether the time of all attempts is up.
func (x *exchange) over(now time.Time) bool { return !x.end.IsZero() && !now.Before(x.end) }

func (x *exchange) repeatable() bool {
	return x.body == stream.NoBody || x.kept != nil && x.kept.repeatable()
}

// rewind makes the body ready for the next attempt; the last one cannot read
// it any more.
func (x *exchange) rewind() bool { return x.body == stream.NoBody || x.kept != nil && x.kept.rewind() }

// drop gives a response up for another attempt. Its end gives a place in the
// load back, which the request still needs.
func (x *exchange) drop(resp *stream.Response) {
	x.cluster.load.Reenter()
	_ = resp.Body.Close()
}

// wait is the back-off: the one wait of this stage that is not for a
// connection. False: the client has gone.
func (x *exchange) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-x.ctx.Done():
		return false
	}
}

// ended is the fault of an exchange whose context has ended: the client has
// gone, or the time that it gave is up.
func (x *exchange) ended(cause error) *stream.Fault {
	if x.call.ended(x.ctx) {
		return x.late(cause)
	}
	return &stream.Fault{Kind: stream.ClientGone, Cause: context.Cause(x.ctx)}
}

// finish is the result of the last attempt.
func (x *exchange) finish(resp *stream.Response, f *stream.Fault, now time.Time) (*stream.Response, error) {
	switch {
	case f == nil:
		if x.kept != nil {
			x.kept.last()
		}
		x.markSpent(resp)
		x.keepSession(resp)
		x.hand(resp)
		x.req.Exchange.Content = resp.Body
		return resp, nil
	case x.ctx.Err() != nil && (f.Origin() != stream.Downstream || x.call.ended(x.ctx)):
		return nil, x.ended(f)
	case (f.Kind == stream.UpstreamTimeout || f.Kind == stream.ConnectTimeout) && x.over(now):
		return nil, x.late(f)
	}
	return nil, f
}

// late names the limit that ended the attempts: that of the route, or the
// client's own.
func (x *exchange) late(cause error) *stream.Fault {
	limit := x.limit
	if x.call != nil && x.end.Equal(x.call.end) {
		limit = grpcTimeout
	}
	return &stream.Fault{Kind: stream.RequestTimeout, Limit: limit, Cause: cause}
}
