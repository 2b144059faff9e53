package cluster

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

// turns picks the endpoints that are available in turn.
type turns struct{ n int }

func (p *turns) Pick(set *endpoint.Set, now time.Time, _ []*endpoint.Endpoint, _ uint64) (*endpoint.Endpoint, bool) {
	for range set.All() {
		p.n++
		if ep := set.All()[p.n%len(set.All())]; ep.Available(now) {
			return ep, false
		}
	}
	return set.All()[0], true
}

// comparing is a cluster that compares its endpoints, and its goroutine.
func comparing(t *testing.T, n int, change func(*config.Ejection)) (*fixture, *told) {
	log := new(told)
	f := newFixture(n, func(c *Config) {
		c.Picker, c.OnHealth = new(turns), log.hear
		c.Ejection = config.Default[config.Ejection]()
		c.Ejection.Consecutive = 0
		change(&c.Ejection)
	})
	if !f.Compares() {
		t.Fatal("nothing is compared")
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); f.Compare(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return f, log
}

// load sends requests for a while: perSecond to each endpoint.
func (f *fixture) load(t *testing.T, seconds, perSecond int) {
	t.Helper()
	s := f.ForRoute(retries(1))
	for range seconds {
		for range perSecond * len(f.up) {
			outcome(s.Serve(t.Context(), request("GET")))
		}
		time.Sleep(time.Second)
	}
}

// sometimes answers badly n times of ten.
func (u *upstream) sometimes(status, n int) {
	turn := 0
	u.serve = func(context.Context, *stream.Request) (*stream.Response, error) {
		if turn++; turn%10 < n {
			return u.respond(status), nil
		}
		return u.respond(200), nil
	}
}

// takes answers after a while. The bubble's clock is that of all requests, which
// come one after the other.
func (u *upstream) takes(d time.Duration) {
	u.serve = func(context.Context, *stream.Request) (*stream.Response, error) {
		time.Sleep(d)
		return u.respond(200), nil
	}
}

func success(e *config.Ejection) { e.SuccessRate = new(config.Default[config.SuccessRate]()) }
func failure(e *config.Ejection) { e.FailureRate = new(config.Default[config.FailureRate]()) }

func slow(e *config.Ejection) {
	e.Latency = new(config.Default[config.LatencyOutlier]())
	e.Latency.MinRequests = 20
}

// TestOutliers: each rule has a case in which it is needed, and some in which it
// must stay quiet.
func TestOutliers(t *testing.T) {
	for _, tt := range []struct {
		name      string
		endpoints int
		rule      func(*config.Ejection)
		make      func(f *fixture)
		perSecond int
		want      []string
	}{
		{"success: one fails a third", 6, success, func(f *fixture) { f.up[2].sometimes(500, 3) }, 20, []string{"c ejected success_rate"}},
		{"success: all fail a third", 6, success, func(f *fixture) {
			for _, u := range f.up {
				u.sometimes(500, 3)
			}
		}, 20, nil},
		{"success: too few requests", 6, success, func(f *fixture) { f.up[2].sometimes(500, 3) }, 5, nil},
		{"success: too few endpoints", 4, success, func(f *fixture) { f.up[2].sometimes(500, 3) }, 20, nil},
		{"success: refusals are answers", 6, success, func(f *fixture) { f.up[2].sometimes(403, 9) }, 20, nil},
		{"failure: one fails always", 2, failure, func(f *fixture) { f.up[1].always(500) }, 10, []string{"b ejected failure_rate"}},
		{"failure: one fails often", 2, failure, func(f *fixture) { f.up[1].sometimes(500, 8) }, 10, nil},
		{"failure: all fail always", 2, failure, func(f *fixture) { f.up[0].always(500); f.up[1].always(500) }, 10, nil},
		{"latency: one is slow", 4, slow, func(f *fixture) {
			for _, u := range f.up {
				u.takes(10 * time.Millisecond)
			}
			f.up[3].takes(200 * time.Millisecond)
		}, 4, []string{"d ejected latency"}},
		{"latency: all are slow", 4, slow, func(f *fixture) {
			for _, u := range f.up {
				u.takes(100 * time.Millisecond)
			}
		}, 4, nil},
		{"latency: a fast failure is not fast", 4, slow, func(f *fixture) {
			for _, u := range f.up {
				u.takes(20 * time.Millisecond)
			}
			f.up[3].always(500)
		}, 4, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, log := comparing(t, tt.endpoints, tt.rule)
				tt.make(f)
				f.load(t, 25, tt.perSecond)
				log.expect(t, tt.want...)
			})
		})
	}
}

// TestOutliersLeaveTheRest: however many are odd, max_share holds.
func TestOutliersLeaveTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, log := comparing(t, 10, func(e *config.Ejection) { failure(e); e.MaxShare = 0.2 })
		for i := range 6 {
			f.up[i].always(500)
		}
		f.load(t, 25, 10)
		log.expect(t, "a ejected failure_rate", "b ejected failure_rate")
		if f.Stats.EjectionCapped.Load() == 0 {
			t.Error("nothing was counted as held back")
		}
	})
}

// TestOutliersComeBack: a statistic is proved wrong by what it was about.
func TestOutliersComeBack(t *testing.T) {
	for _, tt := range []struct {
		name string
		rule func(*config.Ejection)
		bad  func(*upstream)
		good func(*upstream)
	}{
		{"failures", failure, func(u *upstream) { u.always(500) }, func(u *upstream) { u.always(404) }},
		{"latency", slow, func(u *upstream) { u.takes(200 * time.Millisecond) }, func(u *upstream) { u.takes(20 * time.Millisecond) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, log := comparing(t, 3, tt.rule)
				for _, u := range f.up {
					u.takes(10 * time.Millisecond)
				}
				tt.bad(f.up[2])
				f.load(t, 20, 6)
				rule := "c ejected failure_rate"
				if tt.name == "latency" {
					rule = "c ejected latency"
				}
				log.expect(t, rule)
				s := f.ForRoute(retries(1))
				serve := func() {
					time.Sleep(time.Until(f.up[2].ep.Status(time.Now()).Until))
					outcome(s.Serve(t.Context(), request("GET")))
				}
				serve()
				log.expect(t, "c probation time", "c ejected probation")
				tt.good(f.up[2])
				serve()
				log.expect(t, "c probation time", "c returned probation")
			})
		})
	}
}

// TestNothingComparedByDefault: no goroutine, and nothing counted.
func TestNothingComparedByDefault(t *testing.T) {
	f := newFixture(2, func(c *Config) { c.Ejection = config.Default[config.Ejection]() })
	outcome(f.ForRoute(retries(1)).Serve(t.Context(), request("GET")))
	if f.Compares() || f.up[0].ep.Tally() != nil {
		t.Error("something is compared")
	}
}
