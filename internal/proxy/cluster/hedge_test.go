package cluster

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/stream"
)

// hedging is a cluster whose route hedges after 20 ms at the least, with what it
// needs to have learned: fifty responses of 10 ms.
func hedging(t *testing.T, change func(*config.Hedge)) (*fixture, stream.Service) {
	t.Helper()
	f := newFixture(2, func(c *Config) { c.Go = func(work func()) { go work() } })
	h := config.Default[config.Hedge]()
	h.Least, h.Share = config.Duration(20*time.Millisecond), 1
	if change != nil {
		change(&h)
	}
	p := retries(2, "503")
	p.Hedge = &h
	s := f.ForRoute(p)
	for _, u := range f.up {
		u.serve = u.slow(10*time.Millisecond, 200)
	}
	for range hedgeSamples {
		if got := outcome(s.Serve(t.Context(), request("GET"))); got != "200" {
			t.Fatal(got)
		}
	}
	return f, s
}

// slow answers after d, or when the attempt is given up.
func (u *upstream) slow(d time.Duration, status int) func(context.Context, *stream.Request) (*stream.Response, error) {
	return func(ctx context.Context, _ *stream.Request) (*stream.Response, error) {
		select {
		case <-time.After(d):
			return u.respond(status), nil
		case <-ctx.Done():
			return nil, &stream.Fault{Kind: stream.ClientGone, Cause: context.Cause(ctx)}
		}
	}
}

func TestHedge(t *testing.T) {
	for _, c := range []struct {
		name          string
		first, second time.Duration
		statuses      [2]int
		prepare       func(*config.Hedge)
		change        func(*stream.Request)
		took          time.Duration
		endpoint      string
		hedges, won   int64
		status        string
	}{
		{name: "fast enough", first: 15 * time.Millisecond, took: 15 * time.Millisecond, endpoint: "a"},
		{name: "the second is faster", first: time.Second, second: 10 * time.Millisecond, took: 30 * time.Millisecond, endpoint: "b", hedges: 1, won: 1},
		{name: "the first is faster after all", first: 25 * time.Millisecond, second: time.Second, took: 25 * time.Millisecond, endpoint: "a", hedges: 1},
		{name: "the second fails", first: 50 * time.Millisecond, second: time.Millisecond, statuses: [2]int{200, 503}, took: 50 * time.Millisecond, endpoint: "a", hedges: 1},
		{name: "the first fails late", first: 30 * time.Millisecond, second: 20 * time.Millisecond, statuses: [2]int{503, 200}, took: 40 * time.Millisecond, endpoint: "b", hedges: 1, won: 1},
		{name: "not by this method", first: 60 * time.Millisecond, change: func(r *stream.Request) { r.Method = "PUT" }, took: 60 * time.Millisecond, endpoint: "a"},
		{name: "not with content", first: 60 * time.Millisecond, change: func(r *stream.Request) { r.Body, r.Length = stream.BytesBody([]byte("x")), 1 }, took: 60 * time.Millisecond, endpoint: "a"},
		{name: "no budget", first: 60 * time.Millisecond, prepare: func(h *config.Hedge) { h.Share = 0 }, took: 60 * time.Millisecond, endpoint: "a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, s := hedging(t, c.prepare)
				if c.statuses[0] == 0 {
					c.statuses = [2]int{200, 200}
				}
				f.up[0].serve, f.up[1].serve = f.up[0].slow(c.first, c.statuses[0]), f.up[1].slow(c.second, c.statuses[1])
				req := request("GET")
				if c.change != nil {
					c.change(req)
				}
				began := time.Now()
				got := outcome(s.Serve(t.Context(), req))
				if took := time.Since(began); got != "200" || took != c.took || req.Exchange.Endpoint != c.endpoint {
					t.Errorf("%s from %s after %v, want 200 from %s after %v", got, req.Exchange.Endpoint, took, c.endpoint, c.took)
				}
				if h, w := f.Stats.Hedges.Load(), f.Stats.HedgeWon.Load(); h != c.hedges || w != c.won {
					t.Errorf("%d hedges, %d won; want %d, %d", h, w, c.hedges, c.won)
				}
				synctest.Wait()
				f.quiet(t)
			})
		})
	}
}

