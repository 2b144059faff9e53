package mirror

import "sync/atomic"

// budget bounds what all copies of a route take. It outlives generations, so
// that a reload does not double it. Nobody ever waits for it.
type budget struct {
	concurrent int64
	bytes      int64

	copies atomic.Int64 // under way
	held   atomic.Int64 // bytes
}

// enter takes a place for a copy; false when there is none.
func (b *budget) enter() bool {
	if b.copies.Add(1) > b.concurrent {
		b.copies.Add(-1)
		return false
	}
	return true
}

func (b *budget) leave() { b.copies.Add(-1) }

// full tells whether enter would fail now.
func (b *budget) full() bool { return b.copies.Load() >= b.concurrent }

func (b *budget) take(n int) bool {
	if b.held.Add(int64(n)) > b.bytes {
		b.held.Add(int64(-n))
		return false
	}
	return true
}

func (b *budget) give(n int) { b.held.Add(int64(-n)) }

// stock is content that is kept, paid for out of a budget. The zero stock keeps
// nothing. It is not safe for concurrent use.
type stock struct {
	bytes  []byte
	budget *budget
	paid   int
}

// verdict is how it went to keep something.
type verdict uint8

const (
	kept verdict = iota
	tooLarge
	tooDear
)

// least is what a stock begins with.
const least = 512

// add keeps p, if all of it stays within limit and the budget.
func (s *stock) add(p []byte, limit int) verdict {
	need := len(s.bytes) + len(p)
	if need > limit {
		return tooLarge
	}
	if need > s.paid && !s.reserve(min(max(need, 2*s.paid, least), limit)) {
		return tooDear
	}
	s.bytes = append(s.bytes, p...)
	return kept
}

// reserve makes room for n bytes.
func (s *stock) reserve(n int) bool {
	if n <= s.paid {
		return true
	}
	if !s.budget.take(n - s.paid) {
		return false
	}
	s.paid = n
	grown := make([]byte, len(s.bytes), n)
	copy(grown, s.bytes)
	s.bytes = grown
	return true
}

// free gives the bytes up. It may be called more than once.
func (s *stock) free() {
	if s.paid > 0 {
		s.budget.give(s.paid)
	}
	s.bytes, s.paid = nil, 0
}
