package cluster

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

// full refuses a request for which there is no place.
func (c *Cluster) full(req *stream.Request) error {
	c.Stats.Full.Add(1)
	_ = req.Body.Close()
	return &stream.Fault{Kind: stream.ClusterFull, Limit: "max_requests"}
}

// ongoing are the retries under way: from the decision, so that those that wait for
// their turn count, to the head of the response.
type ongoing struct {
	max   int64 // 0: no limit
	count atomic.Int64
}

// enter takes a place, unless all are taken.
func (o *ongoing) enter() bool {
	if n := o.count.Add(1); o.max > 0 && n > o.max {
		o.count.Add(-1)
		return false
	}
	return true
}

func (o *ongoing) leave() { o.count.Add(-1) }

// Retries is the number of retries under way.
func (c *Cluster) Retries() int64 { return c.retries.count.Load() }

// maxTurned is how many endpoints a request asks that have no room after all: what
// the balancer sees is a moment old, and it knows nothing of connections that are
// shared.
const maxTurned = 8

// elsewhere is another endpoint for an attempt that ep had no room for, as f says:
// that was no attempt, and says nothing of ep. It is nil when none has room, or the
// transport has closed the body.
func (x *exchange) elsewhere(ep *endpoint.Endpoint, f *stream.Fault, now time.Time) *endpoint.Endpoint {
	x.endTrial(false)
	if x.turned++; x.turned > maxTurned || x.over(now) || x.ctx.Err() != nil {
		return nil
	}
	x.tried = append(x.tried, ep) // allocates: rare
	other := x.pick(now)
	if other == nil || !other.HasRoom() || slices.Contains(x.tried, other) || f.Limit != endpoint.FullRequests && !x.rewind() {
		return nil
	}
	return other
}

// capacity is how many requests may be under way: what the cluster may have, and
// what its endpoints may have together.
func (c *Cluster) capacity() int64 {
	return min(c.load.MaxRequests(), c.set.Load().Capacity())
}
