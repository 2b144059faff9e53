package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

// guarded is a cluster with room for some requests and these gates; its one
// endpoint takes took for a response.
func guarded(t *testing.T, room int, took time.Duration, g Gates) *fixture {
	t.Helper()
	f := newFixture(1, func(c *Config) { c.Load = endpoint.NewLoad(room, 0) })
	if err := f.Guard(g, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	f.up[0].serve = f.up[0].slow(took, 200)
	return f
}

func queue(most int, timeout time.Duration) *config.Queue {
	return &config.Queue{Max: most, Timeout: config.Duration(timeout)}
}

// limitOf is the limit that refused a request, or its status.
func limitOf(resp *stream.Response, err error) string {
	if err != nil {
		if f := stream.AsFault(err); f.Kind == stream.ClusterFull {
			return f.Limit
		}
	}
	return outcome(resp, err)
}

// TestQueue: who finds no place waits, in the order of coming; too many, and too
// long, are refused by name.
func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := guarded(t, 1, 100*time.Millisecond, Gates{Queue: queue(3, time.Second)})
		s := f.ForRoute(retries(1))
		began := time.Now()
		var mu sync.Mutex
		var got []string
		for i := range 5 {
			go func() {
				what := limitOf(s.Serve(t.Context(), request("GET")))
				mu.Lock()
				defer mu.Unlock()
				got = append(got, fmt.Sprintf("%d %s %v", i, what, time.Since(began)))
			}()
			time.Sleep(time.Millisecond)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		want := "4 queue 4ms,0 200 100ms,1 200 200ms,2 200 300ms,3 200 400ms"
		if all := strings.Join(got, ","); all != want {
			t.Errorf("%s\nwant %s", all, want)
		}
		f.quiet(t)
	})
}

// TestQueueUnderOverload: when the first has waited for half of its patience the
// last is served first, so that somebody is served in time.
func TestQueueUnderOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := guarded(t, 1, 300*time.Millisecond, Gates{Queue: queue(100, 400*time.Millisecond)})
		s := f.ForRoute(retries(1))
		waits := map[string][]time.Duration{}
		var mu sync.Mutex
		for range 40 { // ten times what it serves
			go func() {
				began := time.Now()
				what := limitOf(s.Serve(t.Context(), request("GET")))
				mu.Lock()
				defer mu.Unlock()
				waits[what] = append(waits[what], time.Since(began))
			}()
			time.Sleep(30 * time.Millisecond)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(waits["200"]) < 3 || len(waits["queue_timeout"]) < 20 || len(waits) != 2 {
			t.Fatalf("%v", waits)
		}
		slices.Sort(waits["200"])
		if median := waits["200"][len(waits["200"])/2]; median > 350*time.Millisecond {
			t.Errorf("those that are served take %v, most of it in the queue", waits["200"])
		}
		f.quiet(t)
	})
}

// TestQueueEnds with the patience of the client: its deadline, or its leaving.
func TestQueueEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := guarded(t, 1, time.Minute, Gates{Queue: queue(10, 10*time.Second)})
		p := retries(1)
		p.Timeout = 2 * time.Second
		go func() { outcome(f.ForRoute(p).Serve(t.Context(), request("GET"))) }()
		time.Sleep(time.Millisecond)
		began := time.Now()
		if got := limitOf(f.ForRoute(p).Serve(t.Context(), request("GET"))); got != "queue_timeout" || time.Since(began) != 2*time.Second {
			t.Errorf("the route waits for 2 s: %s after %v", got, time.Since(began))
		}
		go func() { outcome(f.ForRoute(retries(1)).Serve(t.Context(), request("GET"))) }()
		time.Sleep(time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got := limitOf(f.ForRoute(retries(1)).Serve(ctx, request("GET"))); got != "client_gone" {
			t.Error(got)
		}
		time.Sleep(2 * time.Minute)
		f.quiet(t)
		if state, _ := f.Gates(time.Now()); state.Busy != 0 || state.Waiting != 0 || state.Tenants != 0 {
			t.Errorf("%+v", state)
		}
	})
}

