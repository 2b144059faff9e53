package ratelimit

import (
	"sync"
	"time"
)

// leases are what this proxy may let through of each key without a question to
// the store. To forget a lease refills nothing: the store has charged it.
type leases struct {
	most   int // leases of one shard
	shards [leaseShards]leaseShard
}

const leaseShards = 64

type leaseShard struct {
	mu   sync.Mutex
	keys map[uint64]*lease
	_    [48]byte // its neighbour is another's
}

// lease of one key.
type lease struct {
	left    int64         // requests that may pass yet
	size    int64         // that is asked for next
	asked   time.Time     // when the store was asked last
	until   time.Time     // the store, or this proxy, refuses until then
	beyond  int64         // left in the store when it was asked
	full    time.Time     // when all would be left
	pending chan struct{} // closed with the answer; nil while nobody asks
	waiting int64         // requests that wait for it
}

const (
	// life of a lease: what is not used is not saved up.
	life = 2 * time.Second
	// A lease that is used up this quickly is doubled, one that lasted for longer
	// than a second halved: rare keys are counted exactly, busy ones cheaply.
	quickly = 100 * time.Millisecond
	slowly  = time.Second
)

func newLeases(places int) *leases {
	l := &leases{most: max(16, places/4/leaseShards)}
	for i := range l.shards {
		l.shards[i].keys = map[uint64]*lease{}
	}
	return l
}

// turn says what a request does next.
type turn uint8

const (
	spent   turn = iota // it passes: the lease had one for it
	refused             // it does not pass
	wait                // it waits for the answer to another one
	ask                 // it asks the store
)

// answer is what a lease has for a request.
type answer struct {
	left        int64 // refused, spent: as far as is known here
	wait, reset time.Duration
	answered    <-chan struct{} // wait
	want        int64           // ask
}

// spend takes one request from the lease of the key.
func (l *leases) spend(key uint64, now time.Time, most int64) (answer, turn) {
	s := &l.shards[key%leaseShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.keys[key]
	if e == nil {
		e = &lease{size: 1}
		s.room(l.most)
		s.keys[key] = e
	}
	switch {
	case now.Before(e.until):
		return answer{wait: e.until.Sub(now), reset: e.full.Sub(now)}, refused
	case e.left > 0 && now.Sub(e.asked) < life:
		e.left--
		return answer{left: e.left + e.beyond, reset: e.full.Sub(now)}, spent
	case e.pending != nil:
		e.waiting++
		return answer{answered: e.pending}, wait
	}
	e.grow(now, most)
	e.pending, e.left, e.waiting = make(chan struct{}), 0, 0
	return answer{want: e.size}, ask
}

func (e *lease) grow(now time.Time, most int64) {
	switch used := now.Sub(e.asked); {
	case used < quickly:
		e.size *= 2
	case used > slowly:
		e.size /= 2
	}
	e.size = min(max(e.size, e.waiting+1), max(most, 1))
}

// room makes place for one more key. A key that somebody asks about stays.
func (s *leaseShard) room(most int) {
	if len(s.keys) < most {
		return
	}
	for key, e := range s.keys { // Go begins anywhere
		if e.pending == nil {
			delete(s.keys, key)
			return
		}
	}
}

// granted is what the store has answered.
type granted struct {
	n, left     int64
	wait, reset time.Duration
}

// settle notes the answer and wakes who waits for it.
func (l *leases) settle(key uint64, note func(e *lease)) {
	s := &l.shards[key%leaseShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.keys[key]
	if e == nil { // an operator has cleared all
		return
	}
	note(e)
	if e.pending != nil {
		close(e.pending)
		e.pending = nil
	}
}

func (l *leases) answer(key uint64, now time.Time, g granted) {
	l.settle(key, func(e *lease) {
		e.asked, e.left, e.beyond, e.full = now, g.n, g.left, now.Add(g.reset)
		if g.n == 0 {
			e.until = now.Add(max(g.wait, time.Millisecond))
		}
	})
}

// refuse notes that this proxy need not ask.
func (l *leases) refuse(key uint64, now time.Time, wait time.Duration) {
	l.settle(key, func(e *lease) { e.until, e.full = now.Add(wait), now.Add(wait) })
}

// fail notes that there was no answer.
func (l *leases) fail(key uint64) { l.settle(key, func(*lease) {}) }

// refuses tells for how long the key is known to be refused; 0: it is not.
func (l *leases) refuses(key uint64, now time.Time) (wait, reset time.Duration) {
	s := &l.shards[key%leaseShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.keys[key]; e != nil && now.Before(e.until) {
		return e.until.Sub(now), e.full.Sub(now)
	}
	return 0, 0
}

// clear forgets all leases that nobody asks about.
func (l *leases) clear() {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for key, e := range s.keys {
			if e.pending == nil {
				delete(s.keys, key)
			}
		}
		s.mu.Unlock()
	}
}
