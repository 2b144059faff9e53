package health

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// traffic tells whether a cluster has requests, by the attempts that its
// endpoints have counted.
type traffic struct {
	next     time.Time // when to look again
	attempts int64     // at the last look
	seen     bool      // there was a look
}

// look finds out whether the cluster is idle: no attempt began since the last
// look, an interval ago. When it is not any more, the checks that were put off
// come within an interval. Without idle_interval there is nothing to find out.
func (r *round) look(now time.Time) {
	if r.c.spec.IdleInterval <= 0 || now.Before(r.traffic.next) {
		return
	}
	attempts := int64(0)
	for e := range r.known {
		attempts += e.Attempts()
	}
	// A reload makes endpoints anew, which counted nothing yet.
	idle := r.traffic.seen && attempts == r.traffic.attempts
	if r.idle && !idle {
		r.hasten(now)
	}
	r.idle = idle
	r.traffic = traffic{next: now.Add(time.Duration(r.c.spec.Interval)), attempts: attempts, seen: true}
}

// hasten brings forward what was put off, spread over an interval.
func (r *round) hasten(now time.Time) {
	interval := int64(r.c.spec.Interval)
	for _, m := range r.queue {
		if due := now.Add(time.Duration(rand.Int64N(interval))); due.Before(m.due) {
			m.due = due
		}
	}
	heap.Init(&r.queue)
}

// sooner is the next look at the traffic, or next if that comes first.
func (r *round) sooner(next time.Time) time.Time {
	if r.c.spec.IdleInterval > 0 && r.traffic.next.Before(next) {
		return r.traffic.next
	}
	return next
}
