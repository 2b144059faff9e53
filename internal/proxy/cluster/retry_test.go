package cluster

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

func TestFacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(1, nil)
		start := time.Now()
		f.up[0].serve = func(context.Context, *stream.Request) (*stream.Response, error) {
			time.Sleep(20 * time.Millisecond)
			return f.up[0].respond(201), nil
		}
		req := request("GET")
		resp, err := f.ForRoute(retries(2)).Serve(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		x := &req.Exchange
		if x.Cluster.Handle != 3 || x.Endpoint != "a" || x.Attempts != 1 || x.UpstreamStatus != 201 || x.RetryRefused != "" ||
			!x.UpstreamStart.Equal(start) || x.UpstreamHead.Sub(start) != 20*time.Millisecond || !req.Deadline.Equal(start.Add(time.Minute)) {
			t.Errorf("facts %+v, deadline %v", x, req.Deadline)
		}
		if x.Content != resp.Body {
			t.Error("who recovers from a panic does not find the content")
		}
		if f.Load().Requests() != 1 || f.up[0].ep.InFlight() != 1 {
			t.Error("the exchange is not over before the body is closed")
		}
		resp.Body.Close()
		f.quiet(t)
	})
}

// TestRetryRules is one line for each rule: the first endpoint fails so, the
// second would answer 200.
func TestRetryRules(t *testing.T) {
	all := []string{"connect", "reset", "timeout", "503"}
	cases := []struct {
		name     string
		method   string
		on       []string
		kind     stream.Kind
		retry    stream.Retry
		status   int // instead of a fault
		attempts int // policy; 0: 2
		want     string
		made     int
		refused  string
	}{
		{name: "connect, any method", method: "POST", on: all, kind: stream.ConnectRefused, retry: stream.RetryUnsent, want: "200", made: 2},
		{name: "TLS failed", method: "POST", on: all, kind: stream.TLSFailed, retry: stream.RetryUnsent, want: "200", made: 2},
		{name: "connect timeout", method: "POST", on: all, kind: stream.ConnectTimeout, retry: stream.RetryUnsent, want: "200", made: 2},
		{name: "connect, not asked for", method: "GET", on: all[1:], kind: stream.ConnectRefused, retry: stream.RetryUnsent, want: "connect_refused", made: 1},
		{name: "reset, idempotent", method: "GET", on: all, kind: stream.UpstreamReset, retry: stream.RetryIdempotent, want: "200", made: 2},
		{name: "closed, listed method", method: "PUT", on: all, kind: stream.UpstreamClosed, retry: stream.RetryIdempotent, want: "200", made: 2},
		{name: "reset, not idempotent", method: "POST", on: all, kind: stream.UpstreamReset, retry: stream.RetryIdempotent, want: "upstream_reset", made: 1, refused: "method"},
		{name: "reset, not asked for", method: "GET", on: []string{"connect"}, kind: stream.UpstreamReset, retry: stream.RetryIdempotent, want: "upstream_reset", made: 1},
		{name: "never", method: "GET", on: all, kind: stream.UpstreamReset, retry: stream.RetryNever, want: "upstream_reset", made: 1},
		{name: "timeout of one try", method: "GET", on: all, kind: stream.UpstreamTimeout, retry: stream.RetryIdempotent, want: "200", made: 2},
		{name: "timeout, not asked for", method: "GET", on: []string{"reset"}, kind: stream.UpstreamTimeout, retry: stream.RetryIdempotent, want: "upstream_timeout", made: 1},
		{name: "garbage is an answer", method: "GET", on: all, kind: stream.ResponseMalformed, retry: stream.RetryIdempotent, want: "response_malformed", made: 1},
		{name: "status", method: "GET", on: all, status: 503, want: "200", made: 2},
		{name: "status class", method: "GET", on: []string{"5xx"}, status: 599, want: "200", made: 2},
		{name: "status not listed", method: "GET", on: all, status: 502, want: "502", made: 1},
		{name: "status, not idempotent", method: "POST", on: all, status: 503, want: "503", made: 1, refused: "method"},
		{name: "the client's fault", method: "GET", on: all, kind: stream.BodyTimeout, retry: stream.RetryIdempotent, want: "body_timeout", made: 1},
		{name: "one attempt is no retry", method: "GET", on: all, kind: stream.ConnectRefused, retry: stream.RetryUnsent, attempts: 1, want: "connect_refused", made: 1},
		{name: "no connection left", method: "GET", on: all, kind: stream.ClusterFull, retry: stream.RetryUnsent, want: "cluster_full", made: 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(2, nil)
			if f.up[0].fails(c.kind, c.retry); c.status != 0 {
				f.up[0].always(c.status)
			}
			attempts := 2
			if c.attempts > 0 {
				attempts = c.attempts
			}
			req := request(c.method)
			got := outcome(f.ForRoute(retries(attempts, c.on...)).Serve(t.Context(), req))
			if x := &req.Exchange; got != c.want || x.Attempts != c.made || x.RetryRefused != c.refused {
				t.Errorf("%s after %d attempts, refused %q; want %s after %d, %q", got, x.Attempts, x.RetryRefused, c.want, c.made, c.refused)
			}
			if c.made == 2 && (req.Exchange.Endpoint != "b" || f.Stats.Retries.Load() != 1) {
				t.Error("the retry goes to another endpoint and is counted")
			}
			f.quiet(t)
		})
	}
}

