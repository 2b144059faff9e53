package ewma

import (
	"math"
	"sync"
	"testing"
	"time"
)

const decay = 10 * time.Second

func near(a, b float64) bool { return math.Abs(a-b) <= 0.01*math.Abs(b)+1e-9 }

// TestPeak is a story of observations, each with the average right behind it.
func TestPeak(t *testing.T) {
	var p Peak
	if _, ok := p.Value(time.Hour, decay); ok {
		t.Error("an average of nothing")
	}
	steps := []struct {
		what    string
		at      time.Duration
		observe float64 // 0: only look
		least   bool
		want    float64
	}{
		{what: "the first one counts alone", at: time.Second, observe: 100, want: 100},
		{what: "a peak takes over at once", at: 2 * time.Second, observe: 5000, want: 5000},
		{what: "a low one in the same moment changes nothing", at: 2 * time.Second, observe: 1, want: 5000},
		{what: "after one decay 37 % are left", at: 12 * time.Second, want: 5000 / math.E},
		{what: "a low one counts by the time that has passed", at: 12 * time.Second, observe: 100, want: 5000/math.E + 100*(1-1/math.E)},
		{what: "at least less than the average: nothing", at: 12 * time.Second, observe: 5, least: true, want: 5000/math.E + 100*(1-1/math.E)},
		{what: "at least more than the average", at: 12 * time.Second, observe: 7000, least: true, want: 7000},
		{what: "an earlier time has no age", at: 11 * time.Second, want: 7000},
		{what: "it falls towards 0", at: 212 * time.Second, want: 7000 * math.Exp(-20)},
		{what: "and is drawn down in between", at: 300 * time.Second, observe: 3, want: 3},
	}
	for _, s := range steps {
		switch {
		case s.observe > 0 && s.least:
			p.AtLeast(s.observe, s.at, decay)
		case s.observe > 0:
			p.Observe(s.observe, s.at, decay)
		}
		if got, ok := p.Value(s.at, decay); !ok || !near(got, s.want) {
			t.Errorf("%s: %v, want %v", s.what, got, s.want)
		}
	}
	p.Reset()
	if _, ok := p.Value(time.Hour, decay); ok {
		t.Error("it remembers after a reset")
	}
}

// TestManySmallStepsForget: a thousand observations in a second forget as much as
// one does, though each of them is younger than a tick of the clock is long.
func TestManySmallStepsForget(t *testing.T) {
	var p Peak
	p.Observe(1e9, 0, decay)
	for at := time.Duration(0); at <= decay; at += 50 * time.Microsecond {
		p.Observe(1e6, at, decay)
	}
	if got, _ := p.Value(decay, decay); !near(got, 1e9/math.E+1e6*(1-1/math.E)) {
		t.Errorf("%v after one decay", got)
	}
}

func TestCopy(t *testing.T) {
	var a, b Peak
	b.Observe(1, 0, decay)
	b.Copy(&a, 0)
	if _, ok := b.Value(0, decay); ok {
		t.Error("the copy of nothing knows something")
	}
	a.Observe(1000, 100*time.Second, decay)
	b.Copy(&a, -90*time.Second) // b counts from 90 s later
	if got, _ := b.Value(20*time.Second, decay); !near(got, 1000/math.E) {
		t.Errorf("%v, want 1000/e ten seconds later", got)
	}
}

func TestForgotten(t *testing.T) {
	last := 1.0
	for age := uint32(0); age < 200_000; age += 7 {
		got, want := forgotten(age, decay), math.Exp(-float64(age)*float64(tick)/float64(decay))
		if math.Abs(got-want) > 2e-4*want || got > last {
			t.Fatalf("after %d ticks %v, want %v and not more than %v", age, got, want, last)
		}
		last = got
	}
	if forgotten(math.MaxUint32, time.Millisecond) != 0 {
		t.Error("nothing is forgotten for ever")
	}
}

// TestAfterTheClockWraps: 52 days are no reason to be wrong for longer than that.
func TestAfterTheClockWraps(t *testing.T) {
	var p Peak
	end := time.Duration(1<<32) * tick
	p.Observe(1000, end-5*time.Second, decay)
	if got, _ := p.Value(end+5*time.Second, decay); !near(got, 1000/math.E) {
		t.Errorf("%v, want 1000/e", got)
	}
}

func TestConcurrent(t *testing.T) {
	var p Peak
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 1000 {
				p.Observe(float64(1+i%7), time.Duration(i)*time.Millisecond, decay)
				if v, ok := p.Value(time.Duration(i)*time.Millisecond, decay); !ok || v <= 0 || v > 7 {
					t.Errorf("%v", v)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestAllocsPeak(t *testing.T) {
	var p Peak
	if n := testing.AllocsPerRun(1000, func() { p.Observe(5, time.Second, decay); p.Value(time.Minute, decay) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkPeak(b *testing.B) {
	var p Peak
	b.Run("observe", func(b *testing.B) {
		at := time.Duration(0)
		for b.Loop() {
			at += time.Millisecond
			p.Observe(5, at, decay)
		}
	})
	b.Run("value", func(b *testing.B) {
		for b.Loop() {
			p.Value(time.Hour, decay)
		}
	})
}
