package cluster

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/breaker"
	"github.com/weirproxy/weir/internal/gradient"
	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/stream"
)

// Gates are the limits that a cluster may have beyond its numbers. Each may be
// nil.
type Gates struct {
	Breaker   *config.Breaker
	Admission *config.Admission
	Adaptive  *config.Adaptive
	Queue     *config.Queue
	Fair      *config.Fair
}

// Gate is what refused a request; it is the name of the limit in the document.
type Gate uint8

// The gates.
const (
	GateBreaker Gate = iota
	GateAdmission
	GateAdaptive
	GateQueueFull
	GateQueueTimeout
	GateFair
	NumGates
)

var gateNames = [NumGates]string{"breaker", "admission", "adaptive", "queue", "queue_timeout", "fair"}

func (g Gate) String() string { return gateNames[g] }

// gate decides about requests before they get an attempt.
type gate struct {
	breaker   *breaker.Breaker
	admission *admission
	adaptive  *gradient.Limiter
	places    *places
	tenant    requestkey.Key // zero: all are one

	Refused [NumGates]atomic.Int64
}

// newGate compiles g; what cannot be read was refused by the compile stage.
func newGate(g Gates, capacity func() int64, log *slog.Logger, now time.Time) (*gate, error) {
	if g == (Gates{}) {
		return nil, nil
	}
	own := &gate{admission: newAdmission(g.Admission, now)}
	if b := g.Breaker; b != nil {
		when, err := breaker.Parse(b.When)
		if err != nil {
			return nil, err
		}
		own.breaker = breaker.New(breaker.Config{
			When: when, Window: time.Duration(b.Window), Least: int64(b.MinRequests),
			Hold: time.Duration(b.Open), Max: time.Duration(b.MaxOpen), Probes: int64(b.Probes),
			OnChange: func(from, to breaker.State, why string) {
				log.Warn("the breaker of a cluster changed", "from", from.String(), "to", to.String(), "reason", why)
			},
		}, now)
	}
	limit := capacity
	if a := g.Adaptive; a != nil {
		own.adaptive = gradient.New(gradient.Config{
			Min: int64(a.Min), Max: int64(a.Max), Tolerance: a.Tolerance, Probe: time.Duration(a.Probe),
		}, now)
		limit = func() int64 { return min(own.adaptive.Limit(), capacity()) }
	}
	if g.Adaptive != nil || g.Queue != nil || g.Fair != nil {
		own.places = &places{limit: limit, tenants: map[string]*tenant{}}
		if q := g.Queue; q != nil {
			own.places.most, own.places.patience = q.Max, time.Duration(q.Timeout)
		}
		if f := g.Fair; f != nil {
			var err error
			if own.tenant, err = requestkey.Parse(f.Key); err != nil {
				return nil, err
			}
			own.places.fair, own.places.headroom = true, f.Headroom
		}
	}
	return own, nil
}

// ticket is what a request that was let through gives back.
type ticket struct {
	gate   *gate
	tenant *tenant // nil: no place was taken
	waited bool
}

// enter lets a request through, or says which limit is in its way.
func (g *gate) enter(ctx context.Context, req *stream.Request, now, end time.Time) (ticket, *stream.Fault) {
	if g.admission != nil && !g.admission.admits(now) {
		return ticket{}, g.refuse(GateAdmission, 0)
	}
	if g.breaker != nil {
		if ok, after := g.breaker.Allow(now); !ok {
			return ticket{}, g.refuse(GateBreaker, after)
		}
	}
	if g.places == nil {
		return ticket{gate: g}, nil
	}
	key := ""
	if !g.tenant.IsZero() {
		key, _ = g.tenant.Of(req)
	}
	t, why := g.places.enter(ctx, key, now, end)
	if why == admitted || why == admittedLater {
		return ticket{gate: g, tenant: t, waited: why == admittedLater}, nil
	}
	if g.breaker != nil {
		g.breaker.Forget()
	}
	switch why {
	case waiterLeft:
		return ticket{}, &stream.Fault{Kind: stream.ClientGone, Cause: context.Cause(ctx)}
	case aboveShare:
		return ticket{}, g.refuse(GateFair, time.Second)
	case queueFull:
		return ticket{}, g.refuse(GateQueueFull, time.Second)
	case queueTimeout:
		return ticket{}, g.refuse(GateQueueTimeout, time.Second)
	}
	if g.adaptive == nil {
		return ticket{}, g.refuse(GateFair, time.Second)
	}
	return ticket{}, g.refuse(GateAdaptive, time.Second)
}

