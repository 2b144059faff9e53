// Package watchdog ends waits that take too long, for many connections with
// one goroutine and without a timer per operation.
//
// The owner of a connection says which phase it is in (one atomic swap) and how
// many bytes moved (one atomic add). A sweep looks at every guard some twenty
// times a second, judges progress against the limits of the phase, and calls
// the guard's expire function, which wakes the blocked read or write. Times are
// therefore coarse: a limit fires up to two sweeps late and never early.
package watchdog

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/account"
)

// Limit judges a phase by progress. Zero parts are not checked.
type Limit struct {
	Idle    time.Duration // longest time without one byte moved
	Ceiling time.Duration // longest time for the whole phase
	MinRate int64         // bytes per second on average, once older than Grace
	Grace   time.Duration // how long MinRate is not checked yet
	// Floor is what Idle and Ceiling shrink to while the dog is pressed (Squeeze);
	// 0: they do not.
	Floor time.Duration
}

// Verdict is why a guard fired.
type Verdict uint8

// The verdicts.
const (
	None      Verdict = iota
	Stalled           // Limit.Idle
	TooLong           // Limit.Ceiling
	TooSlow           // Limit.MinRate
	Late              // the deadline of EnterUntil
	Canceled          // the context of EnterUntil ended
	PeerGone          // the probe said so
	Shortened         // a limit that Squeeze has made shorter
	Costly            // Reset has picked it
)

var verdictNames = [...]string{"none", "stalled", "too long", "too slow", "deadline exceeded", "canceled", "peer gone", "shortened", "costly"}

func (v Verdict) String() string { return verdictNames[v] }

const (
	fastest    = 50 * time.Millisecond // between sweeps of few guards
	slowest    = time.Second           // between sweeps of very many
	perGuard   = 10 * time.Microsecond // what one guard adds to that time
	probeAfter = 4                     // sweeps in one phase before the peer is probed, and between probes
)

// Dog watches guards. The zero Dog is ready; its goroutine runs only while
// there is a guard.
type Dog struct {
	// Shortened counts the connections that ended because of Squeeze, for those who
	// ended them.
	Shortened atomic.Int64

	squeeze atomic.Uint64 // the bits of a float64

	mu     sync.Mutex
	guards []*Guard
	epoch  time.Time     // that guards remember times by
	last   time.Duration // the last sweep, from then on
	stop   chan struct{} // ends the goroutine; nil while there is none
}

// Squeeze shortens the limits that have a floor, of waits that have begun, too:
// by the part of what they are above it, 0 to 1.
func (d *Dog) Squeeze(part float64) { d.squeeze.Store(math.Float64bits(part)) }

// Short is what Squeeze makes of a limit with that floor.
func (d *Dog) Short(limit, floor time.Duration) time.Duration {
	part := math.Float64frombits(d.squeeze.Load())
	if part == 0 || floor <= 0 || limit <= floor {
		return limit
	}
	return limit - time.Duration(part*float64(limit-floor))
}

// Guard is what the dog knows of one connection. Embed it by value; it must
// not be copied. Enter, EnterUntil, Rest and Moved are called by the owner of
// the connection, Moved also by others.
type Guard struct {
	// state is turn<<16 | verdict<<8 | phase+1. A phase byte of 0 is rest. The
	// owner swaps in a new turn, the dog may only set the verdict of the turn it
	// has judged, so a late verdict never hits the phase that follows.
	state atomic.Uint64
	moved atomic.Int64
	turn  uint64 // owner only

	until struct {
		sync.Mutex
		ctx      context.Context
		deadline time.Time
		idle     time.Duration // instead of the Idle of the phase; 0: that one
	}

	limits []Limit
	expire func(phase uint8, v Verdict)
	probe  func(phase uint8) bool

	held  atomic.Int64 // see Hold
	payer atomic.Pointer[account.Account]
	bill  *bill // the dog's; nil until it has something to charge

	// The dog's own memory of the turn it saw last. Times are those since its epoch.
	dog   *Dog
	index int32 // in dog.guards; -1 when released. Under dog.mu
	// Passive: what it holds is charged, and never reset: it is let go by somebody
	// else, who holds something for the same payer. Set before Watch.
	Passive bool
	seen    struct {
		turn     uint64
		since    time.Duration // first seen in this turn
		progress time.Duration // moved changed last
		base     int64         // moved when first seen
		moved    int64
		sweeps   int
	}
}

// Watch begins to watch g, at rest. limits is indexed by phase and never
// written again. expire is called on the dog's goroutine, once per turn; it
// must not block and not call Release. probe, which may be nil, is asked now and then while a phase
// lasts whether the peer has gone.
func (d *Dog) Watch(g *Guard, limits []Limit, expire func(phase uint8, v Verdict), probe func(phase uint8) bool) {
	g.limits, g.expire, g.probe, g.dog = limits, expire, probe, d
	d.mu.Lock()
	defer d.mu.Unlock()
	g.index = int32(len(d.guards))
	d.guards = append(d.guards, g)
	if d.stop == nil {
		if d.epoch.IsZero() {
			d.epoch = time.Now()
		}
		d.last = time.Since(d.epoch)
		d.stop = make(chan struct{})
		go d.run(d.stop)
	}
}

