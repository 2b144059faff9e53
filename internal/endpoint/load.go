package endpoint

import (
	"math"
	"sync/atomic"
)

// Load counts what a cluster has under way against its limits: requests, from
// their admission until the response body is closed, and open connections,
// idle ones included.
type Load struct {
	maxRequests    int64 // 0: no limit
	maxConnections int64 // 0: no limit
	each           each  // the limits of each endpoint

	changes atomic.Uint64 // of the health of any endpoint

	_           [64]byte
	requests    atomic.Int64
	_           [56]byte
	connections atomic.Int64
}

// NewLoad makes a Load with these limits; 0 is no limit.
func NewLoad(maxRequests, maxConnections int) *Load {
	return &Load{maxRequests: int64(maxRequests), maxConnections: int64(maxConnections)}
}

// MaxRequests is how many requests may be under way.
func (l *Load) MaxRequests() int64 {
	if l.maxRequests == 0 {
		return math.MaxInt64
	}
	return l.maxRequests
}

// Enter takes a place for a request, unless all are taken.
func (l *Load) Enter() bool { return take(&l.requests, l.maxRequests) }

// Reenter takes a place for a request that was admitted before: a retry is not
// refused halfway.
func (l *Load) Reenter() { l.requests.Add(1) }

// Leave gives a place back.
func (l *Load) Leave() { l.requests.Add(-1) }

// Requests is the number of requests under way.
func (l *Load) Requests() int64 { return l.requests.Load() }

// Open takes a place for a connection, unless all are taken.
func (l *Load) Open() bool { return take(&l.connections, l.maxConnections) }

// Closed gives the place of a connection back.
func (l *Load) Closed() { l.connections.Add(-1) }

// Connections is the number of open connections.
func (l *Load) Connections() int64 { return l.connections.Load() }

// take adds first and looks then, so that the limit is never exceeded.
func take(count *atomic.Int64, limit int64) bool {
	if n := count.Add(1); limit > 0 && n > limit {
		count.Add(-1)
		return false
	}
	return true
}
