// Package horizon learns how long an upstream keeps an idle connection, from
// nothing but what became of idle connections, and says how long one may be
// idle and still be used.
//
// Proxies that reuse a connection while the upstream is closing it are the
// usual cause of sporadic 502 and 503, and people are told to compare two
// time-outs by hand. Here the lowest age at which a noticeable share of the
// connections is closed counts as the time-out, and connections are retired
// well before it. A time-out that became longer is learned too, provided that
// the owner goes on watching connections that it does not use any more until
// they are closed.
//
// The core is pure: no clock, no lock, bounded memory.
package horizon

import (
	"math"
	"time"
)

const (
	perDoubling = 8  // buckets for a factor of two in age: 9 % wide
	numOctaves  = 16 // from lowest to almost two hours
	numBuckets  = numOctaves*perDoubling + 1
	lowest      = 100 * time.Millisecond // upper end of bucket 0

	// halfLife is the time in which what was observed loses half its weight,
	// and decayEvery the step in which that is reckoned. What weighs less than
	// forgotten is no evidence any more.
	halfLife   = time.Hour
	decayEvery = 5 * time.Minute
	forgotten  = 0.1

	// An age is one at which the upstream closes when the closes there and
	// within a factor of two above weigh enough (three recent ones), and are
	// not rare among the idle times that reached this age: one in rare. So a
	// single early close decides nothing (a restart, a lost packet), a spread of
	// time-outs is followed to its lower end, and much reuse without harm
	// speaks against a limit.
	enough = 2.5
	rare   = 128

	// share of the lowest closing age that is used, and what is taken off for
	// the way to the upstream and back.
	share  = 0.8
	margin = 50 * time.Millisecond
)

// Horizon is what is known of one upstream. The zero value knows nothing. It
// is not safe for concurrent use.
type Horizon struct {
	closed  [numBuckets]float32     // closes by age
	passed  [numOctaves + 1]float32 // idle times that ended without a close, by age; the last: longer than anyone waited
	decayed time.Time
	limit   time.Duration // 0: none
}

// Closed notes that the upstream closed a connection that had been idle for
// age. Where the moment is not known exactly, age is the last at which the
// connection was seen open: too low is safe, too high is not.
func (h *Horizon) Closed(age time.Duration, now time.Time) {
	h.decay(now)
	h.closed[bucket(age)]++
	h.limit = h.judge()
}

// Reused notes that a connection that had been idle for age was found
// open and used.
func (h *Horizon) Reused(age time.Duration, now time.Time) {
	h.decay(now)
	h.passed[bucket(age)/perDoubling]++
}

// Survived notes that a connection was retired by age before the upstream
// closed it: nobody knows how long it would have lived.
func (h *Horizon) Survived(now time.Time) {
	h.decay(now)
	h.passed[numOctaves]++
	h.limit = h.judge()
}

// Limit is how long a connection may be idle and still be used; ok is false
// while nothing speaks for a limit.
func (h *Horizon) Limit() (limit time.Duration, ok bool) { return h.limit, h.limit > 0 }

func (h *Horizon) decay(now time.Time) {
	if h.decayed.IsZero() {
		h.decayed = now
	}
	elapsed := now.Sub(h.decayed)
	if elapsed < decayEvery {
		return
	}
	h.decayed = now
	keep := float32(math.Exp2(-float64(elapsed) / float64(halfLife)))
	for i := range h.closed {
		h.closed[i] *= keep
	}
	for i := range h.passed {
		h.passed[i] *= keep
	}
}

// judge finds the lowest age at which the upstream closes.
func (h *Horizon) judge() time.Duration {
	for i, w := range h.closed {
		if w < forgotten {
			continue
		}
		near := sum(h.closed[i:min(i+perDoubling+1, numBuckets)])
		reached := sum(h.closed[i:]) + sum(h.passed[min(i/perDoubling+1, numOctaves):])
		if near >= enough && near >= reached/rare {
			return retire(floor(i))
		}
	}
	if h.passed[numOctaves] >= enough {
		return 0
	}
	return h.limit // there is too little to know better
}

func sum(weights []float32) (total float32) {
	for _, w := range weights {
		total += w
	}
	return total
}

// retire is the age at which to stop using connections that close at age.
func retire(age time.Duration) time.Duration {
	return max(time.Duration(float64(age)*share)-margin, age/2)
}

// bucket is the bucket of an age: i holds (lowest*2^((i-1)/8), lowest*2^(i/8)].
func bucket(age time.Duration) int {
	if age <= lowest {
		return 0
	}
	i := int(math.Ceil(perDoubling * math.Log2(float64(age)/float64(lowest))))
	return min(i, numBuckets-1)
}

// floor is the lower end of bucket i.
func floor(i int) time.Duration {
	if i == 0 {
		return lowest / 2
	}
	return time.Duration(float64(lowest) * math.Exp2(float64(i-1)/perDoubling))
}
