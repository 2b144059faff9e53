package pool

import "time"

var _ member = (*Mux)(nil)

// sweep is the janitor's look at the connections. How long one has been idle is
// known to a sweep: requests do not look at the clock for it.
func (m *Mux) sweep(now time.Time) (kept int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reap()
	idle := 0
	for _, c := range *m.conns.Load() {
		m.judge(c, now, &idle)
	}
	return len(*m.conns.Load())
}

// judge decides about a connection; idle counts those that are.
func (m *Mux) judge(c *carrier, now time.Time, idle *int) {
	cfg, stats := &m.group.cfg, &m.group.Stats
	turns := c.turns.Load()
	if c.active.Load() > 0 || turns != c.seenTurns {
		c.seenTurns, c.idleSince = turns, time.Time{}
	} else if c.idleSince.IsZero() {
		c.idleSince = now
	}
	if c.retired {
		return
	}
	if c.expired(now) {
		stats.Aged.Add(1)
		c.retired = true
		c.Retire()
		return
	}
	if c.idleSince.IsZero() {
		return
	}
	age := now.Sub(c.idleSince)
	tooIdle, early := cfg.Idle > 0 && age >= cfg.Idle, m.group.shortened(age, cfg.Idle)
	if *idle++; !tooIdle && !early && *idle <= cfg.MaxIdle || !c.condemn() {
		return
	}
	switch {
	case tooIdle:
		stats.Retired.Add(1)
	case early:
		stats.Shortened.Add(1)
	default:
		stats.Dropped.Add(1)
	}
	m.remove(c)
}

// dropIdle closes a connection of a pool that keeps none.
func (m *Mux) dropIdle(c *carrier) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !c.retired && c.condemn() {
		m.group.Stats.Dropped.Add(1)
		m.remove(c)
	}
}

// reap forgets the connections that are closed. m.mu is held.
func (m *Mux) reap() {
	for _, c := range *m.conns.Load() {
		if !c.over() {
			continue
		}
		if !c.retired {
			if c.active.Load() == 0 {
				m.group.Stats.Closed.Add(1)
			} else {
				m.group.Stats.Broken.Add(1)
			}
		}
		m.remove(c)
	}
	if m.drained && m.joined && len(*m.conns.Load()) == 0 {
		m.joined = false
		m.group.remove(m)
	}
}

// remove closes c, which is in the list, and gives its place back. m.mu is
// held.
func (m *Mux) remove(c *carrier) {
	old := *m.conns.Load()
	list := make([]*carrier, 0, len(old))
	for _, other := range old {
		if other != c {
			list = append(list, other)
		}
	}
	m.conns.Store(&list)
	_ = c.Close() // nobody uses it any more: the error says nothing that matters
	m.endpoint.Closed()
}

// evict closes the last connection that serves nobody, if there is one.
func (m *Mux) evict() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := len(*m.conns.Load())
	if m.reap(); len(*m.conns.Load()) < before {
		return true
	}
	list := *m.conns.Load()
	for i := len(list) - 1; i >= 0; i-- {
		if c := list[i]; !c.retired && c.condemn() {
			m.remove(c)
			return true
		}
	}
	return false
}

// idleCount is how many connections a sweep looks at: all of them have an age.
func (m *Mux) idleCount() int { return len(*m.conns.Load()) }
