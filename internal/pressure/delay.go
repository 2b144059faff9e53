package pressure

import (
	"math"
	"runtime/metrics"
	"slices"
	"sync/atomic"
	"time"
)

// Where Delay sheds and refuses, as shares of its limit. It is no amount that
// is used up by and by but grows at once when more comes than can be done, so
// its steps lie further apart than those of memory.
const (
	delayShed   = 0.5
	delayRefuse = 1
	delaySlack  = 0.25
)

const (
	// standing is for how many looks in a row a delay must stand: a collection, or
	// a neighbour that is busy for a moment, delays the most of one.
	standing = 3
	// fewWaits is how many waits tell nothing.
	fewWaits = 20
	// delayed is the quantile of the waits in the scheduler. What is woken by a
	// goroutine that is running goes first and waits for nobody, so that in a
	// process full of such the middle says too little.
	delayed = 0.9
)

// Delay is how long what is ready to run waits for a processor. A process that
// uses all that it has is busy; one in which this stands is overloaded. It has
// two parts, and the longer one counts:
//
// The waits in the scheduler of Go are those of goroutines that are ready. It
// knows nothing of times in which the system did not run the process at all: a
// neighbour, or the quota of a cgroup.
//
// The lateness of a timer sees those, and little of the others: whom a timer
// wakes is the next to run.
type Delay struct {
	limit atomic.Int64 // a time.Duration

	// Of the goroutine that looks.
	late   []time.Duration
	waits  []metrics.Sample
	before []uint64
	recent [standing]float64
	looks  int
}

// NewDelay makes a Delay without a limit.
func NewDelay() *Delay {
	return &Delay{waits: []metrics.Sample{{Name: "/sched/latencies:seconds"}}}
}

// SetLimit says from when on everything is refused; 0: never. Any goroutine.
func (d *Delay) SetLimit(limit time.Duration) { d.limit.Store(int64(limit)) }

// Late is told how late a timer was.
func (d *Delay) Late(by time.Duration) { d.late = append(d.late, by) }

// Sensor is d as a sensor.
func (d *Delay) Sensor() Sensor {
	return Sensor{
		Name: "delay", Grades: Work, Slack: delaySlack,
		At: &Thresholds{Shed: delayShed, Refuse: delayRefuse},
		Read: func() (float64, float64) {
			metrics.Read(d.waits)
			var h *metrics.Float64Histogram
			if d.waits[0].Value.Kind() == metrics.KindFloat64Histogram {
				h = d.waits[0].Value.Float64Histogram()
			}
			return d.read(h), time.Duration(d.limit.Load()).Seconds()
		},
	}
}

// read is the delay that has stood for some looks, in seconds; h counts all
// waits ever.
func (d *Delay) read(h *metrics.Float64Histogram) float64 {
	d.recent[d.looks%standing] = max(d.lateness(), d.waited(h))
	d.looks++
	return slices.Min(d.recent[:])
}

// lateness is the median of what Late was told since the last look.
func (d *Delay) lateness() float64 {
	if len(d.late) == 0 {
		return 0
	}
	slices.Sort(d.late)
	middle := d.late[len(d.late)/2].Seconds()
	d.late = d.late[:0]
	return middle
}

// waited is the quantile of the waits since the last look.
func (d *Delay) waited(h *metrics.Float64Histogram) float64 {
	if h == nil {
		return 0
	}
	first := d.before == nil
	if first {
		d.before = make([]uint64, len(h.Counts))
	}
	total := uint64(0)
	for i, n := range h.Counts {
		total += n - d.before[i]
	}
	found := 0.0
	if !first && total >= fewWaits {
		found = quantile(h, d.before, uint64(delayed*float64(total)))
	}
	copy(d.before, h.Counts)
	return found
}

// quantile is the bound of the bucket that has the nth wait since before.
func quantile(h *metrics.Float64Histogram, before []uint64, nth uint64) float64 {
	for i, n := range h.Counts {
		if n -= before[i]; n <= nth {
			nth -= n
			continue
		}
		if bound := h.Buckets[i+1]; !math.IsInf(bound, 1) {
			return bound
		}
		return h.Buckets[i]
	}
	return 0
}
