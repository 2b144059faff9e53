package cluster

import (
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

const (
	// ejectionJitter is the share of an ejection that is up to chance, so that
	// many proxies do not come back to an endpoint at the same time.
	ejectionJitter = 0.1
	// cappedFor is how long nobody counts again how many endpoints are out,
	// once there were too many.
	cappedFor = 100 * time.Millisecond
)

// ejector takes endpoints out that fail real requests, several times in a row.
// After its return an endpoint is on probation: the next failure ejects it
// again (endpoint.Eject keeps the count).
type ejector struct {
	cfg   config.Ejection
	log   *slog.Logger
	stats *Stats

	mu     sync.Mutex
	capped time.Time // until then too many are out. Guarded by mu
}

func newEjector(cfg config.Ejection, log *slog.Logger, stats *Stats) ejector {
	return ejector{cfg: cfg, log: log, stats: stats}
}

// blames tells whether a fault speaks against the endpoint. One of the client,
// or of Weir itself, never does; nor a time that was up before anything was
// sent.
func blames(f *stream.Fault) bool {
	switch f.Kind {
	case stream.NameUnresolved, stream.ConnectRefused, stream.ConnectTimeout, stream.ConnectFailed, stream.TLSFailed,
		stream.UpstreamClosed, stream.UpstreamReset, stream.UpstreamTooSlow:
		return true
	case stream.UpstreamTimeout:
		return f.Retry != stream.RetryUnsent
	}
	return false
}

// blamesStatus tells whether a status speaks against the endpoint.
func blamesStatus(status int) bool { return status == 502 || status == 503 || status == 504 }

// failed notes a failure, and ejects the endpoint if it was one too many.
func (j *ejector) failed(set *endpoint.Set, ep *endpoint.Endpoint, now time.Time, reason func() string) {
	n := ep.Failed(now)
	if j.cfg.Consecutive <= 0 || n < j.cfg.Consecutive {
		return
	}
	if !j.mu.TryLock() { // somebody is at it; the next failure will do
		return
	}
	defer j.mu.Unlock()
	if now.Before(j.capped) || !j.room(set, now) {
		if !now.Before(j.capped) {
			j.capped = now.Add(cappedFor)
		}
		j.stats.EjectionCapped.Add(1)
		return
	}
	why := reason()
	until, ok := ep.Eject(now, why, time.Duration(j.cfg.Base), j.length)
	if !ok {
		return
	}
	j.stats.Ejections.Add(1)
	j.log.Warn("endpoint ejected", "endpoint", ep.Address, "reason", why, "failures", n, "until", until)
}

// room tells whether one more endpoint may be out: up to MaxShare, and one in
// any case when there are others.
func (j *ejector) room(set *endpoint.Set, now time.Time) bool {
	all := set.All()
	limit := int(j.cfg.MaxShare * float64(len(all)))
	if len(all) > 1 {
		limit = max(limit, 1)
	}
	out := 0
	for _, ep := range all {
		if ep.Ejected(now) {
			out++
		}
	}
	return out < limit
}

// length is how long the nth ejection lasts.
func (j *ejector) length(n int) time.Duration {
	base, d := time.Duration(j.cfg.Base), time.Duration(j.cfg.Max)
	if d <= 0 || base <= d/time.Duration(n) {
		d = base * time.Duration(n)
	}
	return d - time.Duration(rand.Float64()*ejectionJitter*float64(d))
}
