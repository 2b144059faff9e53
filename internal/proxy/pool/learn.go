package pool

import (
	"slices"
	"time"
)

// noteClose notes that the endpoint closed a connection which had been idle
// for age. It is learned from at the next sweep, together with the others of
// that time.
func (p *Pool[C]) noteClose(age time.Duration) {
	if !p.group.cfg.Learn {
		return
	}
	p.learning.Lock()
	p.remember(age)
	p.learning.Unlock()
	p.group.wake()
}

// noteReuse notes that a connection was found open after it had been idle for
// age.
func (p *Pool[C]) noteReuse(age time.Duration, now time.Time) {
	if !p.group.cfg.Learn {
		return
	}
	p.learning.Lock()
	p.horizon.Reused(age, now)
	p.learning.Unlock()
}

// remember is noteClose under the lock.
func (p *Pool[C]) remember(age time.Duration) {
	if age < tooEarly || len(p.closes) == maxCloses {
		p.group.Stats.Ignored.Add(1)
		return
	}
	p.closes = append(p.closes, age)
}

// learn draws the conclusions from the closes since the last sweep, at whose
// begin before connections were idle.
func (p *Pool[C]) learn(now time.Time, before int) {
	if !p.group.cfg.Learn {
		return
	}
	p.learning.Lock()
	defer p.learning.Unlock()
	switch {
	case len(p.closes) == 0:
	case restarted(p.closes, before):
		p.group.Stats.Ignored.Add(int64(len(p.closes)))
	default: // what happened at once had one reason, and is one observation
		p.horizon.Closed(slices.Min(p.closes), now)
	}
	p.closes = p.closes[:0]
	limit := p.group.cfg.Idle
	if learned, ok := p.horizon.Limit(); ok && (limit == 0 || learned < limit) {
		limit = learned
	}
	p.limit.Store(int64(limit))
}

// restarted tells whether the endpoint rather went away than closed idle
// connections one by one: at least half of them closed at once, although their
// ages differ.
func restarted(closes []time.Duration, before int) bool {
	return len(closes) >= 2 && 2*len(closes) >= before &&
		slices.Max(closes) >= slices.Min(closes)*3/2
}

// Horizon is how long an idle connection is used, as learned from the closes
// of the endpoint; ok is false while nothing is known.
func (p *Pool[C]) Horizon() (limit time.Duration, ok bool) {
	p.learning.Lock()
	defer p.learning.Unlock()
	return p.horizon.Limit()
}
