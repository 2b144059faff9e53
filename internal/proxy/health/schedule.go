package health

import (
	"container/heap"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/backoff"
	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

// memory is what is known of one endpoint. Only the goroutine of Run uses it.
type memory struct {
	endpoint *endpoint.Endpoint
	due      time.Time
	at       int  // in the queue; -1 while its check is under way
	judged   bool // the first check has decided
	fit      bool // the verdict, once judged
	row      int  // results in a row that speak against the verdict
	late     bool // it was counted as late for this turn
	gone     bool // not in the set any more
}

// result is what one check said.
type result struct {
	memory *memory
	err    error // nil: fit
}

// round is the state of Run.
type round struct {
	c       *Checker
	known   map[*endpoint.Endpoint]*memory
	queue   queue // of those that wait for their turn
	running int
	traffic traffic
	idle    bool // the cluster has no requests lately
	results chan result
	start   func(*memory)
}

// adopt takes the endpoints of set over.
func (r *round) adopt(set *endpoint.Set, now time.Time) {
	stays := make(map[*endpoint.Endpoint]bool, len(set.All()))
	for _, e := range set.All() {
		stays[e] = true
		if r.known[e] == nil {
			m := &memory{endpoint: e, due: now}
			r.known[e] = m
			heap.Push(&r.queue, m)
		}
	}
	for e, m := range r.known {
		if stays[e] {
			continue
		}
		delete(r.known, e)
		m.gone = true
		if m.at >= 0 {
			heap.Remove(&r.queue, m.at)
		}
	}
}

// startDue starts the checks whose time has come and returns when to look
// again, if there is anything to wait for but a result.
func (r *round) startDue(now time.Time) (next time.Time, any bool) {
	for len(r.queue) > 0 {
		m := r.queue[0]
		if m.due.After(now) {
			return m.due, true
		}
		if r.running >= r.most() {
			if !m.late {
				m.late = true
				r.c.Stats.Late.Add(1)
			}
			return time.Time{}, false // a result comes first
		}
		heap.Pop(&r.queue)
		m.late = false
		r.running++
		r.start(m)
	}
	return time.Time{}, false
}

// How many checks may be under way at once: as many as it takes to ask every
// endpoint in its interval although all of them time out, within these bounds.
const (
	fewestAtOnce = 8
	mostAtOnce   = 256
)

// shortest is the interval that costs most, if all endpoints are in it.
func (c *Checker) shortest() config.Duration {
	d := c.spec.Interval
	for _, other := range []config.Duration{c.spec.UnhealthyInterval, c.spec.EdgeInterval} {
		if other > 0 {
			d = min(d, other)
		}
	}
	return d
}

func (r *round) most() int {
	need := int64(len(r.known)) * int64(r.c.spec.Timeout) / int64(r.c.shortest())
	return int(min(max(need+1, fewestAtOnce), mostAtOnce))
}

// judge takes a result: the first one decides, later ones when enough of them
// in a row say the opposite of the verdict.
func (r *round) judge(res result, now time.Time) {
	r.running--
	m, good := res.memory, res.err == nil
	unable := isOurs(res.err)
	switch {
	case good:
		r.c.Stats.Good.Add(1)
	case unable:
		r.c.Stats.Unable.Add(1)
	default:
		r.c.Stats.Bad.Add(1)
	}
	if m.gone {
		return
	}
	defer r.enqueue(m, now)
	if unable {
		return
	}
	cause, reason := endpoint.ByCheck, "the check succeeded"
	if !good {
		cause, reason = causeOf(res.err), res.err.Error()
	}
	switch {
	case !m.judged:
		m.judged, m.fit = true, good
	case good == m.fit:
		m.row = 0
	default:
		if m.row++; m.row < r.threshold(m.fit) {
			return
		}
		m.fit, m.row = good, 0
	}
	// Told while nothing changes, too: the reason may.
	event, changed := m.endpoint.Checked(m.fit, cause, reason, now)
	if changed {
		r.c.Stats.Changes.Add(1)
		if r.c.onChange != nil {
			r.c.onChange(event)
		}
	}
	if good && m.fit && r.c.onGood != nil && m.endpoint.Ejected() {
		r.c.onGood(m.endpoint, changed, now)
	}
}

// enqueue makes the next turn of an endpoint.
func (r *round) enqueue(m *memory, now time.Time) {
	m.due = now.Add(backoff.Around(r.interval(m), jitter, rand.Uint64()))
	heap.Push(&r.queue, m)
}

// jitter is the share of an interval that is up to chance.
const jitter = 0.1

// interval is the time to the next check of an endpoint, by how it stands.
func (r *round) interval(m *memory) time.Duration {
	spec := &r.c.spec
	d := spec.Interval
	if m.judged && !m.fit && spec.UnhealthyInterval > 0 {
		d = spec.UnhealthyInterval
	}
	if m.row > 0 && spec.EdgeInterval > 0 {
		return time.Duration(spec.EdgeInterval) // no request may come before it is clear
	}
	if r.idle && spec.IdleInterval > 0 {
		d = spec.IdleInterval
	}
	return time.Duration(d)
}

// isOurs tells whether a check could not be made for want of something here
// (descriptors): it says nothing about the endpoint.
func isOurs(err error) bool {
	var fault *stream.Fault
	return errors.As(err, &fault) && fault.Origin() == stream.Local
}

func (r *round) threshold(fit bool) int {
	if fit {
		return r.c.spec.Unhealthy
	}
	return r.c.spec.Healthy
}

// queue is a heap by time.
type queue []*memory

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].at, q[j].at = i, j
}

// Push is for container/heap.
func (q *queue) Push(x any) {
	m := x.(*memory)
	m.at = len(*q)
	*q = append(*q, m)
}

// Pop is for container/heap.
func (q *queue) Pop() any {
	last := len(*q) - 1
	m := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	m.at = -1
	return m
}
