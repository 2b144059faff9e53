package concurrencylimit

import (
	"hash/maphash"
	"sync"
)

// shards keep connections from waiting for each other.
const shards = 64

// active has the number of requests under way of each key that has any.
type active struct {
	seed   maphash.Seed
	shards [shards]shard
}

type shard struct {
	mu    sync.Mutex
	count map[uint64]int32
	_     [48]byte // its neighbour is another's
}

func newActive() *active {
	a := &active{seed: maphash.MakeSeed()}
	for i := range a.shards {
		a.shards[i].count = map[uint64]int32{}
	}
	return a
}

// enter counts one more request of key. It is false when limit were so many
// already; it is then not counted, unless anyway says so.
func (a *active) enter(key uint64, limit int32, anyway bool) bool {
	s := &a.shards[key%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.count[key]
	if n >= limit && !anyway {
		return false
	}
	s.count[key] = n + 1
	return n < limit
}

func (a *active) leave(key uint64) {
	s := &a.shards[key%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.count[key]; n > 1 {
		s.count[key] = n - 1
	} else {
		delete(s.count, key)
	}
}

// keys is of how many keys requests are under way.
func (a *active) keys() (n int) {
	for i := range a.shards {
		s := &a.shards[i]
		s.mu.Lock()
		n += len(s.count)
		s.mu.Unlock()
	}
	return n
}
