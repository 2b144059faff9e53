package cluster

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

// boundedEach is a cluster of n endpoints within limits of their own, which take a
// second for a response.
func boundedEach(n int, by endpoint.Limits, change func(*Config)) *fixture {
	f := newFixture(n, func(c *Config) {
		c.Load.LimitEndpoints(by)
		if change != nil {
			change(c)
		}
	})
	for _, u := range f.up {
		u.serve = u.slow(time.Second, 200)
	}
	return f
}

// ask sends n requests at once and gives how they ended, by limit or status.
func ask(t *testing.T, s stream.Service, n int) map[string]int {
	t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	got := map[string]int{}
	for range n {
		all.Go(func() {
			what := limitOf(s.Serve(t.Context(), request("GET")))
			mu.Lock()
			defer mu.Unlock()
			got[what]++
		})
	}
	all.Wait()
	return got
}

// TestEndpointLimit: the limit is never exceeded, an endpoint at it is passed over
// while another has room, and when none has, the rest is refused by name, or waits
// where there is a queue.
func TestEndpointLimit(t *testing.T) {
	for _, c := range []struct {
		name   string
		by     endpoint.Limits
		gates  Gates
		asked  int
		served int
		limit  string // of the others
		took   time.Duration
	}{
		{name: "room for all", by: endpoint.Limits{Requests: 2}, asked: 6, served: 6, took: time.Second},
		{name: "too many", by: endpoint.Limits{Requests: 2}, asked: 10, served: 6, limit: endpoint.FullRequests, took: time.Second},
		{name: "a queue", by: endpoint.Limits{Requests: 2}, gates: Gates{Queue: queue(100, 10*time.Second)}, asked: 10, served: 10, took: 2 * time.Second},
		{name: "a queue that is too short", by: endpoint.Limits{Requests: 2}, gates: Gates{Queue: queue(3, 10*time.Second)}, asked: 10, served: 9, limit: "queue", took: 2 * time.Second},
		{name: "adaptive concurrency", by: endpoint.Limits{Requests: 2}, gates: Gates{Adaptive: &config.Adaptive{Min: 8, Max: 8, Tolerance: 1, Probe: config.Duration(time.Hour)}},
			asked: 10, served: 6, limit: "adaptive", took: time.Second},
		{name: "no limit of theirs", asked: 100, served: 100, took: time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := boundedEach(3, c.by, nil)
				if err := f.Guard(c.gates, slog.New(slog.DiscardHandler)); err != nil {
					t.Fatal(err)
				}
				var most atomic.Int64
				for _, u := range f.up {
					slow := u.slow(time.Second, 200)
					u.serve = func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
						if n := u.ep.InFlight(); n > most.Load() {
							most.Store(n)
						}
						return slow(ctx, req)
					}
				}
				began := time.Now()
				got := ask(t, f.ForRoute(retries(1)), c.asked)
				if got["200"] != c.served || got[c.limit] != c.asked-c.served && c.limit != "" || time.Since(began) != c.took {
					t.Errorf("%v after %v, want %d served in %v, the others %q", got, time.Since(began), c.served, c.took, c.limit)
				}
				if c.by.Requests > 0 && most.Load() > int64(c.by.Requests) {
					t.Errorf("%d under way at one endpoint, want at most %d", most.Load(), c.by.Requests)
				}
				if want := int64(got[endpoint.FullRequests]); f.Stats.EndpointsFull.Load() != want {
					t.Errorf("%d refusals counted, want %d", f.Stats.EndpointsFull.Load(), want)
				}
				f.quiet(t)
			})
		})
	}
}

// staleView picks an endpoint without a look at its room, as if what it sees were old.
type staleView struct{ order }

func (p staleView) Pick(set *endpoint.Set, now time.Time, tried []*endpoint.Endpoint, key uint64) (*endpoint.Endpoint, bool) {
	if len(tried) == 0 {
		return set.At(0), false
	}
	return p.order.Pick(set, now, tried, key)
}

