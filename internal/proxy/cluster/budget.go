package cluster

import (
	"math"
	"sync/atomic"
	"time"
)

// budgetWindow is the seconds over which the share of retries is reckoned.
const budgetWindow = 10

// budget allows retries up to a share of the requests of the last seconds and of
// each second by itself, and a few per second in any case. Requests count themselves with one load and
// one add; there is no lock.
type budget struct {
	born      time.Time // seconds count from here: a change of the wall clock moves nothing
	ratio     float64
	perSecond int64
	slots     [budgetWindow + 2]slot // one more than the window, and one that is being begun
}

type slot struct {
	requests tally
	_        [56]byte // every request writes requests
	retries  tally
	_        [56]byte
}

// tally counts within one second: the second in the high half, the count in
// the low one.
type tally struct{ word atomic.Uint64 }

func (t *tally) add(second uint32) (count uint32) {
	for {
		w := t.word.Load()
		if uint32(w>>32) == second {
			return uint32(t.word.Add(1))
		}
		if int32(uint32(w>>32)-second) > 0 {
			return math.MaxUint32 // this goroutine slept for a whole round
		}
		if t.word.CompareAndSwap(w, uint64(second)<<32|1) {
			return 1
		}
	}
}

// take undoes an add of the same second.
func (t *tally) take(second uint32) {
	for {
		w := t.word.Load()
		if uint32(w>>32) != second || uint32(w) == 0 || t.word.CompareAndSwap(w, w-1) {
			return
		}
	}
}

func (t *tally) within(second uint32) int64 {
	w := t.word.Load()
	if second-uint32(w>>32) < budgetWindow {
		return int64(uint32(w))
	}
	return 0
}

func (b *budget) second(now time.Time) uint32 { return uint32(now.Sub(b.born) / time.Second) }

func (b *budget) request(now time.Time) {
	second := b.second(now)
	b.slots[second%uint32(len(b.slots))].requests.add(second)
}

func (b *budget) requestsIn(second uint32) int64 {
	w := b.slots[second%uint32(len(b.slots))].requests.word.Load()
	if uint32(w>>32) != second {
		return 0
	}
	return int64(uint32(w))
}

// retry takes a retry out of the budget, if there is one left.
func (b *budget) retry(now time.Time) bool {
	second := b.second(now)
	mine := &b.slots[second%uint32(len(b.slots))].retries
	// Count first and look then: of two that see the last place at once,
	// neither gets more than there is.
	count := int64(mine.add(second))
	if count <= b.perSecond {
		return true
	}
	// What the last seconds have left over must not come at once, or an upstream
	// that begins to fail gets three times its load in that second.
	if float64(count) > b.ratio*float64(b.requestsIn(second)) {
		mine.take(second)
		return false
	}
	var requests, retries int64
	for i := range b.slots {
		requests += b.slots[i].requests.within(second)
		retries += b.slots[i].retries.within(second)
	}
	if float64(retries) <= b.ratio*float64(requests) {
		return true
	}
	mine.take(second)
	return false
}
