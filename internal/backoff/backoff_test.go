package backoff

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestBound(t *testing.T) {
	cases := []struct {
		e    Exponential
		n    int
		want time.Duration
	}{
		{Exponential{25 * time.Millisecond, 250 * time.Millisecond}, 1, 25 * time.Millisecond},
		{Exponential{25 * time.Millisecond, 250 * time.Millisecond}, 2, 50 * time.Millisecond},
		{Exponential{25 * time.Millisecond, 250 * time.Millisecond}, 4, 200 * time.Millisecond},
		{Exponential{25 * time.Millisecond, 250 * time.Millisecond}, 5, 250 * time.Millisecond},
		{Exponential{25 * time.Millisecond, 250 * time.Millisecond}, math.MaxInt, 250 * time.Millisecond},
		{Exponential{time.Second, 0}, 200, math.MaxInt64},
		{Exponential{0, 0}, 5, 0},
		{Exponential{time.Second, 10 * time.Millisecond}, 1, 10 * time.Millisecond},
	}
	for _, c := range cases {
		if got := c.e.Bound(c.n); got != c.want {
			t.Errorf("%+v.Bound(%d) = %v, want %v", c.e, c.n, got, c.want)
		}
	}
}

func TestFullCoversTheRange(t *testing.T) {
	e, r := Exponential{8 * time.Millisecond, 0}, rand.New(rand.NewPCG(1, 2))
	low, high := time.Hour, time.Duration(-1)
	for range 10_000 {
		w := e.Full(2, r.Uint64())
		low, high = min(low, w), max(high, w)
	}
	if low < 0 || low > time.Millisecond || high > 16*time.Millisecond || high < 15*time.Millisecond {
		t.Errorf("waits from %v to %v, want 0 to 16ms", low, high)
	}
	if w := (Exponential{}).Full(1, 7); w != 0 {
		t.Errorf("without a base: %v, want 0", w)
	}
}

func TestAround(t *testing.T) {
	if low, high := Around(time.Second, .1, 0), Around(time.Second, .1, math.MaxUint64); low != 900*time.Millisecond || high < 1099*time.Millisecond || high > 1100*time.Millisecond {
		t.Errorf("from %v to %v, want 900ms to 1.1s", low, high)
	}
}
