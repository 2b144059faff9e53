// Package backoff says how long to wait before the next try. It owns neither
// clock nor chance: the caller hands in a random number and does the waiting.
package backoff

import "time"

// Exponential doubles the upper bound of a wait from Base to Max.
type Exponential struct {
	Base, Max time.Duration // Max 0: no bound but the largest Duration
}

// Bound is the upper bound of wait n, counted from 1.
func (e Exponential) Bound(n int) time.Duration {
	bound, limit := e.Base, e.Max
	if limit <= 0 {
		limit = 1<<63 - 1
	}
	for ; n > 1 && bound < limit; n-- {
		if bound > limit/2 {
			return limit
		}
		bound *= 2
	}
	return min(bound, limit)
}

// Full is wait n with full jitter: anything from 0 to the bound, so that many
// callers who failed together do not come back together.
func (e Exponential) Full(n int, random uint64) time.Duration {
	bound := e.Bound(n)
	if bound <= 0 {
		return 0
	}
	return time.Duration(random % (uint64(bound) + 1))
}

// Around is d, up to share (0 to 1) of it more or less: for periods that many
// have in common.
func Around(d time.Duration, share float64, random uint64) time.Duration {
	unit := float64(random>>11) / (1 << 53) // 0 to 1
	return d + time.Duration(float64(d)*share*(2*unit-1))
}
