package fault

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	slots = 12
	// span is the time that a window looks back, in slots of a few seconds.
	span = time.Minute
	// free is how many faults a window may hold whatever their share: without
	// it nobody could try out a fault on a quiet route.
	free = 10
)

// window counts requests, and those with a fault, over the last minute.
// Requests are counted by an atomic; only a fault, or a new slot, takes the lock.
type window struct {
	seen [slots]atomic.Int64
	tick [slots]atomic.Int64 // which slot since 1970 stands there

	mu   sync.Mutex
	hits [slots]int64
}

func tickOf(now time.Time) int64 { return now.UnixNano() / int64(span/slots) }

// see counts a request.
func (w *window) see(now time.Time) {
	tick := tickOf(now)
	at := tick % slots
	if w.tick[at].Load() != tick {
		w.mu.Lock()
		w.turn(tick)
		w.mu.Unlock()
	}
	w.seen[at].Add(1)
}

// turn empties the slot of tick if it is that of an earlier minute. mu is held.
func (w *window) turn(tick int64) {
	at := tick % slots
	if w.tick[at].Load() < tick {
		w.hits[at] = 0
		w.seen[at].Store(0)
		w.tick[at].Store(tick)
	}
}

// take counts a fault, of a request that was seen, unless the share of those
// would grow beyond most.
func (w *window) take(now time.Time, most float64) bool {
	tick := tickOf(now)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turn(tick)
	seen, hits := w.sums(tick)
	if hits >= free && float64(hits+1) > most*float64(seen) {
		return false
	}
	w.hits[tick%slots]++
	return true
}

// sums of the slots that are no older than the span. mu is held.
func (w *window) sums(tick int64) (seen, hits int64) {
	for i := range w.tick {
		if w.tick[i].Load() > tick-slots {
			seen += w.seen[i].Load()
			hits += w.hits[i]
		}
	}
	return seen, hits
}

// measured is what stands in the window now.
func (w *window) measured(now time.Time) (seen, hits int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sums(tickOf(now))
}