// TestHedgeBothFail: it is the first attempt that is followed by a retry.
func TestHedgeBothFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s := hedging(t, nil)
		var asked atomic.Int64
		for _, u := range f.up {
			u.serve = func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
				asked.Add(1)
				return u.slow(50*time.Millisecond, 503)(ctx, req)
			}
		}
		req := request("GET")
		if got := outcome(s.Serve(t.Context(), req)); got != "503" || asked.Load() != 3 || req.Exchange.Attempts != 2 {
			t.Errorf("%s, %d asked in %d attempts; want 503, 3 asked in 2", got, asked.Load(), req.Exchange.Attempts)
		}
		synctest.Wait()
		f.quiet(t)
	})
}

// TestHedgeIsWithinItsShare: with a service that has become slow as a whole, a
// second attempt helps nobody, and there are few.
func TestHedgeIsWithinItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s := hedging(t, func(h *config.Hedge) { h.Share = 0.05 })
		for _, u := range f.up {
			u.serve = u.slow(300*time.Millisecond, 200)
		}
		const requests = 400
		for range requests {
			go func() { outcome(s.Serve(t.Context(), request("GET"))) }()
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Second)
		if n := f.Stats.Hedges.Load(); n > requests*6/100 {
			t.Errorf("%d of %d requests were hedged", n, requests)
		}
		f.quiet(t)
	})
}

// TestHedgeClientLeaves ends both attempts.
func TestHedgeClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s := hedging(t, nil)
		for _, u := range f.up {
			u.serve = u.slow(time.Minute, 200)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if got := outcome(s.Serve(ctx, request("GET"))); got != "client_gone" {
			t.Error(got)
		}
		synctest.Wait()
		f.quiet(t)
	})
}

// TestHedgeFirstFailsByItself: that the second attempt had an answer later does not
// make the failure of the first unseen; that it was given up for that answer is none.
func TestHedgeFirstFailsByItself(t *testing.T) {
	for name, c := range map[string]struct {
		first    time.Duration
		failures int64
	}{"before the second has an answer": {25 * time.Millisecond, 1}, "given up": {time.Minute, 0}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, s := hedging(t, nil)
				f.up[0].serve, f.up[1].serve = f.up[0].slow(c.first, 503), f.up[1].slow(15*time.Millisecond, 200)
				if got := outcome(s.Serve(t.Context(), request("GET"))); got != "200" {
					t.Error(got)
				}
				if n := f.up[0].ep.Status(time.Now()).Failures; n != c.failures {
					t.Errorf("%d failures of the first, want %d", n, c.failures)
				}
				synctest.Wait()
				f.quiet(t)
			})
		})
	}
}

// TestHedgePanics: a transport that panics in either attempt takes the other along,
// and leaves nothing behind.
func TestHedgePanics(t *testing.T) {
	for name, which := range map[string]int{"first": 0, "second": 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, s := hedging(t, nil)
				f.start = func(work func()) {
					go func() {
						defer func() { _ = recover() }() // as the engine does
						work()
					}()
				}
				bad, good := f.up[which], f.up[1-which]
				good.serve = good.slow(time.Second, 200)
				bad.serve = func(context.Context, *stream.Request) (*stream.Response, error) {
					time.Sleep(30 * time.Millisecond)
					panic("a defect")
				}
				func() {
					defer func() {
						if p := recover(); (p != nil) != (which == 0) {
							t.Errorf("panic %v", p)
						}
					}()
					if got := outcome(s.Serve(t.Context(), request("GET"))); got != "200" {
						t.Error(got)
					}
				}()
				time.Sleep(2 * time.Second)
				f.quiet(t)
			})
		})
	}
}
