package gcra

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"
)

func TestSetFillsTwoCacheLines(t *testing.T) {
	if size := unsafe.Sizeof(set{}); size != 128 {
		t.Errorf("a set takes %d bytes", size)
	}
}

// TestRate: one key alone gets its burst at once, then its rate, exactly.
func TestRate(t *testing.T) {
	for _, c := range []struct {
		count   int64
		per     time.Duration
		burst   int64
		seconds int
	}{{100, time.Second, 200, 30}, {1, time.Second, 1, 30}, {30, time.Minute, 5, 600}, {7, time.Second, 3, 100}, {1_000_000, time.Second, 10, 2}} {
		rate, err := NewRate(c.count, c.per, c.burst)
		if err != nil {
			t.Fatal(err)
		}
		table := New(64)
		allowed := int64(0)
		step := (int64(rate.Every) + 2) / 3 // three times the rate
		for now := int64(0); now < int64(c.seconds)*int64(time.Second); now += step {
			level, ok := table.Take(5, now, rate.Ceiling(now), int64(rate.Every))
			if ok {
				allowed++
			} else if wait := rate.Wait(level, now); wait <= 0 || wait > rate.Every {
				t.Fatalf("%+v: refused with a wait of %v", c, wait)
			}
		}
		want := c.burst + c.count*int64(c.seconds)*int64(time.Second)/int64(c.per)
		if d := allowed - want; d < -want/500-1 || d > want/500+1 {
			t.Errorf("%+v: %d events, want %d", c, allowed, want)
		}
	}
}

func TestRateRefuses(t *testing.T) {
	if _, err := NewRate(3e9, time.Second, 1); err == nil {
		t.Error("three events in a nanosecond are taken")
	}
	if _, err := NewRate(1, 24*time.Hour, 1e6); err == nil {
		t.Error("a burst of 2,700 years is taken")
	}
}

// reference has the exact level of every key.
type reference map[uint64]int64

func (r reference) take(key uint64, floor, ceiling, cost int64) bool {
	if level := max(r[key], floor); level+cost <= ceiling {
		r[key] = level + cost
		return true
	}
	return false
}

// TestNeverRefills: whatever keys come, in whatever order, the table never
// allows what exact levels of its own decisions would refuse.
func TestNeverRefills(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := New(ways * rapid.SampledFrom([]int{1, 2}).Draw(t, "sets"))
		exact := reference{}
		keys := rapid.Uint64Range(1, 30)
		now := int64(0)
		for range rapid.IntRange(1, 300).Draw(t, "events") {
			now += rapid.SampledFrom([]int64{0, 0, 0, 0, 0, 1, 2, 20}).Draw(t, "pause")
			key, cost := keys.Draw(t, "key"), rapid.Int64Range(1, 5).Draw(t, "cost")
			ceiling := now + rapid.Int64Range(5, 40).Draw(t, "tolerance")
			level, ok := table.Take(key, now, ceiling, cost)
			if ok && !exact.take(key, now, ceiling, cost) {
				t.Fatalf("key %d is allowed at %d, and its exact level is %d", key, now, exact[key])
			}
			if level < max(exact[key], now) {
				t.Fatalf("key %d has level %d, below its own %d", key, level, exact[key])
			}
		}
	})
}

// TestWindow: a count in a window is a level over a floor that jumps.
func TestWindow(t *testing.T) {
	table := New(ways)
	for window := range int64(3) {
		floor := window << 40
		for i := range 5 {
			if _, ok := table.Take(9, floor, floor+3, 1); ok != (i < 3) {
				t.Errorf("window %d, event %d: %v", window, i, ok)
			}
		}
	}
}

func TestForgetAndClear(t *testing.T) {
	table := New(1000)
	for key := uint64(1); key <= 100; key++ {
		table.Take(key, 0, 10, 10)
	}
	if n := table.Held(0); n != 100 {
		t.Errorf("%d keys are held", n)
	}
	if !table.Forget(7) || table.Forget(7) || table.Level(7, 0) != 0 || table.Level(8, 0) != 10 {
		t.Error("Forget does not forget one key")
	}
	table.Clear()
	if n := table.Held(0); n != 0 {
		t.Errorf("%d keys are held after Clear", n)
	}
}

// flood sends events of keys that come once each, in a random order, and of one
// heavy key between them, for as long as the keys last.
type flood struct {
	places       int
	count, burst int64 // per second
	keys         int   // that come once each
	perSecond    int   // of them
	heavy        int64 // how many times its rate the heavy key sends
}