// TestRefusals: each reason why a failed attempt is not followed by another.
// The response that there is, if there is one, stays.
func TestRefusals(t *testing.T) {
	cases := []struct {
		name    string
		prepare func(f *fixture, req *stream.Request, p *Policy)
		want    string
		made    int
		reason  Refusal
	}{
		{"all attempts made", func(f *fixture, _ *stream.Request, p *Policy) {
			p.Retry.Attempts = 3
			for _, u := range f.up {
				u.always(503)
			}
		}, "503", 3, RefusedAttempts},
		{"not idempotent", func(_ *fixture, req *stream.Request, _ *Policy) { req.Method = "POST" }, "503", 1, RefusedMethod},
		{"too much body", func(f *fixture, req *stream.Request, p *Policy) {
			p.Retry.MaxBody = 10
			req.Body = newStreamed("more than ten bytes")
			req.Method = "PUT"
			f.up[0].serve = func(_ context.Context, req *stream.Request) (*stream.Response, error) {
				return f.up[0].respond(503), f.up[0].read(req)
			}
		}, "503", 1, RefusedBody},
		{"bodies are not kept", func(_ *fixture, req *stream.Request, p *Policy) {
			p.Retry.MaxBody = 0
			req.Body = stream.BytesBody([]byte("x"))
			req.Method = "PUT"
		}, "503", 1, RefusedBody},
		{"no time left", func(f *fixture, _ *stream.Request, p *Policy) {
			p.Timeout = 100 * time.Millisecond
			f.up[0].serve = func(context.Context, *stream.Request) (*stream.Response, error) {
				time.Sleep(100 * time.Millisecond)
				return f.up[0].respond(503), nil
			}
		}, "503", 1, RefusedDeadline},
		{"endpoints all unfit by now", func(f *fixture, _ *stream.Request, _ *Policy) {
			f.up[0].serve = func(context.Context, *stream.Request) (*stream.Response, error) {
				for _, u := range f.up {
					u.ep.Checked(false, 0, "test", time.Now())
				}
				return f.up[0].respond(503), nil
			}
		}, "503", 1, RefusedNoEndpoint},
		{"budget spent", func(f *fixture, _ *stream.Request, _ *Policy) { f.budget.ratio, f.budget.perSecond = 0, 0 }, "503", 1, RefusedBudget},
		{"every other endpoint is at its limit", func(f *fixture, _ *stream.Request, _ *Policy) {
			f.Cluster.load.LimitEndpoints(endpoint.Limits{Requests: 1})
			f.up[0].serve = func(context.Context, *stream.Request) (*stream.Response, error) {
				for _, u := range f.up[1:] {
					_ = u.ep.Began()
				}
				return &stream.Response{Status: 503, Body: &ending{Body: stream.NoBody, end: func() {
					for _, u := range f.up[1:] {
						u.ep.Aborted()
					}
					f.up[0].ep.Ended()
				}}}, nil
			}
		}, "503", 1, RefusedFull},
		{"as many retries under way as may be", func(f *fixture, _ *stream.Request, _ *Policy) {
			f.retries.max = 1
			f.retries.count.Store(1)
		}, "503", 1, RefusedMaxRetries},
		{"a retry of the hop before", func(_ *fixture, req *stream.Request, _ *Policy) { req.Header.Add("weir-attempt", "2") }, "503", 1, RefusedHop},
		{"retried by the hop behind", func(f *fixture, _ *stream.Request, _ *Policy) {
			f.up[0].serve = func(context.Context, *stream.Request) (*stream.Response, error) {
				resp := f.up[0].respond(503)
				resp.Header.Add("weir-retry", "spent")
				return resp, nil
			}
		}, "503", 1, RefusedHop},
		{"asked to wait for too long", func(f *fixture, _ *stream.Request, p *Policy) {
			p.Retry.RetryAfterMax = config.Duration(time.Second)
			f.up[0].serve = func(context.Context, *stream.Request) (*stream.Response, error) {
				resp := f.up[0].respond(503)
				resp.Header.AddID(stream.RetryAfter, "2")
				return resp, nil
			}
		}, "503", 1, RefusedRetryAfter},
	}
	seen := map[Refusal]bool{}
	for _, c := range cases {
		seen[c.reason] = true
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(3, nil)
				f.up[0].always(503)
				req, p := request("GET"), retries(2, "503")
				c.prepare(f, req, &p)
				got := outcome(f.ForRoute(p).Serve(t.Context(), req))
				if x := &req.Exchange; got != c.want || x.Attempts != c.made || x.RetryRefused != c.reason.String() {
					t.Errorf("%s after %d attempts, refused %q; want %s after %d, %q", got, x.Attempts, x.RetryRefused, c.want, c.made, c.reason)
				}
				if f.Stats.RetryRefused[c.reason].Load() != 1 {
					t.Error("the refusal is not counted")
				}
				f.quiet(t)
			})
		})
	}
	if len(seen) != int(NumRefusals) {
		t.Errorf("%d reasons tested of %d", len(seen), NumRefusals)
	}
}

