package cluster

import (
	"context"
	"slices"
	"sync"
	"time"
)

// places are how many requests may be under way, who has them, and who waits for
// one. A place is taken from the admission of a request until the end of its
// response.
//
// With tenants, each has a share: the limit divided by those that are there. One
// that is above it may use what the others leave, but for the headroom: so one
// that comes finds a place, and is never behind the queue of another.
type places struct {
	limit    func() int64
	most     int           // that may wait; 0: nobody
	patience time.Duration // longest wait
	fair     bool
	headroom float64 // the share of the limit that no tenant above its share gets

	mu      sync.Mutex
	busy    int64
	all     tenant             // without fairness: all requests
	tenants map[string]*tenant // who has a place or waits
	waiting []*waiter          // in the order of their coming
}

// tenant is who has places, guarded by places.mu. Without fairness there is one.
type tenant struct {
	key    string
	busy   int64
	queued int // of its requests
}

type waiter struct {
	*tenant
	since time.Time
	turn  chan struct{} // closed when it has a place
	gone  bool          // it was turned away for another
}

// turnedAway is why there is no place, if there is none.
type turnedAway uint8

const (
	admitted      turnedAway = iota
	admittedLater            // after a wait
	noPlace
	aboveShare
	queueFull
	queueTimeout
	waiterLeft
)

// enter takes a place for a tenant, perhaps after a wait until end (the zero
// time: none) at the latest.
func (p *places) enter(ctx context.Context, key string, now, end time.Time) (*tenant, turnedAway) {
	p.mu.Lock()
	t := p.tenant(key)
	if len(p.waiting) == 0 || p.fair { // nobody is overtaken, but by a tenant that has less
		if p.room(t) {
			p.busy++
			t.busy++
			p.mu.Unlock()
			return t, admitted
		}
	}
	if p.most == 0 {
		p.forget(t)
		why := noPlace
		if p.busy < p.limit() {
			why = aboveShare
		}
		p.mu.Unlock()
		return nil, why
	}
	if len(p.waiting) >= p.most && !p.displace(t) {
		p.forget(t)
		p.mu.Unlock()
		return nil, queueFull
	}
	w := &waiter{tenant: t, since: now, turn: make(chan struct{})}
	t.queued++
	p.waiting = append(p.waiting, w)
	p.mu.Unlock()
	return p.wait(ctx, w, now, end)
}

// tenant is who has that key. p.mu is held.
func (p *places) tenant(key string) *tenant {
	if !p.fair {
		return &p.all
	}
	t := p.tenants[key]
	if t == nil {
		t = &tenant{key: key}
		p.tenants[key] = t
	}
	return t
}

// room tells whether t may take one more place. p.mu is held.
func (p *places) room(t *tenant) bool {
	limit := p.limit()
	if p.busy >= limit {
		return false
	}
	return !p.fair || float64(p.busy) < float64(limit)*(1-p.headroom) || t.busy < p.share(limit)
}

// share is what each tenant may have whatever the others do, with one more of
// them: who is alone leaves the headroom, too.
func (p *places) share(limit int64) int64 { return max(limit/int64(len(p.tenants)+1), 1) }

// displace turns the last waiter away of the tenant that has the most, if that
// has more than t would have.
func (p *places) displace(t *tenant) bool {
	if !p.fair {
		return false
	}
	at := -1
	for i, w := range p.waiting {
		if w.queued > t.queued+1 && (at < 0 || w.queued >= p.waiting[at].queued) {
			at = i
		}
	}
	if at < 0 {
		return false
	}
	w := p.take(at)
	w.gone = true
	close(w.turn)
	return true
}

// take takes a waiter out of the queue.
func (p *places) take(at int) *waiter {
	w := p.waiting[at]
	p.waiting = slices.Delete(p.waiting, at, at+1)
	w.queued--
	return w
}

func (p *places) wait(ctx context.Context, w *waiter, now, end time.Time) (*tenant, turnedAway) {
	patience := p.patience
	if !end.IsZero() {
		patience = min(patience, max(end.Sub(now), 0))
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	why := queueTimeout
	select {
	case <-w.turn:
	case <-timer.C:
	case <-ctx.Done():
		why = waiterLeft
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if at := slices.Index(p.waiting, w); at >= 0 {
		p.take(at)
		p.forget(w.tenant)
		return nil, why
	}
	switch {
	case w.gone:
		p.forget(w.tenant)
		return nil, queueFull
	case why == waiterLeft: // it has a place by now, and needs none
		p.release(w.tenant)
		return nil, why
	}
	return w.tenant, admittedLater
}

// leave gives a place back.
func (p *places) leave(t *tenant) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.release(t)
}

func (p *places) release(t *tenant) {
	p.busy--
	t.busy--
	p.forget(t)
	for at := p.next(); at >= 0; at = p.next() {
		w := p.take(at)
		p.busy++
		w.busy++
		close(w.turn)
	}
}

// next is the waiter whose turn it is, or -1. It is the first that came; under
// overload, which is when that one has waited for half of its patience, the last:
// the first will have given up before it is served, and the last is served in
// time. With tenants it is one of those that have the least.
func (p *places) next() int {
	if len(p.waiting) == 0 || p.busy >= p.limit() {
		return -1
	}
	last := time.Since(p.waiting[0].since) > p.patience/2
	best := -1
	for i, w := range p.waiting {
		switch {
		case !p.room(w.tenant):
		case best < 0, w.busy < p.waiting[best].busy, last && w.busy == p.waiting[best].busy:
			best = i
		}
	}
	return best
}

// forget lets go of a tenant that is not there any more.
func (p *places) forget(t *tenant) {
	if p.fair && t.busy == 0 && t.queued == 0 {
		delete(p.tenants, t.key)
	}
}

// state is how many requests are under way, wait, and of how many tenants.
func (p *places) state() (busy int64, waiting, tenants int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.busy, len(p.waiting), len(p.tenants)
}