func (f flood) run(t testing.TB) (heavy, due float64, refused int) {
	rate, err := NewRate(f.count, time.Second, f.burst)
	if err != nil {
		t.Fatal(err)
	}
	table, random := New(f.places), rand.New(rand.NewPCG(1, 2))
	const heavyKey = 0x9e3779b97f4a7c15
	step, heavyStep := int64(time.Second)/int64(f.perSecond), int64(rate.Every)/f.heavy
	now, heavyAt, got := int64(0), int64(0), 0
	for range f.keys {
		for ; heavyAt <= now; heavyAt += heavyStep {
			if _, ok := table.Take(heavyKey, heavyAt, rate.Ceiling(heavyAt), int64(rate.Every)); ok {
				got++
			}
		}
		if _, ok := table.Take(random.Uint64(), now, rate.Ceiling(now), int64(rate.Every)); !ok {
			refused++
		}
		now += step
	}
	seconds := float64(now) / float64(time.Second)
	return float64(got), float64(f.burst) + seconds*float64(f.count), refused
}

// TestMillionKeys: a million keys that come once do not refill the bucket of a
// heavy one, and are not refused for it, in memory that does not grow.
func TestMillionKeys(t *testing.T) {
	for _, f := range []flood{
		{places: 65536, count: 10, burst: 20, keys: 1e6, perSecond: 20000, heavy: 10},
		{places: 65536, count: 1, burst: 5, keys: 1e6, perSecond: 20000, heavy: 100},
		{places: 8192, count: 10, burst: 20, keys: 1e6, perSecond: 20000, heavy: 10},
	} {
		heavy, due, refused := f.run(t)
		t.Logf("%+v: the heavy key got %.0f of %.0f that are due to it, %d others were refused", f, heavy, due, refused)
		if heavy > due*1.001+1 || heavy < due*0.95 {
			t.Errorf("%+v: the heavy key got %.0f, and %.0f are due to it", f, heavy, due)
		}
		if refused > f.keys/1e5 {
			t.Errorf("%+v: %d keys that came once were refused", f, refused)
		}
	}
}

// TestFalseRefusals measures what docs/rate-limits.md says about tables that
// are too small: nothing is refused below places*rate, then a growing part.
func TestFalseRefusals(t *testing.T) {
	for _, load := range []struct {
		share float64 // of places*rate
		most  float64 // refused
	}{{0.5, 0}, {0.9, 0.001}, {1.5, 0.5}, {3, 0.8}} {
		f := flood{places: 8192, count: 1, burst: 5, keys: 400000, heavy: 10}
		f.perSecond = int(load.share * float64(New(f.places).Places()) * float64(f.count))
		heavy, due, refused := f.run(t)
		part := float64(refused) / float64(f.keys)
		t.Logf("%.1f x places x rate: %.4f refused", load.share, part)
		if part > load.most || heavy > due*1.001+1 {
			t.Errorf("%.1f x places x rate: %.4f refused, heavy %.0f of %.0f", load.share, part, heavy, due)
		}
	}
}

// TestMemoryIsFixed: a million keys leave the heap as it was.
func TestMemoryIsFixed(t *testing.T) {
	table := New(65536)
	if table.Bytes() != 16384*128 || table.Places() < 65536 {
		t.Errorf("%d bytes for %d places", table.Bytes(), table.Places())
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for key := range uint64(1e6) {
		table.Take(key*0x9e3779b97f4a7c15, 0, 10, 1)
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.TotalAlloc) - int64(before.TotalAlloc); grown > 64<<10 {
		t.Errorf("a million keys took %d bytes", grown)
	}
	runtime.KeepAlive(table)
}

// TestConcurrentTakes: together, many goroutines get what one would.
func TestConcurrentTakes(t *testing.T) {
	table := New(ways)
	var allowed atomic.Int64
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			for range 1000 {
				if _, ok := table.Take(3, 0, 500, 1); ok {
					allowed.Add(1)
				}
			}
		})
	}
	work.Wait()
	if allowed.Load() != 500 {
		t.Errorf("%d are allowed, want 500", allowed.Load())
	}
}

func TestAllocs(t *testing.T) {
	table, key := New(1024), uint64(0)
	if n := testing.AllocsPerRun(1000, func() { key += 0x9e3779b97f4a7c15; table.Take(key, 0, 5, 1) }); n != 0 {
		t.Errorf("%v allocations per decision", n)
	}
}

func BenchmarkTakeOneKey(b *testing.B) {
	table := New(65536)
	b.ReportAllocs()
	for i := int64(0); b.Loop(); i += 10 {
		table.Take(12345, i, i+100, 5)
	}
}

func BenchmarkTakeManyKeys(b *testing.B) {
	table, key := New(65536), uint64(0)
	b.ReportAllocs()
	for i := int64(0); b.Loop(); i += 10 {
		key += 0x9e3779b97f4a7c15
		table.Take(key, i, i+1000000, 5)
	}
}

func BenchmarkTakeParallel(b *testing.B) {
	table := New(65536)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		key := rand.Uint64()
		for pb.Next() {
			key += 0x9e3779b97f4a7c15
			table.Take(key, 0, 1000000, 1)
		}
	})
}
