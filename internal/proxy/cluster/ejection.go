package cluster

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/backoff"
	"github.com/weirproxy/weir/internal/endpoint"
)

const (
	// ejectionJitter is the share of an ejection that is up to chance, so that
	// many proxies do not come back to an endpoint at the same time.
	ejectionJitter = 0.1
	// cappedFor is how long nobody counts again how many endpoints are out,
	// once there were too many.
	cappedFor = 100 * time.Millisecond
	// lookAgain is how long nobody looks again for an endpoint to try, once none
	// could be tried that is due: it is unfit, or not one of the route's.
	lookAgain = 10 * time.Millisecond
)

// ejector takes endpoints out for what they answered: here for failures in a
// row, outliers.go compares them. When the time of an ejection is over, it hands
// the endpoint to one request at a time (probation.go).
type ejector struct {
	cfg   config.Ejection
	tell  func(endpoint.Event)
	stats *Stats
	born  time.Time

	// due is when the next endpoint is to be tried, in nanoseconds since born. A
	// pick looks at nothing else while it has not come.
	due atomic.Int64

	mu     sync.Mutex
	capped time.Time // until then too many are out. Guarded by mu
}

func newEjector(cfg config.Ejection, tell func(endpoint.Event), stats *Stats) *ejector {
	if tell == nil {
		tell = func(endpoint.Event) {}
	}
	cfg.Probation = max(cfg.Probation, 1)
	j := &ejector{cfg: cfg, tell: tell, stats: stats, born: time.Now()}
	j.due.Store(math.MaxInt64)
	return j
}

// failed notes a failure, and ejects the endpoint if it was one too many.
func (j *ejector) failed(set *endpoint.Set, ep *endpoint.Endpoint, now time.Time, v verdict) {
	n := ep.Failed()
	if j.cfg.Consecutive <= 0 || n < j.cfg.Consecutive {
		return
	}
	if !j.mu.TryLock() { // somebody is at it; the next failure will do
		return
	}
	defer j.mu.Unlock()
	if now.Before(j.capped) {
		j.stats.EjectionCapped.Add(1)
		return
	}
	j.eject(set, ep, now, endpoint.Ejection{Cause: endpoint.ByConsecutive, Reason: fmt.Sprintf("%d failures in a row, the last one: %s", n, v.reason())})
}

// eject takes an endpoint out if there is room. j.mu is held.
func (j *ejector) eject(set *endpoint.Set, ep *endpoint.Endpoint, now time.Time, why endpoint.Ejection) {
	if !j.room(set) {
		j.capped = now.Add(cappedFor)
		j.stats.EjectionCapped.Add(1)
		return
	}
	why.Forgive, why.Length = time.Duration(j.cfg.Base), j.length
	ev, ok := ep.Eject(now, why)
	if !ok {
		return
	}
	j.stats.Ejections.Add(1)
	j.tell(ev)
	j.wake(ev.Until)
}

// room tells whether one more endpoint may be out: up to MaxShare, and one in
// any case when there are others.
func (j *ejector) room(set *endpoint.Set) bool {
	all := set.All()
	limit := int(j.cfg.MaxShare * float64(len(all)))
	if len(all) > 1 {
		limit = max(limit, 1)
	}
	out := 0
	for _, ep := range all {
		if ep.Ejected() {
			out++
		}
	}
	return out < limit
}

// length is how long the nth ejection lasts: each twice as long as the one before.
func (j *ejector) length(n int) time.Duration {
	d := backoff.Exponential{Base: time.Duration(j.cfg.Base), Max: time.Duration(j.cfg.Max)}.Bound(n)
	return d - time.Duration(rand.Float64()*ejectionJitter*float64(d))
}
