package pool

import (
	"slices"
	"time"
)

// verdict is what becomes of an idle connection.
type verdict uint8

const (
	keep     verdict = iota
	tooOld           // MaxAge
	tooIdle          // Idle, or the learned horizon
	closed           // by the endpoint
	unwanted         // idle for longer than the process can afford now
)

const (
	sweepChunk = 8  // connections looked at in one hold of a shard's lock
	maxCloses  = 64 // closes remembered between two sweeps
	maxWatched = 2
	// watchAtMost bounds the watch of a retired connection when the document
	// gives no limit.
	watchAtMost = time.Hour
	// tooEarly is the idle age below which a close is no idle time-out: an
	// upstream that closes right after a response has another reason.
	tooEarly = 100 * time.Millisecond
)

// judge decides about an idle connection; look tells whether to look at its
// socket.
func (p *Pool[C]) judge(l *Lease[C], now time.Time, look bool) verdict {
	age := now.Sub(l.since)
	limit := time.Duration(p.limit.Load())
	switch {
	case l.expired(now):
		return tooOld
	case limit > 0 && age >= limit:
		return tooIdle
	case !look || l.nc == nil:
		return keep
	case !p.quiet(l.nc):
		return closed
	}
	l.seenOpen = age
	return keep
}

// shortened tells whether a connection is to go before its time. Only sweeps
// ask: one that a request has in its hands is better used than closed.
func (g *Group) shortened(age, idle time.Duration) bool {
	return g.cfg.Short != nil && idle > 0 && age >= g.cfg.Short(idle, idleFloor)
}

// due tells whether it is time for the janitor to look at a connection again:
// the older, the less often, so that the age at which it was closed is known to
// an eighth.
func (l *Lease[C]) due(now time.Time) bool {
	age := now.Sub(l.since)
	return age-l.seenOpen >= max(tick/2, age/8)
}

// dispose does what a verdict other than keep says. The caller took the
// connection out of its shard.
func (p *Pool[C]) dispose(l *Lease[C], v verdict, now time.Time) {
	stats := &p.group.Stats
	switch v {
	case tooOld:
		stats.Aged.Add(1)
		l.close()
	case closed:
		stats.Closed.Add(1)
		p.noteClose(max(l.seenOpen, now.Sub(l.since)/2))
		l.close()
	case unwanted:
		stats.Shortened.Add(1)
		l.close()
	case tooIdle:
		stats.Retired.Add(1)
		if !p.watch(l, now) {
			l.close()
		}
	}
}

// watch keeps a connection that was retired early, to see when the endpoint
// closes it. One that was retired by the document's limit is evidence already.
func (p *Pool[C]) watch(l *Lease[C], now time.Time) bool {
	if !p.group.cfg.Learn {
		return false
	}
	p.learning.Lock()
	defer p.learning.Unlock()
	if now.Sub(l.since) >= p.watchFor() {
		p.horizon.Survived(now)
		return false
	}
	if l.nc == nil || len(p.watched) >= maxWatched || p.drained.Load() {
		return false
	}
	p.watched = append(p.watched, l)
	p.group.wake()
	return true
}

// watchFor is the idle age from which nobody cares when the endpoint closes.
func (p *Pool[C]) watchFor() time.Duration {
	if idle := p.group.cfg.Idle; idle > 0 {
		return idle
	}
	return watchAtMost
}

// sweep is the janitor's look at the pool.
func (p *Pool[C]) sweep(now time.Time) (kept int) {
	before := p.idleCount()
	for i := range p.shards {
		p.sweepShard(&p.shards[i], now)
	}
	p.sweepWatched(now)
	p.learn(now, before)
	return p.idleCount()
}

// sweepShard goes from the connection idle longest to the one used last.
func (p *Pool[C]) sweepShard(s *shard[C], now time.Time) {
	for from, done := 0, false; !done; {
		var out removed[C]
		from, done = p.sweepSome(s, from, now, &out)
		for i, l := range out.leases[:out.n] {
			p.dispose(l, out.why[i], now)
		}
	}
}

// removed are connections taken out of a shard, and why.
type removed[C Conn] struct {
	leases [sweepChunk]*Lease[C]
	why    [sweepChunk]verdict
	n      int
}

// sweepSome looks at a few connections in one hold of the lock; next is where
// to go on.
func (p *Pool[C]) sweepSome(s *shard[C], from int, now time.Time, out *removed[C]) (next int, done bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := min(from+sweepChunk, len(s.idle))
	if from >= end {
		return from, true
	}
	var verdicts [sweepChunk]verdict
	for i, l := range s.idle[from:end] {
		verdicts[i] = p.judge(l, now, l.due(now))
		if verdicts[i] == keep && p.group.shortened(now.Sub(l.since), p.group.cfg.Idle) {
			verdicts[i] = unwanted
		}
	}
	kept := from
	for i, l := range s.idle[from:end] {
		if v := verdicts[i]; v != keep {
			out.leases[out.n], out.why[out.n] = l, v
			out.n++
			continue
		}
		s.idle[kept] = l
		kept++
	}
	if out.n > 0 {
		s.idle = slices.Delete(s.idle, kept, end)
		p.idle.Add(int64(-out.n))
	}
	return kept, kept >= len(s.idle)
}

// sweepWatched looks whether the watched connections are closed by now.
func (p *Pool[C]) sweepWatched(now time.Time) {
	over := p.watchedOver(now)
	for _, l := range over {
		l.close()
	}
}

func (p *Pool[C]) watchedOver(now time.Time) (over []*Lease[C]) {
	p.learning.Lock()
	defer p.learning.Unlock()
	p.watched = slices.DeleteFunc(p.watched, func(l *Lease[C]) bool {
		age := now.Sub(l.since)
		switch {
		case l.expired(now):
		case l.due(now) && !p.quiet(l.nc):
			p.group.Stats.Closed.Add(1)
			p.remember(max(l.seenOpen, age/2))
		case age >= p.watchFor():
			p.horizon.Survived(now)
		default:
			if l.due(now) {
				l.seenOpen = age
			}
			return false
		}
		over = append(over, l)
		return true
	})
	return over
}

func (p *Pool[C]) takeWatched() []*Lease[C] {
	p.learning.Lock()
	defer p.learning.Unlock()
	out := p.watched
	p.watched = nil
	return out
}

// idleCount is the connections that a sweep looks at.
func (p *Pool[C]) idleCount() int {
	p.learning.Lock()
	defer p.learning.Unlock()
	return int(p.idle.Load()) + len(p.watched)
}

// evict closes a connection that serves nobody: a watched one, else the one
// idle longest in the first shard that has one.
func (p *Pool[C]) evict() bool {
	if l := p.oldest(); l != nil {
		l.close()
		return true
	}
	return false
}

func (p *Pool[C]) oldest() *Lease[C] {
	if l := p.oldestWatched(); l != nil {
		return l
	}
	for i := range p.shards {
		if l := p.oldestIn(&p.shards[i]); l != nil {
			return l
		}
	}
	return nil
}

func (p *Pool[C]) oldestWatched() *Lease[C] {
	p.learning.Lock()
	defer p.learning.Unlock()
	if len(p.watched) == 0 {
		return nil
	}
	l := p.watched[0]
	p.watched = slices.Delete(p.watched, 0, 1)
	return l
}

func (p *Pool[C]) oldestIn(s *shard[C]) *Lease[C] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.idle) == 0 {
		return nil
	}
	l := s.idle[0]
	s.idle = slices.Delete(s.idle, 0, 1)
	p.idle.Add(-1)
	return l
}