// TestFair: a tenant that asks for twenty times its share does not slow another
// one down that asks for less than its own.
func TestFair(t *testing.T) {
	for _, q := range []*config.Queue{nil, queue(50, 500*time.Millisecond)} {
		alone, _ := tenantB(t, q, 0)
		beside, refusals := tenantB(t, q, 400)
		if beside > alone*110/100 {
			t.Errorf("queue %v: the 99th percentile of B is %v beside A and %v alone", q != nil, beside, alone)
		}
		if refusals["b"] > 0 || refusals["a"] == 0 {
			t.Errorf("queue %v: refused %v", q != nil, refusals)
		}
	}
}

// tenantB is how long the requests of B take while A keeps that many under way,
// and how many of either were refused.
func tenantB(t *testing.T, q *config.Queue, ofA int) (p99 time.Duration, refusals map[string]int) {
	t.Helper()
	refusals = map[string]int{}
	synctest.Test(t, func(t *testing.T) {
		f := guarded(t, 40, 50*time.Millisecond, Gates{Queue: q, Fair: &config.Fair{Key: "header:x-tenant", Headroom: 0.1}})
		s := f.ForRoute(retries(1))
		var mu sync.Mutex
		ask := func(tenant string) string {
			req := request("GET")
			req.Header.Add("X-Tenant", tenant)
			got := limitOf(s.Serve(t.Context(), req))
			if got != "200" {
				mu.Lock()
				refusals[tenant]++
				mu.Unlock()
			}
			return got
		}
		var over atomic.Bool
		for i := range ofA {
			go func() {
				time.Sleep(time.Duration(i) * 100 * time.Microsecond)
				for !over.Load() {
					if ask("a") != "200" {
						time.Sleep(5 * time.Millisecond)
					}
				}
			}()
		}
		time.Sleep(time.Second)
		var took []time.Duration
		var all sync.WaitGroup
		for range 500 { // two or three at a time
			all.Go(func() {
				began := time.Now()
				ask("b")
				mu.Lock()
				defer mu.Unlock()
				took = append(took, time.Since(began))
			})
			time.Sleep(20 * time.Millisecond)
		}
		all.Wait()
		over.Store(true)
		time.Sleep(5 * time.Second)
		slices.Sort(took)
		p99 = took[len(took)*99/100]
		f.quiet(t)
	})
	return p99, refusals
}

// TestFairAlone: who is alone is not held to a share.
func TestFairAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := guarded(t, 10, time.Second, Gates{Fair: &config.Fair{Key: "client", Headroom: 0.1}})
		s := f.ForRoute(retries(1))
		got := map[string]int{}
		var mu sync.Mutex
		for range 12 {
			go func() {
				what := limitOf(s.Serve(t.Context(), request("GET")))
				mu.Lock()
				defer mu.Unlock()
				got[what]++
			}()
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got["200"] < 9 || got["fair"] == 0 {
			t.Errorf("%v", got)
		}
		f.quiet(t)
	})
}

// TestBreakerOfACluster opens while everything fails, refuses with a time to
// come back, and closes behind probes.
func TestBreakerOfACluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := config.Default[config.Breaker]()
		b.When = "error_ratio > 0.5"
		f := guarded(t, 0, 0, Gates{Breaker: &b})
		s := f.ForRoute(retries(1))
		asked := 0
		status := 503
		f.up[0].serve = func(context.Context, *stream.Request) (*stream.Response, error) {
			asked++
			return f.up[0].respond(status), nil
		}
		send := func(n int) (got map[string]int) {
			got = map[string]int{}
			for range n {
				resp, err := s.Serve(t.Context(), request("GET"))
				if err != nil && stream.AsFault(err).RetryAfter <= 0 {
					t.Fatal("a refusal without Retry-After")
				}
				got[limitOf(resp, err)]++
				time.Sleep(10 * time.Millisecond)
			}
			return got
		}
		if got := send(200); got["breaker"] < 150 || asked > 50 {
			t.Errorf("%v, %d asked", got, asked)
		}
		if state, refused := f.Gates(time.Now()); state.Breaker != "open" || refused[GateBreaker].Load() < 150 {
			t.Errorf("%+v", state)
		}
		status = 200
		time.Sleep(5 * time.Second)
		if got := send(100); got["200"] != 100 {
			t.Errorf("after the fault: %v", got)
		}
		f.quiet(t)
	})
}

