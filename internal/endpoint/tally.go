package endpoint

import (
	"sync/atomic"

	"github.com/weirproxy/weir/internal/latency"
)

// Tally counts what an endpoint answered, for whoever compares endpoints. Its
// numbers only grow.
type Tally struct {
	Good, Bad atomic.Int64
	Took      *latency.Window // nil: nobody asks
}

// Tally is what the endpoint counts into; nil: nobody compares.
func (e *Endpoint) Tally() *Tally { return e.tally.Load() }

// Keep has the endpoint count into t, unless it counts already.
func (e *Endpoint) Keep(t *Tally) { e.tally.CompareAndSwap(nil, t) }
