package endpoint

import (
	"math"
	"time"
)

// Busy is what the endpoints of a set that may be picked have under way, and
// the sum of their weights. Small sets are counted each time. A large one is
// counted again after a time that grows with it, so that counting stays below a
// hundredth of the work: among many endpoints the sum moves slowly.
func (s *Set) Busy(now time.Time) (inFlight int64, weight uint64) {
	if len(s.picked) <= countAlways {
		return s.count(now)
	}
	if b := s.busy.Load(); b != nil {
		if age := now.Sub(b.at); age >= 0 && age < time.Duration(len(s.picked))*countEvery {
			return b.inFlight, b.weight
		}
	}
	b := &busy{at: now}
	b.inFlight, b.weight = s.count(now)
	s.busy.Store(b)
	return b.inFlight, b.weight
}

const (
	countAlways = 32
	countEvery  = time.Microsecond // for each endpoint; counting it takes some nanoseconds
)

type busy struct {
	at       time.Time
	inFlight int64
	weight   uint64
}

func (s *Set) count(now time.Time) (inFlight int64, weight uint64) {
	for i, e := range s.picked {
		if s.May(e, now) {
			inFlight += e.inFlight.Load()
			weight += uint64(s.weights[i])
		}
	}
	return inFlight, weight
}

// leastRoom is what every endpoint may have under way, whatever its part: two
// requests at a time are no reason to send a key elsewhere when little else is
// under way.
const leastRoom = 4

// Room is how many requests endpoint i may have under way when none is to have
// more than bound times its part of them all, one more included.
func (s *Set) Room(i int, bound float64, inFlight int64, weight uint64) int64 {
	if weight == 0 {
		return math.MaxInt64
	}
	return max(leastRoom, int64(math.Ceil(bound*float64(inFlight+1)*float64(s.weights[i])/float64(weight))))
}
