package pool

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/stream"
)

// Shared is a connection that carries several exchanges at once: the client
// half of a codec with streams.
type Shared interface {
	// Serve carries out one exchange in a place that Reserve took. The place is
	// free again before Serve returns a fault, or before the connection calls
	// the ended function it was made with. Serve sets
	// req.Exchange.UpstreamEnd.
	stream.Service
	// Reserve takes the place of one exchange. It is false when all are taken,
	// and for good when the connection takes no new exchanges. It is cheap, and
	// safe for concurrent use like all others.
	Reserve() bool
	// Retire ends the connection after the exchanges under way and those whose
	// place is taken already. It does not wait.
	Retire()
	// Close ends the connection and what is under way on it.
	Close() error
	// Done is closed when the connection is closed, for whatever reason.
	Done() <-chan struct{}
}

// DialShared opens a connection and prepares it until deadline (the zero time:
// none) or the end of ctx: afterwards it knows how many exchanges it carries.
// Its error is a *stream.Fault.
//
// ended is called by the connection exactly once for each exchange whose Serve
// returns a response, when that exchange is over; it may be called before Serve
// returns.
type DialShared func(ctx context.Context, deadline time.Time, ended func()) (Shared, error)

// carrier is one shared connection in its Mux.
type carrier struct {
	Shared
	mux     *Mux
	born    time.Time
	expires time.Time

	// active is the exchanges under way; condemned is added to it, once, when
	// there were none, and then nobody begins one any more.
	active atomic.Int64
	turns  atomic.Int64 // exchanges begun
	// suspect: a request was not taken by it. Whoever must not meet such a
	// connection again keeps away.
	suspect atomic.Bool

	// Of the sweep, under mux.mu.
	retired   bool
	seenTurns int64
	idleSince time.Time // zero: was not idle at the last sweep
}

const condemned = int64(1) << 40

// begin takes one place of the connection, if there is one.
func (c *carrier) begin() bool {
	if !c.Reserve() {
		return false
	}
	if c.active.Add(1) > condemned { // the place goes down with the connection
		c.active.Add(-1)
		return false
	}
	return true
}

// leave ends an exchange, after its place became free.
func (c *carrier) leave() {
	m := c.mux
	if c.active.Add(-1) == 0 && m.group.cfg.MaxIdle == 0 {
		m.dropIdle(c)
	}
	if m.waiting.Load() > 0 {
		m.grantFreed()
	}
}

// ended is what the connection calls.
func (c *carrier) ended() {
	c.leave()
	c.mux.endpoint.Ended()
}

// condemn takes an idle connection out of use; false when it is not idle.
func (c *carrier) condemn() bool { return c.active.CompareAndSwap(0, condemned) }

// over tells whether the connection is closed.
func (c *carrier) over() bool {
	select {
	case <-c.Done():
		return true
	default:
		return false
	}
}

func (c *carrier) expired(now time.Time) bool {
	return !c.expires.IsZero() && !now.Before(c.expires)
}
