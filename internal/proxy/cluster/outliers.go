package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/backoff"
	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/internal/grpcstatus"
	"github.com/weirproxy/weir/internal/latency"
	"github.com/weirproxy/weir/internal/outlier"
	"github.com/weirproxy/weir/stream"
)

// Compares tells whether endpoints are compared: whether Compare is to run.
func (c *Cluster) Compares() bool { return compares(&c.ejector.cfg) }

func compares(cfg *config.Ejection) bool {
	return cfg.SuccessRate != nil || cfg.FailureRate != nil || cfg.Latency != nil
}

// tallies has the endpoints of set count what they answer.
func (c *Cluster) tallies(set *endpoint.Set) {
	if !c.Compares() {
		return
	}
	for _, ep := range set.All() {
		if ep.Tally() != nil {
			continue
		}
		t := new(endpoint.Tally)
		if c.ejector.cfg.Latency != nil {
			t.Took = latency.New(time.Duration(c.ejector.cfg.Interval), time.Now())
		}
		ep.Keep(t)
	}
}

// countAnswer counts an attempt that began then. One that was given up, or whose time
// the client set, counts nowhere.
func countAnswer(ctx context.Context, t *endpoint.Tally, req *stream.Request, began time.Time, resp *stream.Response, f *stream.Fault) {
	if f != nil {
		stale := req.Exchange.Reused && f.Retry == stream.RetryUnsent
		if ctx.Err() != nil || stale || !blames(f) {
			return
		}
		t.Bad.Add(1)
		if f.Kind == stream.UpstreamTimeout && t.Took != nil {
			now := time.Now()
			t.Took.Observe(now.Sub(began), now)
		}
		return
	}
	code, isEarly := early(req, resp)
	switch {
	case isEarly && code == grpcstatus.DeadlineExceeded:
	case isEarly && (blamesGRPC(code) || errsGRPC(code)), resp.Status >= 500:
		t.Bad.Add(1)
	default:
		t.Good.Add(1)
		if t.Took != nil {
			t.Took.Observe(req.Exchange.UpstreamHead.Sub(began), req.Exchange.UpstreamHead)
		}
	}
}

// Compare looks at the endpoints again and again until ctx ends, and takes out
// those that are not like the others.
func (c *Cluster) Compare(ctx context.Context) {
	interval := time.Duration(c.ejector.cfg.Interval)
	seen := map[*endpoint.Endpoint]counted{}
	timer := time.NewTimer(backoff.Around(interval, ejectionJitter, rand.Uint64()))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-timer.C:
			c.ejector.compare(c.set.Load(), now, seen)
		}
		timer.Reset(backoff.Around(interval, ejectionJitter, rand.Uint64()))
	}
}

// counted is what an endpoint had counted when it was looked at last.
type counted struct{ good, bad int64 }

// compare is one look. seen is its memory.
func (j *ejector) compare(set *endpoint.Set, now time.Time, seen map[*endpoint.Endpoint]counted) {
	var eps []*endpoint.Endpoint
	var samples []outlier.Sample
	members := make(map[*endpoint.Endpoint]bool, len(set.All()))
	for _, ep := range set.All() {
		members[ep] = true
		t := ep.Tally()
		if t == nil {
			continue
		}
		last := seen[ep]
		next := counted{t.Good.Load(), t.Bad.Load()}
		seen[ep] = next
		if !ep.Available(now) { // what came here came because nothing else was left
			continue
		}
		s := outlier.Sample{Good: next.good - last.good, Bad: next.bad - last.bad}
		if t.Took != nil {
			s.Took, s.Times = t.Took.Quantile(j.cfg.Latency.Quantile, now)
		}
		eps, samples = append(eps, ep), append(samples, s)
	}
	for ep := range seen {
		if !members[ep] {
			delete(seen, ep)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.bySuccess(set, eps, samples, now)
	j.byFailure(set, eps, samples, now)
	j.byLatency(set, eps, samples, now)
}

func (j *ejector) bySuccess(set *endpoint.Set, eps []*endpoint.Endpoint, samples []outlier.Sample, now time.Time) {
	cfg := j.cfg.SuccessRate
	if cfg == nil {
		return
	}
	rule := outlier.SuccessRate{Factor: cfg.Factor, Least: cfg.Least, Among: cfg.MinEndpoints, Total: int64(cfg.MinRequests)}
	for _, f := range rule.Find(samples) {
		j.eject(set, eps[f.Index], now, endpoint.Ejection{
			Cause: endpoint.BySuccessRate, Reason: fmt.Sprintf("%.1f %% of requests succeeded, of the others so many that less than %.1f %% is odd", 100*f.Value, 100*f.Limit),
		})
	}
}

func (j *ejector) byFailure(set *endpoint.Set, eps []*endpoint.Endpoint, samples []outlier.Sample, now time.Time) {
	cfg := j.cfg.FailureRate
	if cfg == nil {
		return
	}
	rule := outlier.FailureRate{Above: cfg.Above, Among: cfg.MinEndpoints, Total: int64(cfg.MinRequests)}
	for _, f := range rule.Find(samples) {
		j.eject(set, eps[f.Index], now, endpoint.Ejection{
			Cause: endpoint.ByFailureRate, Reason: fmt.Sprintf("%.1f %% of requests failed, more than %.1f %%", 100*f.Value, 100*f.Limit),
		})
	}
}

func (j *ejector) byLatency(set *endpoint.Set, eps []*endpoint.Endpoint, samples []outlier.Sample, now time.Time) {
	cfg := j.cfg.Latency
	if cfg == nil {
		return
	}
	rule := outlier.Latency{Factor: cfg.Factor, Least: time.Duration(cfg.Least), Among: cfg.MinEndpoints, Total: int64(cfg.MinRequests)}
	for _, f := range rule.Find(samples) {
		took, limit := inSeconds(f.Value), inSeconds(f.Limit)
		j.eject(set, eps[f.Index], now, endpoint.Ejection{
			Cause: endpoint.ByLatency, Slow: limit,
			Reason: fmt.Sprintf("answers take %v (quantile %v), where more than %v is too slow beside the others", took, cfg.Quantile, limit),
		})
	}
}

func inSeconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(100 * time.Microsecond)
}
