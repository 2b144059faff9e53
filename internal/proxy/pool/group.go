// Package pool keeps the upstream connections of an endpoint for the next
// request: the one used last comes first, so that the others grow old and go.
//
// A connection is retired when it has been idle for too long or lives for too
// long, or when the endpoint is about to close it: the pool learns from the
// closes that it sees how long the endpoint keeps an idle connection
// (internal/horizon). So that it goes on seeing closes once it has learned, it
// holds on to a few connections that it does not use any more and watches them
// until the endpoint closes them.
//
// All pools of a cluster form a Group, which has one timer for all of them and
// no goroutine while there is nothing to do.
package pool

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

// Config is what all pools of a cluster have in common.
type Config struct {
	MaxIdle int           // idle connections per endpoint; 0: keep none
	Idle    time.Duration // longest idle time; 0: no limit
	MaxAge  time.Duration // longest life, up to a tenth more or less; 0: no limit
	Learn   bool          // retire earlier when the endpoint closes idle ones
	// Short is what becomes of Idle, which it may not bring below floor, while the
	// process has too little of something; nil: nothing.
	Short func(idle, floor time.Duration) time.Duration
	Log   *slog.Logger
}

// Stats counts what happened to the connections of a cluster.
type Stats struct {
	Dialed     atomic.Int64 // connections made
	DialFailed atomic.Int64
	Refused    atomic.Int64 // no place: max_connections of the cluster, or of the endpoint
	Crowded    atomic.Int64 // too many wait for a connection to the endpoint
	Stale      atomic.Int64 // turned out closed when a request was sent on it
	Closed     atomic.Int64 // found closed by the endpoint while idle
	Retired    atomic.Int64 // idle for too long
	Shortened  atomic.Int64 // idle for too long for a process that has too little of something
	Aged       atomic.Int64 // lived for too long
	Dropped    atomic.Int64 // more than max_idle
	Evicted    atomic.Int64 // idle ones closed to make place for another endpoint's
	Broken     atomic.Int64 // not reusable after an exchange
	Ignored    atomic.Int64 // closes not learned from: a restart, or too early to be a time-out
	Panics     atomic.Int64 // in the janitor
	Waited     atomic.Int64 // requests that waited for a place on a shared connection
	Switched   atomic.Int64 // endpoints that chose another protocol than before
}

const (
	// tick is the time between two looks at idle connections.
	tick = 250 * time.Millisecond
	// ageJitter is the share of MaxAge that is up to chance.
	ageJitter = 0.1
	// idleFloor is what Short leaves of Idle at least.
	idleFloor = time.Second
)

// Group is the pools of one cluster.
type Group struct {
	Stats Stats

	cfg   Config
	armed atomic.Bool // the timer runs, or the sweep that will decide whether to arm it again

	mu    sync.Mutex
	pools []member
	next  int // where the last eviction looked first
	timer *time.Timer
}

// member is a pool of any connection type.
type member interface {
	// sweep looks at the idle connections; kept is how many are left.
	sweep(now time.Time) (kept int)
	// evict closes the connection that has been idle longest, if there is one.
	evict() bool
	// idleCount is how many connections a sweep would look at.
	idleCount() int
}

// NewGroup makes a group without pools.
func NewGroup(cfg Config) *Group {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Group{cfg: cfg}
}

func (g *Group) add(m member) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pools = append(g.pools, m)
}

func (g *Group) remove(m member) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, p := range g.pools {
		if p == m {
			g.pools = append(g.pools[:i:i], g.pools[i+1:]...)
			break
		}
	}
	if len(g.pools) == 0 && g.timer != nil {
		g.timer.Stop()
		g.armed.Store(false)
	}
}

// members is the pools now; the slice is not changed after this.
func (g *Group) members() []member {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pools[:len(g.pools):len(g.pools)]
}

// wake sees to it that the idle connections are looked at. It costs one load
// while they are anyway.
func (g *Group) wake() {
	if g.armed.Load() || !g.armed.CompareAndSwap(false, true) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.timer == nil {
		g.timer = time.AfterFunc(tick, g.sweep)
	} else {
		g.timer.Reset(tick)
	}
}

// sweep looks at all pools and comes again while any holds a connection.
func (g *Group) sweep() {
	defer func() {
		if p := recover(); p != nil {
			g.Stats.Panics.Add(1)
			g.cfg.Log.Error("pool: panic while looking at idle connections", "panic", p)
		}
		g.armed.Store(false)
		for _, m := range g.members() {
			if m.idleCount() > 0 {
				g.wake()
				return
			}
		}
	}()
	now := time.Now()
	for _, m := range g.members() {
		m.sweep(now)
	}
}

// open takes a place for a connection to ep. An idle one goes for it if need be: of
// own, the pool of ep, or of any.
func (g *Group) open(ep *endpoint.Endpoint, own member) *stream.Fault {
	f := ep.Open()
	switch {
	case f == nil:
		return nil
	case endpoint.IsFull(f):
		if own.evict() {
			g.Stats.Evicted.Add(1)
			f = ep.Open()
		}
	case g.evict():
		f = ep.Open()
	}
	if f != nil {
		g.Stats.Refused.Add(1)
	}
	return f
}

// evict closes an idle connection of any pool, so that another may be opened.
func (g *Group) evict() bool {
	g.mu.Lock()
	pools, from := g.pools[:len(g.pools):len(g.pools)], g.next
	g.next++
	g.mu.Unlock()
	for i := range pools {
		if pools[(from+i)%len(pools)].evict() {
			g.Stats.Evicted.Add(1)
			return true
		}
	}
	return false
}
