package pool

import (
	"context"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/backoff"
	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/internal/horizon"
	"github.com/weirproxy/weir/internal/peek"
)

// Conn is an upstream connection as the pool sees it.
type Conn interface{ Close() error }

// Dial opens a connection and prepares it (TLS, codec) until deadline (the
// zero time: none) or the end of ctx. Its error is a *stream.Fault.
//
// release is called by the connection at the end of each exchange, once, with
// what it knows about the next: whether the connection may carry one. After
// release(true) the connection is another request's. nc is the socket, which
// is looked at while the connection is idle; nil when there is none.
type Dial[C Conn] func(ctx context.Context, deadline time.Time, release func(reusable bool)) (conn C, nc net.Conn, err error)

const (
	// peekAfter is the idle time from which a connection is looked at before it
	// is used: a busy one costs no system call.
	peekAfter = 50 * time.Millisecond
	maxShards = 8
)

// Pool is the connections of one endpoint.
type Pool[C Conn] struct {
	group *Group
	ep    *endpoint.Endpoint
	dial  Dial[C]
	quiet func(net.Conn) bool // peek.Quiet

	shards  []shard[C]
	idle    atomic.Int64 // in all shards
	open    atomic.Int64 // idle, in use and watched
	drained atomic.Bool
	limit   atomic.Int64 // longest idle time that is used, in nanoseconds; 0: none

	learning sync.Mutex
	horizon  horizon.Horizon
	closes   []time.Duration // ages of closes since the last sweep, at most maxCloses
	watched  []*Lease[C]     // retired, not used any more, not closed yet; at most maxWatched
}

// shard holds a part of the idle connections, so that downstream connections
// do not meet at one lock. The last is the one used last.
type shard[C Conn] struct {
	mu   sync.Mutex
	idle []*Lease[C] // guarded by mu
	_    [32]byte
}

// New makes the pool of an endpoint and adds it to the group, until Drain.
func New[C Conn](g *Group, ep *endpoint.Endpoint, dial Dial[C]) *Pool[C] {
	n := 1
	for n < maxShards && n < runtime.GOMAXPROCS(0) {
		n *= 2
	}
	p := &Pool[C]{group: g, ep: ep, dial: dial, quiet: peek.Quiet, shards: make([]shard[C], n)}
	p.limit.Store(int64(g.cfg.Idle))
	g.add(p)
	return p
}

// Get is a connection: a pooled one unless fresh, or a new one. near says whose
// connection it was before is to be preferred (a downstream connection's
// number); now may be a moment ago. The connection ends the lease by its release
// function. The error is a *stream.Fault.
func (p *Pool[C]) Get(ctx context.Context, near uint64, fresh bool, now, deadline time.Time) (*Lease[C], error) {
	at := int(near % uint64(len(p.shards)))
	if !fresh && p.idle.Load() > 0 {
		if l := p.take(at, now); l != nil {
			return l, nil
		}
	}
	return p.connect(ctx, at, deadline, p.dial)
}

// connect opens a connection within the limits of cluster and endpoint.
func (p *Pool[C]) connect(ctx context.Context, at int, deadline time.Time, dial Dial[C]) (_ *Lease[C], err error) {
	g := p.group
	if f := p.ep.Wait(); f != nil {
		g.Stats.Crowded.Add(1)
		return nil, f
	}
	defer p.ep.Waited()
	if f := g.open(p.ep, p); f != nil {
		return nil, f
	}
	p.open.Add(1)
	l := &Lease[C]{pool: p, at: at}
	l.begin()
	made := false
	defer func() { // also when dial panics
		if !made {
			g.dialFailed(err)
			p.gone()
		}
	}()
	conn, nc, err := dial(ctx, deadline, l.release)
	if err != nil {
		return nil, err
	}
	made = true
	g.Stats.Dialed.Add(1)
	l.Conn, l.nc = conn, nc
	if g.cfg.MaxAge > 0 {
		l.expires = time.Now().Add(backoff.Around(g.cfg.MaxAge, ageJitter, rand.Uint64()))
	}
	return l, nil
}

// gone gives back the place of a connection that is closed.
func (p *Pool[C]) gone() {
	p.open.Add(-1)
	p.ep.Closed()
}

// take is the idle connection used last that may be used, from shard at first,
// or nil. Those that may not are closed on the way.
func (p *Pool[C]) take(at int, now time.Time) *Lease[C] {
	for i := range p.shards {
		s := &p.shards[(at+i)%len(p.shards)]
		for l := p.pop(s); l != nil; l = p.pop(s) {
			age := max(now.Sub(l.since), 0) // it may have come back since now
			if v := p.judge(l, now, age >= peekAfter); v != keep {
				p.dispose(l, v, now)
				continue
			}
			if age >= tooEarly {
				p.noteReuse(age, now)
			}
			l.at, l.idled, l.reused = at, age, true
			l.begin()
			return l
		}
	}
	return nil
}

func (p *Pool[C]) pop(s *shard[C]) *Lease[C] {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.idle) - 1
	if last < 0 {
		return nil
	}
	l := s.idle[last]
	s.idle[last] = nil
	s.idle = s.idle[:last]
	p.idle.Add(-1)
	return l
}

// put takes a connection back that may carry another exchange.
func (p *Pool[C]) put(l *Lease[C], now time.Time) {
	stats := &p.group.Stats
	switch {
	case p.drained.Load():
		l.close()
		return
	case l.expired(now):
		stats.Aged.Add(1)
		l.close()
		return
	case p.idle.Add(1) > int64(p.group.cfg.MaxIdle):
		p.idle.Add(-1)
		stats.Dropped.Add(1)
		l.close()
		return
	}
	l.since, l.seenOpen = now, 0
	s := &p.shards[l.at]
	s.mu.Lock()
	s.idle = append(s.idle, l)
	s.mu.Unlock()
	if p.drained.Load() { // Drain may have passed this shard already
		p.closeIdle()
		return
	}
	p.group.wake()
}

// Drain closes what is idle and keeps nothing from now on.
func (p *Pool[C]) Drain() {
	p.drained.Store(true)
	p.group.remove(p)
	p.closeIdle()
}

func (p *Pool[C]) closeIdle() {
	for i := range p.shards {
		for l := p.pop(&p.shards[i]); l != nil; l = p.pop(&p.shards[i]) {
			l.close()
		}
	}
	for _, l := range p.takeWatched() {
		l.close()
	}
}

// Connections counts the open connections and those that are idle.
func (p *Pool[C]) Connections() (open, idle int) {
	return int(p.open.Load()), int(p.idle.Load())
}
