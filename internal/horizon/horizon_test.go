package horizon

import (
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// clock hands out times 15 seconds apart: two watched connections that close
// after 30 seconds on average.
type clock struct{ now time.Time }

func (c *clock) tick() time.Time { c.now = c.now.Add(15 * time.Second); return c.now }

func TestLearnsAFixedTimeout(t *testing.T) {
	for timeout := 110 * time.Millisecond; timeout < time.Hour; timeout = timeout * 13 / 10 {
		var h Horizon
		c := clock{start}
		for range 2 {
			h.Closed(timeout, c.tick())
			if _, ok := h.Limit(); ok {
				t.Fatalf("%v: fewer than three closes decided", timeout)
			}
		}
		h.Closed(timeout, c.tick())
		limit, ok := h.Limit()
		if !ok || limit >= timeout*81/100 || limit < timeout*2/5 {
			t.Errorf("%v: limit %v (%v), want between two and four fifths", timeout, limit, ok)
		}
	}
}

func TestFollowsTheLowerEndOfASpread(t *testing.T) {
	for seed := range uint64(20) {
		r, h, c := rand.New(rand.NewPCG(seed, 0)), Horizon{}, clock{start}
		age := func() time.Duration { return time.Second + time.Duration(r.Int64N(int64(59*time.Second))) }
		for range 1000 {
			h.Closed(age(), c.tick())
		}
		for range 20_000 {
			h.Closed(age(), c.tick())
			if limit, ok := h.Limit(); !ok || limit > 1500*time.Millisecond || limit < 500*time.Millisecond {
				t.Fatalf("seed %d: limit %v (%v), want near the lowest of 1 s", seed, limit, ok)
			}
		}
	}
}

func TestQuiet(t *testing.T) {
	t.Run("nothing closes", func(t *testing.T) {
		var h Horizon
		c := clock{start}
		for range 10_000 {
			h.Survived(c.tick())
			if limit, ok := h.Limit(); ok {
				t.Fatalf("limit %v out of nothing", limit)
			}
		}
	})
	t.Run("harmless reuse speaks against it", func(t *testing.T) {
		var h Horizon
		c := clock{start}
		for i := range 100_000 {
			h.Reused(time.Duration(i%60)*time.Second, c.tick())
			if i%1000 == 7 {
				h.Closed(500*time.Millisecond, c.tick())
			}
			if limit, ok := h.Limit(); ok {
				t.Fatalf("note %d: limit %v", i, limit)
			}
		}
	})
	t.Run("a rare early close", func(t *testing.T) {
		var h Horizon
		c := clock{start}
		for i := range 10_000 {
			if i%300 == 7 {
				h.Closed(time.Duration(1+i%50)*time.Second/10, c.tick())
			}
			h.Closed(30*time.Second, c.tick())
			if limit, ok := h.Limit(); ok && limit < 20*time.Second {
				t.Fatalf("note %d: one early close brought the limit to %v", i, limit)
			}
		}
	})
}

func TestFollowsChanges(t *testing.T) {
	var h Horizon
	c := clock{start}
	learn := func(n int, note func()) time.Duration {
		for range n {
			note()
		}
		limit, _ := h.Limit()
		return limit
	}
	closed := func(age time.Duration) func() { return func() { h.Closed(age, c.tick()) } }
	if l := learn(100, closed(60*time.Second)); l < 40*time.Second || l > 48*time.Second {
		t.Fatalf("limit %v for 60 s", l)
	}
	if l := learn(3, closed(5*time.Second)); l > 4*time.Second {
		t.Fatalf("limit %v after three closes at 5 s", l)
	}
	learn(97, closed(5*time.Second))
	if l := learn(240, closed(60*time.Second)); l > 4*time.Second {
		t.Fatalf("limit %v: an hour is too soon to forget", l)
	}
	if l := learn(12*240, closed(60*time.Second)); l < 40*time.Second {
		t.Fatalf("limit %v twelve hours after the change back to 60 s", l)
	}
	if l := learn(24*240, func() { h.Survived(c.tick()) }); l != 0 {
		t.Fatalf("limit %v although nothing closes any more", l)
	}
}

func TestKeepsWhatItKnowsWithoutEvidence(t *testing.T) {
	var h Horizon
	for range 3 {
		h.Closed(10*time.Second, start)
	}
	before, _ := h.Limit()
	h.Closed(10*time.Minute, start.Add(1000*time.Hour))
	if after, ok := h.Limit(); !ok || after != before {
		t.Errorf("limit %v became %v (%v)", before, after, ok)
	}
}

func TestBuckets(t *testing.T) {
	for age := time.Millisecond; age < 2*time.Hour; age = age*101/100 + 1 {
		b := bucket(age)
		if b > 0 && floor(b) > age || b > 0 && b < numBuckets-1 && floor(b+1) < age-1 {
			t.Fatalf("%v is in bucket %d, %v to %v", age, b, floor(b), floor(b+1))
		}
	}
	for _, age := range []time.Duration{-time.Hour, 0, 1 << 62} {
		var h Horizon
		h.Closed(age, start)
		h.Reused(age, start)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	if size := unsafe.Sizeof(Horizon{}); size > 700 {
		t.Errorf("%d bytes per endpoint", size)
	}
}

func BenchmarkClosed(b *testing.B) {
	var h Horizon
	for b.Loop() {
		h.Closed(30*time.Second, start)
	}
}
