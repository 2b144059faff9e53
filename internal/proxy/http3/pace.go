package http3

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// pace judges one side of a transfer over all its waits together. The watchdog
// sees a single wait; a peer that moves one byte in each would never stall. The
// time between the waits, when the other side is the slow one, does not count.
type pace struct {
	limit  *stream.PhaseLimit
	waited time.Duration
	moved  int64
}

// wait adds one wait that moved n bytes.
func (p *pace) wait(d time.Duration, n int) watchdog.Verdict {
	p.waited += d
	p.moved += int64(n)
	l := p.limit
	switch {
	case l.Ceiling > 0 && p.waited >= l.Ceiling:
		return watchdog.TooLong
	case l.MinRate > 0 && p.waited >= l.Grace && float64(p.moved) < float64(l.MinRate)*p.waited.Seconds():
		return watchdog.TooSlow
	}
	return watchdog.None
}

// watchLimits is the limits of the phases in the words of the watchdog.
func watchLimits(phases *stream.PhaseLimits) []watchdog.Limit {
	limits := make([]watchdog.Limit, len(phases))
	for i, l := range phases {
		limits[i] = watchdog.Limit(l)
	}
	return limits
}

// post is a guard that goes from exchange to exchange of one connection, so
// that the dog, which all connections share, is told of it once.
type post struct {
	watchdog.Guard
	expire atomic.Pointer[func(phase uint8, v watchdog.Verdict)]
}

// posts keeps those of one connection that are at rest.
type posts struct {
	dog    *watchdog.Dog
	limits []watchdog.Limit

	mu     sync.Mutex
	free   []*post
	closed bool
}

// maxPosts is how many posts a connection keeps.
const maxPosts = 8

// take gives a guard that calls expire.
func (ps *posts) take(expire func(phase uint8, v watchdog.Verdict)) *post {
	p := ps.pop()
	if p == nil {
		p = new(post)
		p.expire.Store(&expire)
		ps.dog.Watch(&p.Guard, ps.limits, p.fire, nil)
		return p
	}
	p.expire.Store(&expire)
	return p
}

func (ps *posts) pop() *post {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	last := len(ps.free) - 1
	if last < 0 {
		return nil
	}
	p := ps.free[last]
	ps.free = ps.free[:last]
	return p
}

// fire runs on the dog's goroutine.
func (p *post) fire(phase uint8, v watchdog.Verdict) {
	if expire := p.expire.Load(); expire != nil {
		(*expire)(phase, v)
	}
}

// give takes p back. One that has fired is not used again: the call may still
// be on its way.
func (ps *posts) give(p *post) {
	sound := p.Rest()
	if p.Billed() {
		p.Bill(nil)
	}
	p.expire.Store(nil)
	ps.mu.Lock()
	if sound && !ps.closed && len(ps.free) < maxPosts {
		ps.free = append(ps.free, p)
		p = nil
	}
	ps.mu.Unlock()
	if p != nil {
		p.Release()
	}
}

// close releases every post that is at rest; those in use are, when given back.
func (ps *posts) close() {
	ps.mu.Lock()
	free := ps.free
	ps.free, ps.closed = nil, true
	ps.mu.Unlock()
	for _, p := range free {
		p.Release()
	}
}