// TestAdmission refuses most of what would fail and nothing of what would not.
func TestAdmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := config.Default[config.Admission]()
		f := guarded(t, 0, 0, Gates{Admission: &a})
		s := f.ForRoute(retries(1))
		send := func(n, good int) (refused int) {
			for i := range n {
				f.up[0].serve = f.up[0].slow(0, map[bool]int{true: 200, false: 503}[i%100 < good])
				if limitOf(s.Serve(t.Context(), request("GET"))) == "admission" {
					refused++
				}
				time.Sleep(5 * time.Millisecond)
			}
			return refused
		}
		if n := send(2000, 97); n > 0 {
			t.Errorf("%d refused while 97 %% succeed", n)
		}
		if n := send(10_000, 0); n < 5000 || n > 8200 {
			t.Errorf("%d of 10000 refused while all fail", n)
		}
		send(10_000, 100)
		if n := send(1000, 100); n > 0 {
			t.Errorf("%d refused long after the fault", n)
		}
		f.quiet(t)
	})
}

// TestAdaptive: a service that can do ten at a time gets about that many, not
// the two hundred that clients would send.
func TestAdaptive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := config.Default[config.Adaptive]()
		f := guarded(t, 0, 0, Gates{Adaptive: &a, Queue: queue(20, 200*time.Millisecond)})
		s := f.ForRoute(retries(1))
		var mu sync.Mutex
		underway, most := 0, 0
		f.up[0].serve = func(context.Context, *stream.Request) (*stream.Response, error) {
			mu.Lock()
			underway++
			most = max(most, underway)
			took := 10 * time.Millisecond * time.Duration(max(underway, 10)) / 10
			mu.Unlock()
			time.Sleep(took)
			mu.Lock()
			underway--
			mu.Unlock()
			return f.up[0].respond(200), nil
		}
		var over atomic.Bool
		for range 200 {
			go func() {
				for !over.Load() {
					if limitOf(s.Serve(t.Context(), request("GET"))) != "200" {
						time.Sleep(20 * time.Millisecond)
					}
				}
			}()
		}
		time.Sleep(20 * time.Second)
		mu.Lock()
		most = 0
		mu.Unlock()
		time.Sleep(10 * time.Second)
		mu.Lock()
		highest := most
		mu.Unlock()
		state, refused := f.Gates(time.Now())
		if highest < 8 || highest > 40 || state.Limit > 40 || refused[GateQueueFull].Load() == 0 {
			t.Errorf("up to %d under way, %+v, %d refused", highest, state, refused[GateQueueFull].Load())
		}
		over.Store(true)
		time.Sleep(5 * time.Second)
		f.quiet(t)
	})
}

// TestGatePanic: a place is given back by whatever ends the request.
func TestGatePanic(t *testing.T) {
	f := guarded(t, 1, 0, Gates{Queue: queue(1, time.Second)})
	f.up[0].serve = func(context.Context, *stream.Request) (*stream.Response, error) { panic("defect") }
	func() {
		defer func() { _ = recover() }()
		_, _ = f.ForRoute(retries(1)).Serve(t.Context(), request("GET"))
	}()
	if state, _ := f.Gates(time.Now()); state.Busy != 0 || state.Tenants != 0 {
		t.Errorf("%+v", state)
	}
	f.quiet(t)
}
