package endpoint

import (
	"math"
	"time"
)

// SlowStart raises the share of an endpoint that is new, or was out, over a
// time: caches are cold and connections are not there yet. The zero value: it
// has its whole share at once.
type SlowStart struct {
	Window time.Duration
	Least  float64 // the share it begins with, more than 0
	// Aggression bends the way from there to 1: 1 is straight, more than that
	// rises early, less late. 0 is 1.
	Aggression float64
}

// Begin makes the endpoint one that has just come.
func (e *Endpoint) Begin(now time.Time) { e.rise.Store(int64(max(now.Sub(e.born), 1))) }

// Share is the part of its share that the endpoint has by now: up to 1.
func (s *SlowStart) Share(e *Endpoint, now time.Time) float64 {
	began := time.Duration(e.rise.Load())
	if began == 0 || s.Window <= 0 {
		return 1
	}
	age := now.Sub(e.born) - began
	if age >= s.Window {
		return 1
	}
	part := float64(max(age, 0)) / float64(s.Window)
	if s.Aggression > 0 && s.Aggression != 1 {
		part = math.Pow(part, 1/s.Aggression)
	}
	return max(part, s.Least)
}

// Rises is the share that the endpoint has by now in the sets of s.
func (s *Set) Rises(e *Endpoint, now time.Time) float64 { return s.layout.SlowStart.Share(e, now) }

// Takes tells whether an endpoint that was drawn takes the request: one in slow
// start leaves as many draws to others as its share is below 1. point is what
// chance, or the key of the request, says, evenly over all numbers.
func (s *Set) Takes(e *Endpoint, now time.Time, point uint64) bool {
	return s.layout.SlowStart.Window <= 0 || e.rise.Load() == 0 ||
		float64(point>>11)/(1<<53) < s.layout.SlowStart.Share(e, now)
}

// Slow tells whether there is a slow start at all.
func (s *Set) Slow() bool { return s.layout.SlowStart.Window > 0 }