// TestTurnedAway: an endpoint that has no room after all is no attempt, and the
// request goes on to another, with its body, as a session does that stays where it
// was.
func TestTurnedAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := boundedEach(2, endpoint.Limits{Requests: 1}, func(c *Config) { c.Picker = staleView{} })
		_ = f.up[0].ep.Began()
		defer f.up[0].ep.Aborted()
		f.up[1].serve = func(_ context.Context, req *stream.Request) (*stream.Response, error) {
			return f.up[1].respond(200), f.up[1].read(req)
		}
		req := request("POST")
		req.Body = stream.BytesBody([]byte("content"))
		p := retries(1)
		p.Retry.MaxBody = 0 // nothing was sent yet: it need not be kept
		got := outcome(f.ForRoute(p).Serve(t.Context(), req))
		if x := &req.Exchange; got != "200" || x.Endpoint != "b" || x.Attempts != 1 || f.Stats.Retries.Load() != 0 || f.up[1].bodies[0] != "content" {
			t.Errorf("%s from %s after %d attempts, %q", got, x.Endpoint, x.Attempts, f.up[1].bodies)
		}
	})
}

// TestTurnedAwayByTheTransport: what is found out only on the way to a connection.
func TestTurnedAwayByTheTransport(t *testing.T) {
	for name, limit := range map[string]string{"connections": endpoint.FullConnections, "pending": endpoint.FullPending} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(3, nil)
				turn := func(context.Context, *stream.Request) (*stream.Response, error) {
					return nil, &stream.Fault{Kind: stream.ClusterFull, Retry: stream.RetryUnsent, Limit: limit}
				}
				f.up[0].serve, f.up[1].serve = turn, turn
				s := f.ForRoute(retries(1))
				req := request("GET")
				if got := outcome(s.Serve(t.Context(), req)); got != "200" || req.Exchange.Endpoint != "c" || req.Exchange.Attempts != 1 {
					t.Errorf("%s from %s after %d attempts", got, req.Exchange.Endpoint, req.Exchange.Attempts)
				}
				f.up[2].serve = turn
				if got := limitOf(s.Serve(t.Context(), request("GET"))); got != limit || f.Stats.EndpointsFull.Load() != 1 {
					t.Errorf("%s, %d refusals counted", got, f.Stats.EndpointsFull.Load())
				}
				f.quiet(t)
			})
		})
	}
}

// TestSessionOfAFullEndpoint goes elsewhere, and is not moved.
func TestSessionOfAFullEndpoint(t *testing.T) {
	f := newFixture(2, func(c *Config) {
		c.Load.LimitEndpoints(endpoint.Limits{Requests: 1})
		c.Sticky = &config.Sticky{Header: "X-Session"}
	})
	s := f.ForRoute(retries(1))
	first, err := s.Serve(t.Context(), request("GET"))
	if err != nil {
		t.Fatal(err)
	}
	token, _ := first.Header.Get("X-Session")
	req := request("GET")
	req.Header.Add("X-Session", token)
	second, err := s.Serve(t.Context(), req) // while the first is under way
	if err != nil {
		t.Fatal(err)
	}
	if _, moved := second.Header.Get("X-Session"); moved || req.Exchange.Endpoint != "b" || f.Stats.SessionsAway.Load() != 1 {
		t.Errorf("by %s, moved %v, %d counted", req.Exchange.Endpoint, moved, f.Stats.SessionsAway.Load())
	}
	_, _ = first.Body.Close(), second.Body.Close()
	f.quiet(t)
}

// TestMaxRetries: as many retries are under way as may be, those that wait for
// their turn included, and the place of each is free again, however it ends.
func TestMaxRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(2, func(c *Config) { c.MaxRetries = 3 })
		f.up[0].always(503)
		f.up[1].serve = f.up[1].slow(time.Second, 200)
		s := f.ForRoute(retries(2, "503"))
		for range 2 {
			if got := ask(t, s, 10); got["200"] != 3 || got["503"] != 7 {
				t.Errorf("%v, want 3 retried", got)
			}
			if f.Retries() != 0 {
				t.Errorf("%d places are still taken", f.Retries())
			}
		}
		if n := f.Stats.RetryRefused[RefusedMaxRetries].Load(); n != 14 {
			t.Errorf("%d refusals counted", n)
		}
		f.up[1].serve = f.up[1].slow(time.Minute, 200)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got := outcome(s.Serve(ctx, request("GET"))); got != "client_gone" || f.Retries() != 0 {
			t.Errorf("%s, %d places are still taken", got, f.Retries())
		}
		f.quiet(t)
	})
}