func (g *gate) refuse(by Gate, after time.Duration) *stream.Fault {
	g.Refused[by].Add(1)
	return &stream.Fault{Kind: stream.ClusterFull, Limit: by.String(), RetryAfter: after}
}

// leave gives the place back.
func (t ticket) leave() {
	if t.tenant != nil {
		t.gate.places.leave(t.tenant)
	}
}

// note tells the gates how a request did; took is how long its last attempt had
// no response.
func (t ticket) note(resp *stream.Response, f *stream.Fault, took time.Duration, now time.Time) {
	g := t.gate
	switch {
	case f != nil && !blames(f) && f.Kind != stream.RequestTimeout && f.Kind != stream.UpstreamTimeout:
		if g.breaker != nil {
			g.breaker.Forget() // it says nothing of the cluster
		}
		return
	case resp != nil && resp.Status < 500 && g.adaptive != nil:
		g.adaptive.Observe(took, now)
	}
	failed := f != nil || resp.Status >= 500
	if g.admission != nil {
		g.admission.window.Add(!failed, now)
	}
	if g.breaker != nil {
		g.breaker.Record(breaker.Outcome{Failed: failed, Answered: resp != nil, Took: took}, now)
	}
}

// gated is run with gates in front.
func (x *exchange) gated(now time.Time) (resp *stream.Response, err error) {
	g := x.cluster.gate
	t, f := g.enter(x.ctx, x.req, now, x.end)
	if f != nil {
		x.call.release()
		_ = x.body.Close()
		return nil, f
	}
	defer func() {
		if resp == nil { // also when something panics
			t.leave()
		}
	}()
	if !x.cluster.load.Enter() {
		if g.breaker != nil {
			g.breaker.Forget()
		}
		x.call.release()
		return nil, x.cluster.full(x.req)
	}
	if t.waited {
		now = time.Now()
	}
	x.cluster.budget.request(now)
	if resp, err = x.run(now); err != nil {
		over := time.Now()
		t.note(nil, stream.AsFault(err), over.Sub(now), over)
		return nil, err
	}
	head := x.req.Exchange.UpstreamHead
	t.note(resp, nil, head.Sub(x.began), head)
	if t.tenant != nil {
		resp.Body = &held{passing{resp.Body}, t, false}
	}
	return resp, nil
}

// held is the body of a response whose request has a place.
type held struct {
	passing
	ticket ticket
	closed bool
}

// Close implements stream.Body.
func (b *held) Close() error {
	err := b.Body.Close()
	if !b.closed {
		b.closed = true
		b.ticket.leave()
	}
	return err
}

// GateState is what the gates of a cluster do now.
type GateState struct {
	Breaker  string  // closed, open or half_open; "": there is none
	Refusing float64 // share of requests that admission refuses
	Limit    int64   // of the adaptive concurrency; 0: there is none
	Busy     int64   // requests with a place
	Waiting  int     // requests in the queue
	Tenants  int
}

// Gates is the state and the counters of the gates; nil when there are none.
func (c *Cluster) Gates(now time.Time) (state *GateState, refused *[NumGates]atomic.Int64) {
	g := c.gate
	if g == nil {
		return nil, nil
	}
	state = new(GateState)
	if g.breaker != nil {
		state.Breaker = g.breaker.State().String()
	}
	if g.admission != nil {
		state.Refusing = g.admission.refusing(now)
	}
	if g.adaptive != nil {
		state.Limit = g.adaptive.Limit()
	}
	if g.places != nil {
		state.Busy, state.Waiting, state.Tenants = g.places.state()
	}
	return state, &g.Refused
}
