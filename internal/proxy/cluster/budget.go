package cluster

import (
	"math"
	"sync/atomic"
	"time"
)

// budgetWindow is the seconds over which the share of retries is reckoned.
const budgetWindow = 10

// budget allows retries up to a share of the requests of the last seconds and of
// each second by itself, and a few per second in any case. Requests count
// themselves with one load and one add; there is no lock.
type budget struct {
	born      time.Time // seconds count from here: a change of the wall clock moves nothing
	ratio     float64
	perSecond int64
	repays    bool                   // a failure is held to the share in sum: see lend
	slots     [budgetWindow + 2]slot // one more than the window, and one that is being begun

	loan  atomic.Uint64 // the second that was lent in in the high half, how much in the low one
	empty atomic.Uint64 // the last second in which nothing was left, plus 1; 0: there was none
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

// of is the count of one second.
func (t *tally) of(second uint32) int64 {
	w := t.word.Load()
	if uint32(w>>32) != second {
		return 0
	}
	return int64(uint32(w))
}

// within is the count if it is of the seconds up to second, and of which one.
func (t *tally) within(second uint32) (count int64, at uint32) {
	w := t.word.Load()
	if at = uint32(w >> 32); second-at < budgetWindow {
		return int64(uint32(w)), at
	}
	return 0, at
}

func (b *budget) second(now time.Time) uint32 { return uint32(now.Sub(b.born) / time.Second) }

func (b *budget) request(now time.Time) {
	second := b.second(now)
	b.slots[second%uint32(len(b.slots))].requests.add(second)
}

// retry takes a retry out of the budget, if there is one left.
func (b *budget) retry(now time.Time) bool {
	second := b.second(now)
	slot := &b.slots[second%uint32(len(b.slots))]
	mine := &slot.retries
	// Count first and look then: of two that see the last place at once,
	// neither gets more than there is.
	count := int64(mine.add(second))
	if count <= b.perSecond {
		return true
	}
	// What the last seconds have left over must not come at once, or an upstream
	// that begins to fail gets three times its load in that second.
	if float64(count) <= b.ratio*float64(slot.requests.of(second)) && b.hasLeft(second) {
		return true
	}
	mine.take(second)
	b.lend(second, count-1)
	return false
}

// hasLeft tells whether the retries of the last seconds, and those since the
// last loan, are within the share.
func (b *budget) hasLeft(second uint32) bool {
	loan := b.loan.Load()
	lent, owed := uint32(loan>>32), int64(uint32(loan))
	var requests, retries, earning int64
	for i := range b.slots {
		n, at := b.slots[i].requests.within(second)
		if requests += n; int32(at-lent) > 0 {
			earning += n
		}
		n, at = b.slots[i].retries.within(second)
		if retries += n; int32(at-lent) > 0 {
			owed += n
		}
	}
	if float64(retries) > b.ratio*float64(requests) {
		return false
	}
	paying := loan != 0 && second != lent && second-lent < budgetWindow
	return !paying || float64(owed) <= b.ratio*float64(earning)
}

// lend notes that a failure has used up the budget. When that is new, what was
// retried in this second and the one before was partly earned by requests from
// before the failure, nobody knows how much: all of it counts as lent, and is paid
// back by fewer retries in the next second. So the attempts stay within the share
// in sum, too, however short the failure. A few failures are none: less than a
// tenth of the budget of a second is not lent.
func (b *budget) lend(second uint32, retries int64) {
	last := b.empty.Load()
	if !b.repays || last == uint64(second)+1 {
		return
	}
	before := &b.slots[(second-1)%uint32(len(b.slots))]
	earned, used := b.ratio*float64(before.requests.of(second-1)), before.retries.of(second-1)
	if retries += used; float64(retries) < earned/10 || !b.empty.CompareAndSwap(last, uint64(second)+1) {
		return
	}
	goesOn := last == uint64(second) && float64(used) > earned/2
	if loan := b.loan.Load(); !goesOn && (loan == 0 || second-uint32(loan>>32) > 2) {
		b.loan.Store(uint64(second)<<32 | uint64(uint32(retries)))
	}
}