func TestOneEndpointIsTriedAgain(t *testing.T) {
	f := newFixture(1, nil)
	n := 0
	f.up[0].serve = func(context.Context, *stream.Request) (*stream.Response, error) {
		if n++; n == 1 {
			return nil, &stream.Fault{Kind: stream.ConnectRefused, Retry: stream.RetryUnsent}
		}
		return f.up[0].respond(200), nil
	}
	if got := outcome(f.ForRoute(retries(2, "connect")).Serve(t.Context(), request("GET"))); got != "200" {
		t.Error(got)
	}
	f.quiet(t)
}

func TestEachEndpointOnce(t *testing.T) {
	f := newFixture(4, nil)
	var order []string
	for _, u := range f.up {
		u.serve = func(context.Context, *stream.Request) (*stream.Response, error) {
			order = append(order, u.ep.Address)
			return nil, &stream.Fault{Kind: stream.ConnectRefused, Retry: stream.RetryUnsent}
		}
	}
	outcome(f.ForRoute(retries(5, "connect")).Serve(t.Context(), request("GET")))
	if got := strings.Join(order, ""); got != "abcda" {
		t.Errorf("order %s, want each once before one is tried again", got)
	}
	f.quiet(t)
}

// TestDeadlines: the time of an attempt, and whose time it was that ran out.
func TestDeadlines(t *testing.T) {
	cases := []struct {
		name           string
		total, perTry  time.Duration
		attempts       int
		want           string
		took           time.Duration
		endpointFailed int64
	}{
		{"total", 100 * time.Millisecond, 0, 1, "request_timeout", 100 * time.Millisecond, 1},
		{"per try", time.Second, 100 * time.Millisecond, 1, "upstream_timeout", 100 * time.Millisecond, 1},
		{"per try, then total", 250 * time.Millisecond, 100 * time.Millisecond, 5, "request_timeout", 250 * time.Millisecond, 3},
		{"total shorter than per try", 50 * time.Millisecond, time.Second, 3, "request_timeout", 50 * time.Millisecond, 1},
		{"no total", 0, 100 * time.Millisecond, 2, "upstream_timeout", 200 * time.Millisecond, 2},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(1, nil)
				f.up[0].serve = func(_ context.Context, req *stream.Request) (*stream.Response, error) {
					time.Sleep(time.Until(req.Deadline))
					return nil, &stream.Fault{Kind: stream.UpstreamTimeout, Retry: stream.RetryIdempotent}
				}
				p := retries(c.attempts, "timeout")
				p.Timeout, p.Retry.PerTry = c.total, config.Duration(c.perTry)
				start := time.Now()
				_, err := f.ForRoute(p).Serve(t.Context(), request("GET"))
				if got, took := outcome(nil, err), time.Since(start); got != c.want || took != c.took {
					t.Errorf("%s after %v, want %s after %v", got, took, c.want, c.took)
				}
				if fault := err.(*stream.Fault); c.want == "request_timeout" && (fault.Limit != "timeout" || fault.Cause == nil) {
					t.Errorf("fault %+v does not name its limit and cause", fault)
				}
				if n := f.up[0].ep.Status(time.Now()).Failures; n != c.endpointFailed {
					t.Errorf("%d failures of the endpoint, want %d", n, c.endpointFailed)
				}
				f.quiet(t)
			})
		})
	}
}

