package histogram

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestObserve(t *testing.T) {
	for _, c := range []struct {
		d     time.Duration
		fixed int
		zero  bool
	}{
		{-time.Second, 0, true},
		{0, 0, true},
		{900 * time.Nanosecond, 0, true},
		{time.Microsecond, 0, false},
		{100 * time.Microsecond, 0, false},
		{100*time.Microsecond + 1, 1, false},
		{time.Second, 12, false},
		{61 * time.Second, len(Bounds), false},
		{1000 * time.Hour, len(Bounds), false},
	} {
		var h Durations
		h.Observe(c.d)
		if h.Count != 1 || h.Fixed[c.fixed] != 1 || (h.Zero == 1) != c.zero {
			t.Errorf("%v: count %d, fixed %v, zero %d", c.d, h.Count, h.Fixed, h.Zero)
		}
	}
}

// TestNativeBounds checks every bucket against its definition: bucket i holds
// base^(i-1) < v <= base^i.
func TestNativeBounds(t *testing.T) {
	base := math.Pow(2, 1.0/parts)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		d := time.Duration(math.Exp(rng.Float64()*math.Log(1e14-2e3)) + 1e3)
		v := d.Seconds()
		i := index(v)
		low, high := math.Pow(base, float64(i-1)), math.Pow(base, float64(i))
		if v <= low*(1-1e-12) || v > high*(1+1e-12) {
			t.Fatalf("%v is in bucket %d (%g, %g]", d, i, low, high)
		}
	}
	for exponent := lowest + 1; exponent <= highest; exponent++ { // powers of two are upper bounds
		if got := index(math.Ldexp(1, exponent)); got != exponent*parts {
			t.Errorf("2^%d is in bucket %d, want %d", exponent, got, exponent*parts)
		}
	}
}

func TestAdd(t *testing.T) {
	var a, b, both Durations
	for i := range 1000 {
		d := time.Duration(i*i) * time.Microsecond
		if i%3 == 0 {
			a.Observe(d)
		} else {
			b.Observe(d)
		}
		both.Observe(d)
	}
	a.Add(&b)
	if math.Abs(a.Sum-both.Sum) > 1e-9*both.Sum {
		t.Errorf("sum %v, want %v", a.Sum, both.Sum)
	}
	if a.Count != both.Count || a.Zero != both.Zero || a.Fixed != both.Fixed {
		t.Error("the sum of two histograms differs from one that saw everything")
	}
	inNative := a.Zero
	for i := range NumNative {
		if a.Native(i) != both.Native(i) {
			t.Errorf("bucket %d has %d, want %d", i, a.Native(i), both.Native(i))
		}
		inNative += a.Native(i)
	}
	if inNative != a.Count {
		t.Errorf("the native buckets hold %d of %d", inNative, a.Count)
	}
}

func BenchmarkObserve(b *testing.B) {
	var h Durations
	for b.Loop() {
		h.Observe(1234567)
	}
}
