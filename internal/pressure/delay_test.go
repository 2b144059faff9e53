package pressure

import (
	"math"
	"runtime/metrics"
	"testing"
	"time"
)

// look is what happens between two looks: how late the timers were, and how
// many goroutines waited for how long.
type look struct {
	late  []time.Duration
	waits map[time.Duration]uint64
}

// TestDelay needs to see work that stands, and to stay quiet on a machine that
// is busy and healthy.
func TestDelay(t *testing.T) {
	const limit = 200 * time.Millisecond
	ms := time.Millisecond
	busy := look{[]time.Duration{ms, 2 * ms, ms, 9 * ms, ms}, map[time.Duration]uint64{time.Microsecond: 40_000, 4 * ms: 50_000, 16 * ms: 2_000}}
	for _, c := range []struct {
		name  string
		looks []look
		want  string // the grades after the last
	}{
		{"every processor busy, and nothing waits for long", []look{busy, busy, busy, busy, busy}, ""},
		{"a collection delays one look", []look{busy, busy, {busy.late, map[time.Duration]uint64{200 * ms: 900, time.Microsecond: 50}}, busy, busy}, ""},
		{"a neighbour takes the processor for a second", []look{
			busy, {[]time.Duration{400 * ms, 300 * ms}, busy.waits}, {[]time.Duration{300 * ms, 200 * ms}, busy.waits}, busy, busy,
		}, ""},
		{"a few goroutines wait for long", []look{
			{nil, map[time.Duration]uint64{time.Second: 3}}, {nil, map[time.Duration]uint64{time.Second: 3}}, {nil, map[time.Duration]uint64{time.Second: 3}}, {nil, map[time.Duration]uint64{time.Second: 3}},
		}, ""},
		{"a queue that stands", []look{
			busy, {busy.late, map[time.Duration]uint64{130 * ms: 9_000, time.Microsecond: 900}},
			{busy.late, map[time.Duration]uint64{130 * ms: 9_000, time.Microsecond: 900}}, {busy.late, map[time.Duration]uint64{130 * ms: 9_000, time.Microsecond: 900}},
		}, "shed"},
		{"a queue that stands for so long that clients give up", []look{
			busy, {busy.late, map[time.Duration]uint64{time.Second: 500}}, {busy.late, map[time.Duration]uint64{time.Second: 500}}, {busy.late, map[time.Duration]uint64{time.Second: 500}},
		}, "shed refuse"},
		{"a quota that leaves a part of each period", []look{
			{[]time.Duration{150 * ms, 120 * ms, 180 * ms}, nil}, {[]time.Duration{150 * ms, 120 * ms, 180 * ms}, nil}, {[]time.Duration{150 * ms, 120 * ms, 180 * ms}, nil},
		}, "shed"},
		{"and it ends", []look{
			{nil, map[time.Duration]uint64{time.Second: 500}}, {nil, map[time.Duration]uint64{time.Second: 500}}, {nil, map[time.Duration]uint64{time.Second: 500}}, {nil, map[time.Duration]uint64{time.Second: 500}}, busy,
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := NewDelay()
			d.SetLimit(limit)
			h := &metrics.Float64Histogram{Buckets: []float64{0, 1e-5, 1e-3, 5e-3, 20e-3, 0.14, 0.25, math.Inf(1)}, Counts: make([]uint64, 7)}
			s := d.Sensor()
			s.Read = func() (float64, float64) { return d.read(h), limit.Seconds() }
			m := New([]Sensor{s}, nil)
			m.Set(usual)
			m.Look() // of what was before
			for _, l := range c.looks {
				for _, by := range l.late {
					d.Late(by)
				}
				for wait, n := range l.waits {
					for i := range h.Counts {
						if wait.Seconds() < h.Buckets[i+1] {
							h.Counts[i] += n
							break
						}
					}
				}
				m.Look()
			}
			if got := m.Grades().words(); got != c.want {
				t.Errorf("%q, want %q; recent %v", got, c.want, d.recent)
			}
		})
	}
}

// TestDelayHere reads the scheduler of this process: it is there, and says
// nothing alarming of a process that does little.
func TestDelayHere(t *testing.T) {
	d := NewDelay()
	d.SetLimit(time.Minute)
	s := d.Sensor()
	for range standing + 1 {
		d.Late(time.Millisecond)
		if used, limit := s.Read(); used > 60 || limit != 60 {
			t.Errorf("%v s of %v", used, limit)
		}
	}
	if d.before == nil {
		t.Error("the scheduler of Go says nothing of waits")
	}
}
