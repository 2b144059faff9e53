package gradient

import (
	"math/rand/v2"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// service takes 10 ms for a request as long as no more than capacity are under
// way; beyond that they share it.
type service struct {
	capacity int
	took     time.Duration
	r        *rand.Rand
}

func (s *service) serve(underway int) time.Duration {
	d := s.took
	if underway > s.capacity {
		d = d * time.Duration(underway) / time.Duration(s.capacity)
	}
	return time.Duration(float64(d) * (0.9 + 0.2*s.r.Float64()))
}

// run offers load requests at a time for a while; what is over the limit is
// refused. It returns the limits once a second.
func run(l *Limiter, s *service, load int, from time.Time, d time.Duration) (limits []int64, now time.Time) {
	now = from
	for second := now; now.Before(from.Add(d)); {
		underway := min(int64(load), l.Limit())
		took := s.serve(int(underway))
		now = now.Add(took / time.Duration(underway))
		l.Observe(took, now)
		if now.Sub(second) >= time.Second {
			second = now
			limits = append(limits, l.Limit())
		}
	}
	return limits, now
}

func newLimiter() *Limiter {
	return New(Config{Min: 3, Max: 1000, Tolerance: 0.25, Probe: 30 * time.Second, Random: func() float64 { return 0.5 }}, start)
}

// TestFindsTheCapacity of a service under ten times its load, and finds it again
// when that changes.
func TestFindsTheCapacity(t *testing.T) {
	s := &service{capacity: 50, took: 10 * time.Millisecond, r: rand.New(rand.NewPCG(1, 2))}
	l := newLimiter()
	limits, now := run(l, s, 500, start, 60*time.Second)
	within := func(limits []int64, low, high int64) {
		t.Helper()
		outside := 0
		for _, limit := range limits {
			if limit < low || limit > high {
				outside++
			}
		}
		if outside > 2 { // the moments of a probe
			t.Errorf("%d of %d limits are not from %d to %d: %v", outside, len(limits), low, high, limits)
		}
	}
	within(limits[5:], 45, 110)
	s.capacity = 10
	limits, now = run(l, s, 500, now, 60*time.Second)
	within(limits[35:], 9, 30)
	s.capacity = 200
	limits, _ = run(l, s, 500, now, 60*time.Second)
	within(limits[35:], 180, 400)
}

// TestStaysQuiet: a service that is not loaded is not limited, whatever its
// responses take, as long as that does not depend on how many there are.
func TestStaysQuiet(t *testing.T) {
	for _, took := range []time.Duration{time.Millisecond, 300 * time.Millisecond} {
		s := &service{capacity: 1000, took: took, r: rand.New(rand.NewPCG(3, 4))}
		l := newLimiter()
		_, now := run(l, s, 20, start, 3*time.Second) // the first probe
		low := 0
		limits, _ := run(l, s, 20, now, 120*time.Second)
		for _, limit := range limits {
			if limit < 20 {
				low++
			}
		}
		if low > 0 {
			t.Errorf("%v: the limit was below the load of 20 in %d of %d seconds: %v", took, low, len(limits), limits)
		}
	}
}

// TestBounds are never left.
func TestBounds(t *testing.T) {
	l := New(Config{Min: 5, Max: 8, Tolerance: 0.25, Probe: time.Second}, start)
	r := rand.New(rand.NewPCG(5, 6))
	now := start
	for range 100_000 {
		now = now.Add(time.Millisecond)
		l.Observe(time.Duration(r.Int64N(int64(time.Second))), now)
		if n := l.Limit(); n < 5 || n > 8 {
			t.Fatal(n)
		}
	}
}
