package endpoint

import (
	"math"
	"strings"

	"github.com/weirproxy/weir/stream"
)

// Limits bound what each endpoint of a cluster has to do at once; 0 is no limit.
type Limits struct {
	Requests    int // attempts under way
	Connections int // open, idle ones included
	Pending     int // attempts that wait for a connection
	// Streams is how many requests one connection carries at the most, so that
	// whoever picks knows how many the connections carry together; 0: not known.
	Streams int
}

// The names of the limits in faults.
const (
	FullRequests    = fullPrefix + "max_requests"
	FullConnections = fullPrefix + "max_connections"
	FullPending     = fullPrefix + "max_pending"

	fullPrefix = "endpoint."
)

// IsFull tells whether a fault says that an endpoint was at a limit of its own:
// another one may have room.
func IsFull(f *stream.Fault) bool {
	return f.Kind == stream.ClusterFull && strings.HasPrefix(f.Limit, fullPrefix)
}

// full is the fault of a limit. Nothing was sent.
func full(limit string) *stream.Fault {
	return &stream.Fault{Kind: stream.ClusterFull, Retry: stream.RetryUnsent, Limit: limit}
}

// each is Limits as they are looked at.
type each struct {
	limited     bool
	requests    int64
	connections int64
	pending     int64
	carried     int64 // requests under way from which on there is no room
}

// LimitEndpoints bounds the endpoints that are made with the load. It is called
// before there are any.
func (l *Load) LimitEndpoints(by Limits) {
	l.each = each{
		limited: by.Requests > 0 || by.Connections > 0 || by.Pending > 0, carried: math.MaxInt64,
		requests: int64(by.Requests), connections: int64(by.Connections), pending: int64(by.Pending),
	}
	if by.Requests > 0 {
		l.each.carried = int64(by.Requests)
	}
	if by.Connections > 0 && by.Streams > 0 {
		l.each.carried = min(l.each.carried, int64(by.Connections)*int64(by.Streams))
	}
}

// HasRoom tells whether the endpoint is below its limits. Without limits that is one
// look at what all endpoints share and nobody writes.
func (e *Endpoint) HasRoom() bool {
	limits := &e.load.each
	return !limits.limited || e.inFlight.Load() < limits.carried && (limits.pending == 0 || e.pending.Load() < limits.pending)
}

// Capacity is how many requests the endpoints of s that may be picked may have
// under way together. It is counted again when the health of an endpoint has
// changed. Where there is no limit, or nobody that may be picked, it is in nobody's
// way.
func (s *Set) Capacity() int64 {
	if len(s.picked) == 0 || !s.picked[0].load.each.limited || s.picked[0].load.each.carried == math.MaxInt64 {
		return math.MaxInt64
	}
	load := s.picked[0].load
	changes := load.changes.Load()
	if known := s.capacity.Load(); known != nil && known.changes == changes {
		return known.requests
	}
	next := &capacity{changes: changes}
	for _, e := range s.picked {
		if s.blind || e.state.Load()&(unfit|held) == 0 {
			next.requests += load.each.carried
		}
	}
	if next.requests == 0 {
		next.requests = math.MaxInt64
	}
	s.capacity.Store(next)
	return next.requests
}

type capacity struct {
	changes  uint64
	requests int64
}

// Open takes a place for a connection, of the endpoint and of its cluster. Otherwise
// it says which of the two has none.
func (e *Endpoint) Open() *stream.Fault {
	if !take(&e.connections, e.load.each.connections) {
		return full(FullConnections)
	}
	if !e.load.Open() {
		e.connections.Add(-1)
		return &stream.Fault{Kind: stream.ClusterFull, Limit: "max_connections"}
	}
	return nil
}

// Closed gives the place of a connection back.
func (e *Endpoint) Closed() {
	e.connections.Add(-1)
	e.load.Closed()
}

// Wait counts an attempt that waits for a connection, until Waited, unless as many
// as may wait already.
func (e *Endpoint) Wait() *stream.Fault {
	if !take(&e.pending, e.load.each.pending) {
		return full(FullPending)
	}
	return nil
}

// Waited ends a wait.
func (e *Endpoint) Waited() { e.pending.Add(-1) }
