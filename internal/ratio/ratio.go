// Package ratio counts how many of the things of the last seconds went well,
// without a lock and in fixed memory.
package ratio

import (
	"sync"
	"sync/atomic"
	"time"
)

// slots is into how many parts a Window is divided: each is forgotten as a whole.
const slots = 11

// Window counts over the last while. Make one with New.
type Window struct {
	born  time.Time
	slot  time.Duration
	parts [slots]part
}

type part struct {
	turn atomic.Int64 // which one of its slot this is
	mu   sync.Mutex   // of whoever turns it
	all  atomic.Int64
	good atomic.Int64
	_    [32]byte
}

// New makes a Window over a length of time, which is exact to a tenth of it.
func New(length time.Duration, now time.Time) *Window {
	w := &Window{born: now, slot: max(length/(slots-1), time.Millisecond)}
	for i := range w.parts {
		w.parts[i].turn.Store(-1)
	}
	return w
}

// Add counts one.
func (w *Window) Add(good bool, now time.Time) {
	turn := w.turn(now)
	p := &w.parts[turn%slots]
	if p.turn.Load() != turn {
		p.begin(turn)
	}
	p.all.Add(1)
	if good {
		p.good.Add(1)
	}
}

func (w *Window) turn(now time.Time) int64 { return max(int64(now.Sub(w.born)/w.slot), 0) }

func (p *part) begin(turn int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.turn.Load() >= turn {
		return
	}
	p.all.Store(0)
	p.good.Store(0)
	p.turn.Store(turn)
}

// Sums are how many there were lately, and how many of them went well.
func (w *Window) Sums(now time.Time) (all, good int64) {
	turn := w.turn(now)
	for i := range w.parts {
		p := &w.parts[i]
		if at := p.turn.Load(); at < 0 || at <= turn-slots || at > turn {
			continue
		}
		all += p.all.Load()
		good += p.good.Load()
	}
	return all, good
}