// TestBackoff: the waits lie between 0 and the bound, and are not all alike.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(1, nil)
		f.up[0].fails(stream.ConnectRefused, stream.RetryUnsent)
		p := retries(3, "connect")
		p.Retry.BackoffBase, p.Retry.BackoffMax = config.Duration(20*time.Millisecond), config.Duration(30*time.Millisecond)
		s, low, high := f.ForRoute(p), time.Hour, time.Duration(0)
		for range 200 {
			start := time.Now()
			outcome(s.Serve(t.Context(), request("GET")))
			took := time.Since(start)
			low, high = min(low, took), max(high, took)
		}
		if high > 50*time.Millisecond || high < 35*time.Millisecond || low > 15*time.Millisecond {
			t.Errorf("two waits took %v to %v, want 0 to 50ms", low, high)
		}
	})
}

func TestClientGone(t *testing.T) {
	t.Run("in the wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(1, nil)
			f.up[0].fails(stream.ConnectRefused, stream.RetryUnsent)
			p := retries(2, "connect")
			p.Timeout, p.Retry.BackoffBase = 0, config.Duration(time.Hour)
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() { time.Sleep(time.Millisecond); cancel(errors.New("hung up")) }()
			start := time.Now()
			_, err := f.ForRoute(p).Serve(ctx, request("GET"))
			if outcome(nil, err) != "client_gone" || time.Since(start) > time.Minute || err.(*stream.Fault).Cause.Error() != "hung up" {
				t.Errorf("%v after %v", err, time.Since(start))
			}
			f.quiet(t)
		})
	})
	t.Run("in the attempt", func(t *testing.T) {
		f := newFixture(2, nil)
		ctx, cancel := context.WithCancel(t.Context())
		f.up[0].serve = func(context.Context, *stream.Request) (*stream.Response, error) {
			cancel()
			return nil, &stream.Fault{Kind: stream.UpstreamReset, Retry: stream.RetryIdempotent}
		}
		req := request("GET")
		got := outcome(f.ForRoute(retries(2, "reset")).Serve(ctx, req))
		if got != "client_gone" || req.Exchange.Attempts != 1 || f.up[0].ep.Status(time.Now()).Failures != 0 {
			t.Errorf("%s after %d attempts, %d failures", got, req.Exchange.Attempts, f.up[0].ep.Status(time.Now()).Failures)
		}
		f.quiet(t)
	})
}

