// Package histogram counts durations in fixed buckets and in exponential ones
// at once: the classic and the native histogram of Prometheus. It knows the
// arithmetic only; what serves it to a scrape stands elsewhere.
package histogram

import (
	"math"
	"time"
)

// Bounds are the upper bounds of the fixed buckets, inclusive: from what a
// proxy adds to what a patient client bears. The last bucket has no bound.
var Bounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
	30 * time.Second, 60 * time.Second,
}

// The exponential buckets: each power of two is divided into 2^Schema parts, so
// that a bucket is 9 % wide.
const (
	Schema = 3
	parts  = 1 << Schema

	// First is the index of the lowest bucket, in the numbering of Prometheus:
	// bucket i holds base^(i-1) < v <= base^i with base = 2^(1/parts).
	First = lowest*parts + 1
	// NumNative is the number of exponential buckets.
	NumNative = (highest - lowest) * parts

	lowest  = -20 // 2^-20 s is 0.95 us; what is shorter counts as zero
	highest = 17  // 2^17 s is 36 hours; what is longer counts there
)

// ZeroThreshold is the longest duration, in seconds, that counts as zero.
const ZeroThreshold = 1.0 / (1 << -lowest)

// fractions are the bounds within a power of two: 2^(i/parts - 1).
var fractions = [parts]float64{
	0.5, 0.5452538663326288, 0.5946035575013605, 0.6484197773255048,
	0.7071067811865475, 0.7711054127039704, 0.8408964152537144, 0.9170040432046711,
}

// Durations is one histogram. The zero value is empty. It is not safe for
// concurrent use.
type Durations struct {
	Count uint64
	Sum   float64 // seconds
	Zero  uint64
	// Fixed counts each bucket by itself; the last is what is above Bounds.
	Fixed [len(Bounds) + 1]uint64

	// native has the exponential buckets by powers of two. One is made when it
	// is first needed: durations of one route fall into five or ten of them.
	native [highest - lowest]*[parts]uint64
}

// Native is the count of exponential bucket First+i, i below NumNative.
func (h *Durations) Native(i int) uint64 {
	if octave := h.native[i/parts]; octave != nil {
		return octave[i%parts]
	}
	return 0
}

func (h *Durations) addNative(i int, n uint64) {
	octave := h.native[i/parts]
	if octave == nil {
		octave = new([parts]uint64)
		h.native[i/parts] = octave
	}
	octave[i%parts] += n
}

// Observe counts d; a negative duration counts as zero.
func (h *Durations) Observe(d time.Duration) {
	d = max(d, 0)
	seconds := float64(d) / 1e9
	h.Count++
	h.Sum += seconds
	fixed := 0
	for fixed < len(Bounds) && d > Bounds[fixed] {
		fixed++
	}
	h.Fixed[fixed]++
	if seconds <= ZeroThreshold {
		h.Zero++
		return
	}
	h.addNative(min(index(seconds)-First, NumNative-1), 1)
}

// index is the bucket of v > 0 in the numbering of Prometheus.
func index(v float64) int {
	fraction, exponent := math.Frexp(v)
	low := 0 // the first bound that is not below fraction, or parts
	if fractions[parts/2] < fraction {
		low = parts/2 + 1
	}
	for low < parts && fractions[low] < fraction {
		low++
	}
	return low + (exponent-1)*parts
}

// Add counts what other has counted.
func (h *Durations) Add(other *Durations) {
	h.Count += other.Count
	h.Sum += other.Sum
	h.Zero += other.Zero
	for i, n := range &other.Fixed {
		h.Fixed[i] += n
	}
	for at, octave := range &other.native {
		if octave == nil {
			continue
		}
		for i, n := range octave {
			h.addNative(at*parts+i, n)
		}
	}
}
