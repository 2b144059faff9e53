// Package horizon learns how long an upstream keeps an idle connection, from
// nothing but the ages at which it closed them, and says how long one may be
// idle and still be used.
//
// Proxies that reuse a connection while the upstream is closing it are the
// usual cause of sporadic 502 and 503, and people are told to compare two
// time-outs by hand. Here the lower end of the observed ages is the time-out:
// connections are retired well before it. A time-out that grew is learned too,
// because retired connections go on being watched (but not used) until they
// close, so the evidence does not stop with the use.
//
// The core is pure: no clock, no lock, bounded memory.
package horizon

import (
	"math"
	"time"
)

const (
	perDoubling = 8                     // buckets for a factor of two in age: 9 % wide
	numBuckets  = 17*perDoubling + 1    // up to an hour and a half, and beyond
	beyond      = numBuckets - 1        // survived, or longer than anyone keeps a connection
	lowest      = 50 * time.Millisecond // upper end of bucket 0

	// An observation weighs unit at first. When the sum reaches full, or a quarter
	// of that and the last time is an hour ago, all weights are halved:
	// four halvings without another such observation, and it is forgotten.
	unit    = 8
	full    = 2048 * unit
	some    = full / 4
	halving = time.Hour
	// The weight that must lie within a factor of two above the lowest age: at
	// least enough, three observations, and one in rare of all. A single early
	// close (a restart, a lost packet) decides nothing, a spread of time-outs is
	// followed to its lower end.
	enough = 3 * unit
	rare   = 128

	// share of the lowest closing age that is used, and what is taken off for
	// the way to the upstream and back.
	share  = 0.8
	margin = 50 * time.Millisecond
)

// Horizon is what is known of one upstream. The zero value knows nothing. It
// is not safe for concurrent use.
type Horizon struct {
	weights [numBuckets]uint16
	sum     int
	halved  time.Time
	limit   time.Duration // 0: unknown
	seen    int
}

// Closed notes that the upstream closed a connection that had been idle for
// age. Where the moment is not known exactly, age is the last at which the
// connection was seen open: too low is safe, too high is not.
func (h *Horizon) Closed(age time.Duration, now time.Time) { h.note(bucket(age), now) }

// Survived notes that a connection was retired by age before the upstream
// closed it.
func (h *Horizon) Survived(now time.Time) { h.note(beyond, now) }

// Limit is how long a connection may be idle and still be used; ok is false
// while nothing speaks for a limit.
func (h *Horizon) Limit() (limit time.Duration, ok bool) { return h.limit, h.limit > 0 }

// Observations is the number of notes ever taken.
func (h *Horizon) Observations() int { return h.seen }

func (h *Horizon) note(b int, now time.Time) {
	if h.halved.IsZero() {
		h.halved = now
	}
	h.weights[b] += unit
	h.sum += unit
	h.seen++
	if h.sum >= full || h.sum >= some && now.Sub(h.halved) >= halving {
		h.halve(now)
	}
	h.limit = h.judge()
}

func (h *Horizon) halve(now time.Time) {
	h.halved, h.sum = now, 0
	for i := range h.weights {
		h.weights[i] /= 2
		h.sum += int(h.weights[i])
	}
}

// judge finds the lowest age with enough weight within the doubling above it.
func (h *Horizon) judge() time.Duration {
	need := max(enough, h.sum/rare)
	for i, w := range h.weights {
		if w == 0 {
			continue
		}
		near := 0
		for _, w := range h.weights[i:min(i+perDoubling+1, numBuckets)] {
			near += int(w)
		}
		if near < need {
			continue
		}
		if i == beyond {
			return 0
		}
		return retire(floor(i))
	}
	return h.limit // too little is left to know better
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
	return min(i, beyond)
}

// floor is the lower end of bucket i.
func floor(i int) time.Duration {
	if i == 0 {
		return lowest / 2
	}
	return time.Duration(float64(lowest) * math.Exp2(float64(i-1)/perDoubling))
}
