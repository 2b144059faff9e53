// Package gradient finds out how many requests a service can have under way
// before they only wait for each other: it compares how long they take now with
// how long they take when there are few, and moves a limit accordingly.
//
// The limit is lowered for a moment to learn the latter (the way of Envoy's
// adaptive concurrency): without that, a service under steady overload would
// teach that overload is normal. It happens at the start, and from time to time
// while requests take longer than they should: one that answers as fast as ever
// is left alone.
package gradient

import (
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/latency"
)

// Config is what a Limiter is made of.
type Config struct {
	Min, Max int64 // bounds of the limit
	// Tolerance is how much longer requests may take than with few under way,
	// before the limit falls: 0.25 is a quarter.
	Tolerance float64
	// Probe is the least time between two looks at how long they take with few,
	// up to a tenth more or less.
	Probe time.Duration
	// Random is from 0 to below 1; nil: rand.Float64.
	Random func() float64
}

// Limiter is safe for concurrent use.
type Limiter struct {
	cfg   Config
	limit atomic.Int64
	floor atomic.Int64 // how long requests take with few under way, in ns; 0: not known

	mu      sync.Mutex
	window  *latency.Window
	count   int
	ends    time.Time // of the window
	probing bool
	next    time.Time // the earliest next probe
	slower  bool      // requests took longer than they should since the last one
	before  int64     // the limit before the probe
}

const (
	// sampleTime and sampleLeast are how long a window lasts, and how many
	// requests it needs to be judged.
	sampleTime  = 100 * time.Millisecond
	sampleLeast = 20
	// probeLeast is how many requests a probe needs.
	probeLeast = 12
)

// New makes a Limiter that begins with a probe.
func New(cfg Config, now time.Time) *Limiter {
	if cfg.Random == nil {
		cfg.Random = rand.Float64
	}
	l := &Limiter{cfg: cfg, before: cfg.Max}
	l.limit.Store(cfg.Min)
	l.probing = true
	l.begin(now)
	return l
}

// Limit is how many requests may be under way now.
func (l *Limiter) Limit() int64 { return l.limit.Load() }

// Floor is how long requests take with few under way, or 0.
func (l *Limiter) Floor() time.Duration { return time.Duration(l.floor.Load()) }

// Observe notes how long one request took that ended now.
func (l *Limiter) Observe(took time.Duration, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.window.Observe(took, now)
	l.count++
	if l.probing {
		if l.count >= probeLeast {
			l.learn(now)
		}
		return
	}
	if l.count >= sampleLeast && !now.Before(l.ends) {
		l.adjust(now)
	}
}

// learn ends a probe.
func (l *Limiter) learn(now time.Time) {
	median, _ := l.window.Quantile(0.5, now)
	l.floor.Store(int64(median))
	l.probing = false
	l.limit.Store(min(max(l.before, l.cfg.Min), l.cfg.Max))
	l.next = now.Add(time.Duration(float64(l.cfg.Probe) * (0.9 + 0.2*l.cfg.Random())))
	l.begin(now)
}

// adjust moves the limit by what the window says.
func (l *Limiter) adjust(now time.Time) {
	median, _ := l.window.Quantile(0.5, now)
	if int64(median) < l.floor.Load() {
		l.floor.Store(int64(median))
	}
	if l.slower && !now.Before(l.next) {
		l.probing, l.slower, l.before = true, false, l.limit.Load()
		l.limit.Store(l.cfg.Min)
		l.begin(now)
		return
	}
	target := float64(l.floor.Load()) * (1 + l.cfg.Tolerance)
	l.slower = l.slower || float64(median) > target
	slope := min(max(target/max(float64(median), 1), 0.5), 2)
	limit := float64(l.limit.Load())
	// The root leaves room for a short queue, so that the limit can grow at all.
	next := int64(slope*limit + math.Sqrt(limit))
	l.limit.Store(min(max(next, l.cfg.Min), l.cfg.Max))
	l.begin(now)
}

func (l *Limiter) begin(now time.Time) {
	l.window, l.count, l.ends = latency.New(time.Minute, now), 0, now.Add(sampleTime)
}