// TestStaleConnection: a pooled connection that was closed is replaced at
// once, at the same endpoint, whatever the policy says, and once only.
func TestStaleConnection(t *testing.T) {
	stale := func(f *fixture, times int) {
		n := 0
		f.up[0].serve = func(_ context.Context, req *stream.Request) (*stream.Response, error) {
			if err := f.up[0].read(req); err != nil {
				return nil, err
			}
			if n++; n <= times {
				req.Exchange.Reused = true
				return nil, &stream.Fault{Kind: stream.UpstreamClosed, Retry: stream.RetryUnsent}
			}
			return f.up[0].respond(200), nil
		}
	}
	t.Run("replaced", func(t *testing.T) {
		f := newFixture(2, func(c *Config) { c.RetryBudget = config.RetryBudget{}; c.Ejection.Consecutive = 1 })
		stale(f, 1)
		req, body := request("POST"), newStreamed("the body")
		req.Body = body
		got := outcome(f.ForRoute(retries(1)).Serve(t.Context(), req))
		x := &req.Exchange
		if got != "200" || x.Endpoint != "a" || x.Attempts != 1 || x.Reused || f.Stats.Replaced.Load() != 1 || f.Stats.Retries.Load() != 0 {
			t.Errorf("%s from %s after %d attempts, %d replaced, %d retries", got, x.Endpoint, x.Attempts, f.Stats.Replaced.Load(), f.Stats.Retries.Load())
		}
		if u := f.up[0]; strings.Join(u.bodies, "|") != "the body|the body" || u.fresh[0] || !u.fresh[1] || req.Fresh {
			t.Errorf("bodies %q, fresh %v", u.bodies, u.fresh)
		}
		if st := f.up[0].ep.Status(time.Now()); st.Failures != 0 {
			t.Error("a stale connection speaks against nobody")
		}
		f.quiet(t)
	})
	t.Run("not when the time was up before anything was sent", func(t *testing.T) {
		f := newFixture(1, nil)
		f.up[0].serve = func(_ context.Context, req *stream.Request) (*stream.Response, error) {
			req.Exchange.Reused = true
			return nil, &stream.Fault{Kind: stream.UpstreamTimeout, Retry: stream.RetryUnsent}
		}
		got := outcome(f.ForRoute(retries(1)).Serve(t.Context(), request("GET")))
		if st := f.up[0].ep.Status(time.Now()); got != "upstream_timeout" || len(f.up[0].fresh) != 1 || st.Failures != 0 {
			t.Errorf("%s after %d sends, %d failures", got, len(f.up[0].fresh), st.Failures)
		}
		f.quiet(t)
	})
	t.Run("once", func(t *testing.T) {
		f := newFixture(2, nil)
		stale(f, 100)
		req := request("GET")
		got := outcome(f.ForRoute(retries(1)).Serve(t.Context(), req))
		if st := f.up[0].ep.Status(time.Now()); got != "upstream_closed" || len(f.up[0].fresh) != 2 || st.Failures != 0 {
			t.Errorf("%s after %d sends, %d failures", got, len(f.up[0].fresh), st.Failures)
		}
		f.quiet(t)
	})
}
