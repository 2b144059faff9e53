package pool

import (
	"net"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

// The phases of an exchange on a connection, in the low bits of Lease.phase.
// The number of the exchange is in the bits above, so that whoever comes late
// does not meet the next one.
const (
	phaseServing uint64 = iota + 1 // Transport.Serve has not returned
	phaseHanded                    // it returned a response
	phaseOver                      // the connection is idle, watched or closed
	phaseBits    = 2
	phaseMask    = 1<<phaseBits - 1
)

// Lease is one connection: with the one who got it from Get, idle in its pool,
// or watched. It belongs to one of them at a time, who alone reads and writes
// it; only phase is touched by others.
type Lease[C Conn] struct {
	Conn C

	pool    *Pool[C]
	nc      net.Conn // nil: cannot be looked at
	expires time.Time
	at      int // its shard

	// Of the use under way.
	reused   bool          // the connection carried an exchange before
	idled    time.Duration // how long it was idle before
	turn     uint64        // number of the exchange
	req      *stream.Request
	endpoint *endpoint.Endpoint
	phase    atomic.Uint64

	// Of the idle time under way.
	since    time.Time
	seenOpen time.Duration // the idle age at which it was seen open last
}

// begin makes the lease ready for its next exchange.
func (l *Lease[C]) begin() {
	l.turn++
	l.phase.Store(l.serving())
}

// serving is the value of phase while Transport.Serve runs.
func (l *Lease[C]) serving() uint64 { return l.turn<<phaseBits | phaseServing }

// release ends the exchange, once: a second call does nothing. The connection
// calls it.
func (l *Lease[C]) release(reusable bool) {
	for {
		was := l.phase.Load()
		if was&phaseMask == phaseOver {
			return
		}
		if l.phase.CompareAndSwap(was, was&^phaseMask|phaseOver) {
			l.over(was&phaseMask == phaseHanded, reusable)
			return
		}
	}
}

// over gives the connection back after the phase has become phaseOver.
func (l *Lease[C]) over(handed, reusable bool) {
	now, ep := time.Now(), l.endpoint
	if l.req != nil && (handed || reusable) {
		l.req.Exchange.UpstreamEnd = now
	}
	l.req = nil
	if reusable {
		l.pool.put(l, now)
	} else {
		l.pool.group.Stats.Broken.Add(1)
		l.close()
	}
	if handed {
		ep.Ended()
	}
}

// discard ends an exchange without the connection's help, unless it is over:
// the connection failed, or panicked.
func (l *Lease[C]) discard(serving uint64) {
	if l.phase.CompareAndSwap(serving, serving&^phaseMask|phaseOver) {
		l.over(false, false)
	}
}

func (l *Lease[C]) expired(now time.Time) bool {
	return !l.expires.IsZero() && !now.Before(l.expires)
}

// close closes the connection and gives its place back. The error says nothing
// that matters: nobody uses the connection any more.
func (l *Lease[C]) close() {
	_ = l.Conn.Close()
	l.pool.gone()
}
