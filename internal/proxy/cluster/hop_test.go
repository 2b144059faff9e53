package cluster

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/stream"
)

// tier makes the upstreams of f a proxy in front of next: it passes on what it
// gets, and makes a 502 of a fault as the answer stage does.
func (f *fixture) tier(next stream.Service) {
	for _, u := range f.up {
		u.serve = func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
			hop := request(req.Method)
			for _, field := range req.Header.Fields() {
				hop.Header.Append(field)
			}
			resp, err := next.Serve(ctx, hop)
			if err != nil {
				resp = &stream.Response{Status: 502, Body: stream.NoBody}
				if hop.Exchange.RetryRefused != "" {
					resp.Header.Add(stream.RetryHeader, stream.RetrySpent)
				}
			}
			_ = resp.Body.Close()
			out := u.respond(resp.Status)
			out.Header = resp.Header
			return out, nil
		}
	}
}

// TestThreeTiersDoNotAmplify: three proxies, each with three attempts and a
// budget of a fifth, in front of a service that fails every request: it gets at
// most 1.2 times its load. Then it recovers, and everything is answered at once.
func TestThreeTiersDoNotAmplify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := func(c *Config) { c.RetryBudget = config.RetryBudget{Ratio: 0.2} }
		leaf, middle, edge := newFixture(3, budget), newFixture(3, budget), newFixture(3, budget)
		asked, broken := 0, true
		for _, u := range leaf.up {
			u.serve = func(context.Context, *stream.Request) (*stream.Response, error) {
				asked++
				if broken {
					return u.respond(503), nil
				}
				return u.respond(200), nil
			}
		}
		policy := retries(3, "5xx")
		middle.tier(leaf.ForRoute(policy))
		edge.tier(middle.ForRoute(policy))
		clients := edge.ForRoute(policy)
		const rate, seconds = 200, 30
		send := func() (good int) {
			for range rate * seconds {
				resp, err := clients.Serve(t.Context(), request("GET"))
				if err == nil {
					if resp.Status == 200 {
						good++
					}
					_ = resp.Body.Close()
				}
				time.Sleep(time.Second / rate)
			}
			return good
		}
		if good := send(); good != 0 {
			t.Fatalf("%d requests succeeded", good)
		}
		if most := rate * seconds * 12 / 10; asked > most {
			t.Errorf("the leaf got %d requests for %d, more than %d", asked, rate*seconds, most)
		}
		if asked < rate*seconds*11/10 {
			t.Errorf("the leaf got %d requests for %d: nobody retries", asked, rate*seconds)
		}
		asked, broken = 0, false
		if good := send(); good != rate*seconds || asked != rate*seconds {
			t.Errorf("after the fault %d of %d succeed with %d asked", good, rate*seconds, asked)
		}
		for _, f := range []*fixture{leaf, middle, edge} {
			f.quiet(t)
		}
	})
}

// TestAttemptsAreNumbered: the first says nothing, so that it costs nothing.
func TestAttemptsAreNumbered(t *testing.T) {
	f := newFixture(3, nil)
	var numbers []string
	for _, u := range f.up {
		u.serve = func(_ context.Context, req *stream.Request) (*stream.Response, error) {
			n, _ := req.Header.Get(attemptHeader)
			numbers = append(numbers, n)
			return u.respond(503), nil
		}
	}
	resp, err := f.ForRoute(retries(3, "503")).Serve(t.Context(), request("GET"))
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := resp.Header.Get(stream.RetryHeader); v != stream.RetrySpent {
		t.Errorf("the last response says %q of retries", v)
	}
	_ = resp.Body.Close()
	if len(numbers) != 3 || numbers[0] != "" || numbers[1] != "2" || numbers[2] != "3" {
		t.Errorf("attempts %q", numbers)
	}
}

// TestRetryAfterIsWaitedFor, as seconds and as a date.
func TestRetryAfterIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			value string
			want  time.Duration
		}{
			{"1", time.Second},
			{"Sat, 01 Jan 2000 00:00:03 GMT", 2 * time.Second}, // a bubble begins at midnight; the case before took one
			{"yesterday", 0},
			{"-1", 0},
			{"Sat, 01 Jan 2000 00:00:00 GMT", 0},
		} {
			f := newFixture(2, nil)
			f.up[0].serve = func(context.Context, *stream.Request) (*stream.Response, error) {
				resp := f.up[0].respond(429)
				resp.Header.AddID(stream.RetryAfter, c.value)
				return resp, nil
			}
			p := retries(2, "429")
			p.Retry.RetryAfterMax = config.Duration(5 * time.Second)
			began := time.Now()
			if got := outcome(f.ForRoute(p).Serve(t.Context(), request("GET"))); got != "200" {
				t.Errorf("%s: %s", c.value, got)
			}
			if waited := time.Since(began); waited != c.want {
				t.Errorf("%s: waited %v, want %v", c.value, waited, c.want)
			}
		}
	})
}
