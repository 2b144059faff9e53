package cluster

import (
	"fmt"
	"math"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
)

// trial is the endpoint of set whose ejection is over, if there is one that
// nobody tries: the request that asks is to prove it. While none is due this is
// one look at the clock.
func (j *ejector) trial(set, all *endpoint.Set, now time.Time) endpoint.Trial {
	if int64(now.Sub(j.born)) < j.due.Load() || !j.mu.TryLock() {
		return endpoint.Trial{}
	}
	defer j.mu.Unlock()
	trial := j.first(set, now)
	next := int64(math.MaxInt64)
	for _, ep := range all.All() {
		if at, waiting := ep.Due(); waiting {
			next = min(next, int64(at.Sub(j.born)))
		}
	}
	if trial.Endpoint == nil {
		next = max(next, int64(now.Add(lookAgain).Sub(j.born)))
	}
	j.due.Store(next)
	return trial
}

// first is the first endpoint of set, with a weight, that may be tried.
func (j *ejector) first(set *endpoint.Set, now time.Time) endpoint.Trial {
	for i := range set.Len() {
		trial, began := set.At(i).Try(now)
		if began != nil {
			j.tell(*began)
		}
		if trial.Endpoint != nil {
			return trial
		}
	}
	return endpoint.Trial{}
}

// wake has trial look for an endpoint at that time.
func (j *ejector) wake(at time.Time) {
	due := max(int64(at.Sub(j.born)), 0)
	for {
		known := j.due.Load()
		if known <= due || j.due.CompareAndSwap(known, due) {
			return
		}
	}
}

// CheckPassed is told of a check that succeeds while ep is ejected. recovered: ones
// before it had found ep unfit. It may end the time of the ejection, but not the
// probation: what a check asks and what clients ask are not the same.
func (c *Cluster) CheckPassed(ep *endpoint.Endpoint, recovered bool, now time.Time) {
	switch c.ejector.cfg.EndOnCheck {
	case "success":
	case "recovery":
		if !recovered {
			return
		}
	default:
		return
	}
	if ep.EndByCheck(now) {
		c.ejector.wake(now)
	}
}

// good ends a trial whose answer was good.
func (j *ejector) good(t endpoint.Trial, now time.Time) {
	if ev, back := t.Good(now, j.cfg.Probation); back {
		j.tell(ev)
		return
	}
	j.wake(now)
}

// bad ends a trial whose answer was not.
func (j *ejector) bad(t endpoint.Trial, now time.Time, reason string) {
	ev := t.Bad(now, reason, j.length)
	j.stats.Ejections.Add(1)
	j.tell(ev)
	j.wake(ev.Until)
}

// giveUp ends a trial that says nothing.
func (j *ejector) giveUp(t endpoint.Trial, now time.Time) {
	t.GiveUp()
	j.wake(now)
}

// try makes the first attempt of a request the trial of an endpoint, if one is
// due. A later attempt is the last hope of its request, and no trial.
func (x *exchange) prove(now time.Time) *endpoint.Endpoint {
	if len(x.tried) > 0 || x.trial.Endpoint != nil {
		return nil
	}
	x.trial = x.cluster.ejector.trial(x.set, x.cluster.set.Load(), now)
	return x.trial.Endpoint
}

// judgeTrial ends the trial by what its attempt said.
func (x *exchange) judgeTrial(v verdict, took time.Duration, now time.Time) {
	t, j := x.trial, x.cluster.ejector
	x.trial = endpoint.Trial{}
	switch {
	case v.says == silent:
		j.giveUp(t, now)
	case v.says == bad, v.says == poor && t.Cause != endpoint.ByConsecutive:
		x.ep.Failed() // in the sum: it is out
		j.bad(t, now, "on probation: "+v.reason())
	case t.Slow > 0 && took > t.Slow:
		j.bad(t, now, fmt.Sprintf("on probation: an answer after %v, where %v is too slow", took.Round(time.Millisecond), t.Slow.Round(time.Millisecond)))
	default:
		j.good(t, now)
	}
}

// endTrial ends one that nothing was said about. Its endpoint is too slow if
// another one was asked beside it, and had an answer first.
func (x *exchange) endTrial(answered bool) {
	if x.trial.Endpoint == nil {
		return
	}
	now, t := time.Now(), x.trial
	x.trial = endpoint.Trial{}
	if answered && x.ep != t.Endpoint {
		x.cluster.ejector.bad(t, now, "on probation: no answer when another endpoint, asked later, had one")
		return
	}
	x.cluster.ejector.giveUp(t, now)
}
