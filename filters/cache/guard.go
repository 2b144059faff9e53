package cache

import (
	"sync/atomic"
	"time"
)

// guard bounds how many new keys are taken up in a second: a client that makes
// up queries gets its responses, and the store keeps what it has.
type guard struct {
	limit atomic.Int64
	// state is the second in its upper half and the count in its lower.
	state atomic.Uint64
}

// admit tells whether one more may be taken up.
func (g *guard) admit(now time.Time) bool {
	second := uint64(uint32(now.Unix())) << 32 //nolint:gosec // only told from the last one
	for {
		old := g.state.Load()
		next := old + 1
		if old&^(1<<32-1) != second {
			next = second + 1
		}
		if int64(next&(1<<32-1)) > g.limit.Load() { //nolint:gosec // 32 bits
			return false
		}
		if g.state.CompareAndSwap(old, next) {
			return true
		}
	}
}
