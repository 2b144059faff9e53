// Package latency knows how long things took lately: a quantile of the
// durations of the last seconds, in memory that does not grow with them. Many
// goroutines observe without a lock.
package latency

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// Buckets are logarithmic: each power of two of microseconds has eight, so that
// a quantile is at most 12.5 % above the duration that it stands for.
const (
	parts   = 8
	octaves = 28 // up to 2^28 us, four and a half minutes; what is longer counts there
	buckets = octaves * parts
)

// slots is into how many parts a Window is divided: each part is forgotten as a
// whole.
const slots = 6

// Window holds the durations of the last while. Make one with New.
type Window struct {
	born  time.Time // the time of slots counts from here
	slot  time.Duration
	parts [slots]part

	cache atomic.Pointer[cached]
}

type part struct {
	turn   atomic.Int64 // which one of its slot this is
	mu     sync.Mutex   // of whoever turns it
	counts [buckets]atomic.Uint32
}

type cached struct {
	at       time.Time
	quantile float64
	value    time.Duration
	count    int64
}

// New makes a Window over a length of time, which is exact to a sixth of it.
func New(length time.Duration, now time.Time) *Window {
	w := &Window{born: now, slot: max(length/(slots-1), time.Millisecond)}
	for i := range w.parts {
		w.parts[i].turn.Store(-1)
	}
	return w
}

// Observe adds one duration that ended now.
func (w *Window) Observe(d time.Duration, now time.Time) {
	turn := w.turn(now)
	p := &w.parts[turn%slots]
	if p.turn.Load() != turn {
		p.begin(turn)
	}
	p.counts[bucketOf(d)].Add(1)
}

func (w *Window) turn(now time.Time) int64 { return max(int64(now.Sub(w.born)/w.slot), 0) }

// begin empties the part for a new turn. What others count meanwhile may be
// lost, which is a few of many.
func (p *part) begin(turn int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.turn.Load() >= turn {
		return
	}
	for i := range p.counts {
		p.counts[i].Store(0)
	}
	p.turn.Store(turn)
}

// Quantile is the duration that a share q (0 to 1) of the last ones did not
// exceed, and how many there were.
func (w *Window) Quantile(q float64, now time.Time) (d time.Duration, count int64) {
	var sums [buckets]int64
	turn := w.turn(now)
	for i := range w.parts {
		p := &w.parts[i]
		if at := p.turn.Load(); at < 0 || at <= turn-slots || at > turn {
			continue
		}
		for b := range p.counts {
			n := int64(p.counts[b].Load())
			sums[b] += n
			count += n
		}
	}
	if count == 0 {
		return 0, 0
	}
	rank, seen := int64(q*float64(count)), int64(0)
	for b, n := range sums {
		if seen += n; n > 0 && seen > rank || seen == count {
			return upper(b), count
		}
	}
	return upper(buckets - 1), count
}

// cachedFor is how long Recent repeats itself, once it knows cachedFrom
// durations: before, each one says something new.
const (
	cachedFor  = 100 * time.Millisecond
	cachedFrom = 100
)

// Recent is Quantile, computed at most ten times a second: for the path of a
// request. It is good for one q for each Window.
func (w *Window) Recent(q float64, now time.Time) (d time.Duration, count int64) {
	c := w.cache.Load()
	if c != nil && c.quantile == q && c.count >= cachedFrom && now.Sub(c.at) < cachedFor {
		return c.value, c.count
	}
	next := &cached{at: now, quantile: q}
	next.value, next.count = w.Quantile(q, now)
	w.cache.CompareAndSwap(c, next)
	return next.value, next.count
}

// bucketOf is the bucket of a duration: the octave of its microseconds and the
// three bits behind the first.
func bucketOf(d time.Duration) int {
	us := uint64(max(d/time.Microsecond, 0))
	if us < parts {
		return int(us)
	}
	top := bits.Len64(us) - 1 // at least 3
	return min((top-2)*parts+int(us>>(top-3)&(parts-1)), buckets-1)
}

// upper is the longest duration of a bucket.
func upper(b int) time.Duration {
	if b < parts {
		return time.Duration(b+1) * time.Microsecond
	}
	top := b/parts + 2
	return time.Duration(uint64(parts+b%parts+1)<<(top-3)) * time.Microsecond
}
