// Package breaker refuses what would fail: it opens when an expression over the
// requests of the last seconds holds, lets a few through after a while, and
// closes when these go well.
package breaker

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/latency"
	"github.com/weirproxy/weir/internal/ratio"
)

// State is what a breaker does with requests.
type State uint8

// The states.
const (
	Closed   State = iota // lets all through
	Open                  // refuses all
	HalfOpen              // lets a few through and looks how they do
)

func (s State) String() string { return [...]string{"closed", "open", "half_open"}[s] }

// Config is what a Breaker is made of.
type Config struct {
	When *Expression
	// Window is how far back requests count, Least how many there must be.
	Window time.Duration
	Least  int64
	// Hold is how long it stays open the first time; each time in a row doubles
	// that, up to Max.
	Hold, Max time.Duration
	// Probes is how many requests half-open lets through.
	Probes int64
	// OnChange is told of each change. It must not block. May be nil.
	OnChange func(from, to State, why string)
}

// Breaker is safe for concurrent use. Closed it costs some atomic adds for each
// request.
type Breaker struct {
	cfg Config

	state   atomic.Uint32
	checked atomic.Int64 // when the expression was evaluated last, in nanoseconds since born
	born    time.Time

	counts atomic.Pointer[counts] // of the window; a new one when it closes

	mu     sync.Mutex
	until  time.Time
	opened int   // times in a row
	probes int64 // let through since half-open
	good   int64 // of these
	ended  int64 // of these, well or badly
}

// counts are the requests of the last seconds.
type counts struct {
	success  *ratio.Window // of all, those that did not fail
	answered *ratio.Window // of all, those with a response
	latency  *latency.Window
}

func (b *Breaker) newCounts(now time.Time) *counts {
	c := &counts{success: ratio.New(b.cfg.Window, now), answered: ratio.New(b.cfg.Window, now)}
	if b.cfg.When.quantile > 0 {
		c.latency = latency.New(b.cfg.Window, now)
	}
	return c
}

// evaluateEvery is how often the expression is looked at.
const evaluateEvery = 100 * time.Millisecond

// New makes a Breaker that is closed.
func New(cfg Config, now time.Time) *Breaker {
	b := &Breaker{cfg: cfg, born: now}
	b.counts.Store(b.newCounts(now))
	return b
}

// State is what it does now.
func (b *Breaker) State() State { return State(b.state.Load()) }

// Allow tells whether a request may go, and otherwise when another may.
func (b *Breaker) Allow(now time.Time) (ok bool, after time.Duration) {
	if b.State() == Closed {
		return true, 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.State() == Open {
		if now.Before(b.until) {
			return false, b.until.Sub(now)
		}
		b.probes, b.good, b.ended = 0, 0, 0
		b.until = now.Add(b.cfg.Max)
		b.change(HalfOpen, "its time is over")
	}
	if b.State() == HalfOpen {
		if b.probes >= b.cfg.Probes && !now.Before(b.until) { // what was let through was lost, or takes for ever
			b.probes, b.good, b.ended, b.until = 0, 0, 0, now.Add(b.cfg.Max)
		}
		if b.probes >= b.cfg.Probes {
			return false, time.Second
		}
		b.probes++
	}
	return true, 0
}

// Outcome is how a request did.
type Outcome struct {
	Failed   bool // by a fault, or by a status that counts as one
	Answered bool // there was a response
	Took     time.Duration
}

// Forget says that a request that was allowed says nothing: the client left.
func (b *Breaker) Forget() {
	if b.State() != HalfOpen {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.State() == HalfOpen && b.probes > b.ended {
		b.probes--
	}
}

// Record notes how a request did that was allowed.
func (b *Breaker) Record(o Outcome, now time.Time) {
	switch b.State() {
	case Open: // it began before
		return
	case HalfOpen:
		b.probed(o, now)
		return
	}
	c := b.counts.Load()
	c.add(o, now)
	since := int64(now.Sub(b.born))
	if last := b.checked.Load(); since-last < int64(evaluateEvery) || !b.checked.CompareAndSwap(last, since) {
		return
	}
	if f := c.facts(b.cfg.When.quantile, now); f.Requests >= b.cfg.Least && b.cfg.When.Holds(&f) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.State() == Closed && b.counts.Load() == c {
			b.open(now, b.cfg.When.text)
		}
	}
}

func (c *counts) add(o Outcome, now time.Time) {
	c.success.Add(!o.Failed, now)
	c.answered.Add(o.Answered, now)
	if c.latency != nil && o.Answered {
		c.latency.Observe(o.Took, now)
	}
}

func (c *counts) facts(quantile float64, now time.Time) Facts {
	var f Facts
	all, good := c.success.Sums(now)
	if f.Requests = all; all > 0 {
		f.ErrorRatio = 1 - float64(good)/float64(all)
	}
	if all, answered := c.answered.Sums(now); all > 0 {
		f.FaultRatio = 1 - float64(answered)/float64(all)
	}
	if c.latency != nil {
		f.Latency, _ = c.latency.Quantile(quantile, now)
	}
	return f
}

// probed is Record for what half-open let through: one failure opens again, all
// of them well close.
func (b *Breaker) probed(o Outcome, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.State() != HalfOpen {
		return
	}
	b.ended++
	if o.Failed {
		b.open(now, "a probe failed")
		return
	}
	if b.good++; b.good >= b.cfg.Probes {
		b.opened = 0
		b.counts.Store(b.newCounts(now))
		b.change(Closed, "all probes went well")
	}
}

// open is with mu held.
func (b *Breaker) open(now time.Time, why string) {
	hold := b.cfg.Hold << min(b.opened, 16)
	if hold > b.cfg.Max || hold <= 0 {
		hold = b.cfg.Max
	}
	b.opened++
	b.until = now.Add(hold)
	b.change(Open, why)
}

func (b *Breaker) change(to State, why string) {
	from := State(b.state.Swap(uint32(to)))
	if b.cfg.OnChange != nil {
		b.cfg.OnChange(from, to, why)
	}
}