// Release ends the watch. After it, expire is not called any more, save for a
// call that is under way.
func (g *Guard) Release() {
	d := g.dog
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if g.index < 0 {
		return
	}
	last := len(d.guards) - 1
	d.guards[g.index] = d.guards[last]
	d.guards[g.index].index = g.index
	d.guards[last] = nil
	d.guards = d.guards[:last]
	g.index = -1
	if last == 0 {
		close(d.stop)
		d.stop = nil
	}
}

// Enter begins a phase. It reports false when the phase before it had expired:
// the connection is to be given up.
func (g *Guard) Enter(phase uint8) bool {
	g.let()
	g.turn++
	old := g.state.Swap(g.turn<<16 | uint64(phase) + 1)
	return verdictOf(old) == None
}

// EnterUntil is Enter with an end: deadline (zero: none) and ctx, whose end is
// seen by the next sweep, or at once when it is a Prompt.
func (g *Guard) EnterUntil(phase uint8, ctx context.Context, deadline time.Time) bool {
	return g.EnterIdle(phase, ctx, deadline, 0)
}

// EnterIdle is EnterUntil with another Limit.Idle than that of the phase; 0:
// that one.
func (g *Guard) EnterIdle(phase uint8, ctx context.Context, deadline time.Time, idle time.Duration) bool {
	g.until.Lock()
	g.until.ctx, g.until.deadline, g.until.idle = ctx, deadline, idle
	g.until.Unlock()
	good := g.Enter(phase)
	if p, ok := ctx.(*Prompt); ok {
		p.entered(g)
	}
	return good
}

// Rest ends the phase: nothing is watched until the next Enter. The result is
// that of Enter.
func (g *Guard) Rest() bool {
	g.let()
	g.turn++
	old := g.state.Swap(g.turn << 16)
	if g.until.ctx != nil || g.until.idle != 0 { // only the owner writes them
		g.until.Lock()
		g.until.ctx, g.until.deadline, g.until.idle = nil, time.Time{}, 0
		g.until.Unlock()
	}
	return verdictOf(old) == None
}

// Moved counts n bytes of progress.
func (g *Guard) Moved(n int) { g.moved.Add(int64(n)) }

// Fired tells whether the present phase has expired, and why.
func (g *Guard) Fired() (phase uint8, v Verdict) {
	s := g.state.Load()
	return uint8(s) - 1, verdictOf(s)
}

func verdictOf(state uint64) Verdict { return Verdict(state >> 8 & 0xff) }

// run sweeps until there is nothing left to watch.
func (d *Dog) run(stop <-chan struct{}) {
	timer := time.NewTimer(fastest)
	defer timer.Stop()
	for {
		select {
		case now := <-timer.C:
			timer.Reset(d.sweep(now))
		case <-stop:
			return
		}
	}
}

// sweep judges every guard and returns the time until the next sweep.
func (d *Dog) sweep(now time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := now.Sub(d.epoch)
	passed := at - d.last
	d.last = at
	for _, g := range d.guards {
		if n := g.held.Load(); n > 0 {
			g.charge(n, passed, at, now)
		}
		g.judge(now, at)
	}
	return min(max(fastest, time.Duration(len(d.guards))*perGuard), slowest)
}

func (g *Guard) judge(now time.Time, at time.Duration) {
	state := g.state.Load()
	phase := uint8(state)
	if phase == 0 || verdictOf(state) != None {
		return
	}
	phase--
	moved := g.moved.Load()
	if turn := state >> 16; turn != g.seen.turn {
		g.seen.turn, g.seen.since, g.seen.progress = turn, at, at
		g.seen.base, g.seen.moved, g.seen.sweeps = moved, moved, 0
	} else if moved != g.seen.moved {
		g.seen.moved, g.seen.progress = moved, at
	}
	if v := g.verdict(phase, now, at); v != None {
		g.fire(state, v)
	}
}

// fire sets the verdict of the turn that was judged.
func (g *Guard) fire(state uint64, v Verdict) bool {
	if !g.state.CompareAndSwap(state, state|uint64(v)<<8) {
		return false
	}
	g.expire(uint8(state)-1, v)
	return true
}

func (g *Guard) verdict(phase uint8, now time.Time, at time.Duration) Verdict {
	l := &g.limits[phase]
	age := at - g.seen.since
	g.until.Lock()
	ctx, deadline, idle := g.until.ctx, g.until.deadline, g.until.idle
	g.until.Unlock()
	if idle == 0 {
		idle = l.Idle
	}
	silence := at - g.seen.progress
	switch {
	case l.Ceiling > 0 && age >= l.Ceiling:
		return TooLong
	case idle > 0 && silence >= idle:
		return Stalled
	case l.Floor > 0 && (l.Ceiling > 0 && age >= g.dog.Short(l.Ceiling, l.Floor) || idle > 0 && silence >= g.dog.Short(idle, l.Floor)):
		return Shortened
	case l.MinRate > 0 && age >= l.Grace && float64(g.seen.moved-g.seen.base) < float64(l.MinRate)*age.Seconds():
		return TooSlow
	}
	if !deadline.IsZero() && !now.Before(deadline) {
		return Late
	}
	if ctx != nil && ctx.Err() != nil {
		return Canceled
	}
	g.seen.sweeps++
	if g.probe != nil && g.seen.sweeps%probeAfter == 0 && g.probe(phase) {
		return PeerGone
	}
	return None
}
