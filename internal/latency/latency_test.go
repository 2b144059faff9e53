package latency

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// TestBuckets: each duration lies in a bucket whose upper bound is not below it
// and at most an eighth above, and bounds grow.
func TestBuckets(t *testing.T) {
	for b := 1; b < buckets; b++ {
		if upper(b) <= upper(b-1) {
			t.Fatalf("bucket %d ends at %v, the one before at %v", b, upper(b), upper(b-1))
		}
	}
	for d := time.Microsecond; d < 4*time.Minute; d += d/50 + time.Microsecond {
		u := upper(bucketOf(d))
		if u < d || u > d+d/8+2*time.Microsecond {
			t.Fatalf("%v counts as %v", d, u)
		}
	}
	for _, d := range []time.Duration{-1, 0, time.Hour, 1<<63 - 1} {
		if b := bucketOf(d); b < 0 || b >= buckets {
			t.Errorf("%v is in bucket %d", d, b)
		}
	}
}

func TestQuantile(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	w := New(10*time.Second, start)
	if d, n := w.Quantile(0.5, start); d != 0 || n != 0 {
		t.Errorf("of nothing: %v, %d", d, n)
	}
	var all []time.Duration
	for i := range 10_000 {
		d := time.Duration(r.ExpFloat64() * float64(20*time.Millisecond))
		all = append(all, d)
		w.Observe(d, start.Add(time.Duration(i)*time.Millisecond/2))
	}
	slices.Sort(all)
	for _, q := range []float64{0, 0.5, 0.9, 0.95, 0.99, 1} {
		exact := all[min(int(q*float64(len(all))), len(all)-1)]
		got, n := w.Quantile(q, start.Add(5*time.Second))
		if n != 10_000 || got < exact || got > exact+exact/7+2*time.Microsecond {
			t.Errorf("quantile %v of %d is %v, want %v", q, n, got, exact)
		}
	}
}

// TestForgets: what is older than the window does not count.
func TestForgets(t *testing.T) {
	w := New(10*time.Second, start)
	for range 100 {
		w.Observe(time.Second, start)
	}
	w.Observe(time.Millisecond, start.Add(9*time.Second))
	if d, n := w.Quantile(0.5, start.Add(9*time.Second)); n != 101 || d < time.Second {
		t.Errorf("within the window: %v of %d", d, n)
	}
	if d, n := w.Quantile(0.5, start.Add(15*time.Second)); n != 1 || d > 2*time.Millisecond {
		t.Errorf("after it: %v of %d", d, n)
	}
	if _, n := w.Quantile(0.5, start.Add(time.Hour)); n != 0 {
		t.Errorf("much later: %d", n)
	}
}

func TestRecentIsCached(t *testing.T) {
	w := New(time.Minute, start)
	w.Observe(time.Second, start)
	if _, n := w.Recent(0.5, start); n != 1 {
		t.Error(n)
	}
	for range cachedFrom - 1 {
		w.Observe(time.Second, start)
	}
	first, n := w.Recent(0.5, start)
	if n != cachedFrom {
		t.Errorf("%d known, want %d: few are not cached", n, cachedFrom)
	}
	for range 2 * cachedFrom {
		w.Observe(time.Microsecond, start)
	}
	if d, _ := w.Recent(0.5, start.Add(cachedFor/2)); d != first {
		t.Error("not cached")
	}
	if d, n := w.Recent(0.5, start.Add(cachedFor)); d == first || n != 3*cachedFrom {
		t.Errorf("cached for ever: %v of %d", d, n)
	}
}

func TestManyObserve(t *testing.T) {
	w := New(time.Minute, start)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 1000 {
				w.Observe(time.Duration(i)*time.Microsecond, start.Add(time.Second))
			}
		})
	}
	all.Wait()
	if _, n := w.Quantile(0.5, start.Add(time.Second)); n < 7990 || n > 8000 { // the first observations may meet the emptying
		t.Errorf("%d of 8000", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	w, now := New(time.Minute, start), start
	b.ReportAllocs()
	for b.Loop() {
		w.Observe(3*time.Millisecond, now)
	}
}
