// Package gcra limits the rates of very many keys in fixed memory, without
// ever giving a key more than is due to it.
//
// What it knows of a key is one number, its level. For a rate that is the
// theoretical arrival time of the generic cell rate algorithm (ITU-T I.371): it
// rises by a cost with each event that is allowed, and time runs after it from
// below (the floor); an event is allowed while the level stays below a ceiling.
// A count within a window of time is the same with a floor that stands still.
//
// A Table has a fixed number of places in small sets; a key belongs to one set.
// A place whose level is at the floor says nothing and is free. When a set has
// no free place, a key that is not in it takes the lowest one and inherits its
// level (the rule of Space-Saving; Metwally, Agrawal and El Abbadi, 2005). So
// levels of a set never sink, and the level that a key finds when it comes back
// is never below the one that it left with: to be forgotten refills nothing.
// The price is that a key may inherit the level of another one. What that can
// amount to is in docs/rate-limits.md, with measurements.
package gcra

import (
	"sync"
	"sync/atomic"
)

// ways is how many keys a set holds: with its lock it fills two cache lines.
const ways = 7

type set struct {
	mu     sync.Mutex
	keys   [ways]uint64
	levels [ways]int64
	_      [8]byte
}

// Table has the levels of keys, which are keyed hashes: who sends the values
// must not be able to choose them. It is safe for concurrent use; keys of
// different sets share no lock.
type Table struct {
	sets    []set
	evicted [shards]shard
}

// shards of a counter that all connections may write when keys are many.
const shards = 16

type shard struct {
	n atomic.Int64
	_ [56]byte // its neighbour is another's
}

// New makes a table for at least so many keys at a time.
func New(places int) *Table {
	n := 1
	for n*ways < places {
		n *= 2
	}
	return &Table{sets: make([]set, n)}
}

// Places is how many keys the table can hold.
func (t *Table) Places() int { return len(t.sets) * ways }

// Bytes is the memory that the table takes, whatever comes.
func (t *Table) Bytes() int { return len(t.sets) * 128 }

// Take adds cost to the level of key if it then stays at or below ceiling, and
// tells whether it has. level is the level after that.
func (t *Table) Take(key uint64, floor, ceiling, cost int64) (level int64, ok bool) {
	s := t.set(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	at, found := s.find(key)
	held := s.levels[at]
	level = max(held, floor)
	if level+cost > ceiling {
		return level, false // nothing changes, so the place stays with whoever has it
	}
	level += cost
	s.keys[at], s.levels[at] = key, level
	if !found && held > floor {
		t.evicted[key>>32%shards].n.Add(1)
	}
	return level, true
}

// Level is the level of key: what Take would add to.
func (t *Table) Level(key uint64, floor int64) int64 {
	s := t.set(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	at, _ := s.find(key)
	return max(s.levels[at], floor)
}

// Forget lets key begin anew. It is false when the table has no level of its
// own for it.
func (t *Table) Forget(key uint64) bool {
	s := t.set(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	at, found := s.find(key)
	if found {
		s.keys[at], s.levels[at] = 0, 0
	}
	return found
}

// Clear forgets all keys.
func (t *Table) Clear() {
	for i := range t.sets {
		s := &t.sets[i]
		s.mu.Lock()
		s.keys, s.levels = [ways]uint64{}, [ways]int64{}
		s.mu.Unlock()
	}
}

// Held is how many keys are above the floor. It looks at every place.
func (t *Table) Held(floor int64) (n int) {
	for i := range t.sets {
		s := &t.sets[i]
		s.mu.Lock()
		for _, level := range s.levels {
			if level > floor {
				n++
			}
		}
		s.mu.Unlock()
	}
	return n
}

// Evicted is how often a key took the place of another one that was above the
// floor.
func (t *Table) Evicted() (n int64) {
	for i := range t.evicted {
		n += t.evicted[i].n.Load()
	}
	return n
}

func (t *Table) set(key uint64) *set { return &t.sets[key&uint64(len(t.sets)-1)] }

// find is the place of key, or the lowest one.
func (s *set) find(key uint64) (at int, found bool) {
	for i := range s.keys {
		if s.keys[i] == key {
			return i, true
		}
		if s.levels[i] < s.levels[at] {
			at = i
		}
	}
	return at, false
}
