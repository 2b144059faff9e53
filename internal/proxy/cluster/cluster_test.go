package cluster

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

func TestNoEndpoint(t *testing.T) {
	f := newFixture(2, nil)
	req := request("GET")
	body := newStreamed("xx")
	req.Body = body
	for _, u := range f.up {
		u.ep.Checked(false, "test", time.Now())
	}
	got := outcome(f.ForRoute(retries(2)).Serve(t.Context(), req))
	if got != "no_endpoint" || req.Exchange.Attempts != 0 || !req.Exchange.UpstreamStart.IsZero() || f.Stats.NoPick.Load() != 1 || !body.closed {
		t.Errorf("%s, facts %+v, body closed %v", got, req.Exchange, body.closed)
	}
	f.SetEndpoints(endpoint.NewSet(nil))
	if got := outcome(f.ForRoute(retries(2)).Serve(t.Context(), request("GET"))); got != "no_endpoint" {
		t.Error(got)
	}
	f.quiet(t)
}

func TestMaxRequests(t *testing.T) {
	f := newFixture(1, func(c *Config) { c.Load = endpoint.NewLoad(2, 0) })
	s := f.ForRoute(retries(2))
	var open []*stream.Response
	for range 2 {
		resp, err := s.Serve(t.Context(), request("GET"))
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, resp)
	}
	body := newStreamed("xx")
	req := request("POST")
	req.Body = body
	_, err := s.Serve(t.Context(), req)
	if fault := stream.AsFault(err); fault.Kind != stream.ClusterFull || fault.Limit != "max_requests" || !body.closed || f.Stats.Full.Load() != 1 {
		t.Errorf("third request: %v, body closed %v", err, body.closed)
	}
	open[0].Body.Close()
	if got := outcome(s.Serve(t.Context(), request("GET"))); got != "200" {
		t.Errorf("after one has ended: %s", got)
	}
	open[1].Body.Close()
	f.quiet(t)
}

// TestRetriedResponseKeepsItsPlace: the response that is given up for another
// attempt gives back a place that the request goes on using.
func TestRetriedResponseKeepsItsPlace(t *testing.T) {
	f := newFixture(2, nil)
	f.up[0].always(503)
	f.up[1].serve = func(context.Context, *stream.Request) (*stream.Response, error) {
		if n := f.Load().Requests(); n != 1 {
			t.Errorf("%d places taken, want 1", n)
		}
		if n := f.up[0].ep.InFlight(); n != 0 {
			t.Error("the first response is still open in the second attempt")
		}
		return f.up[1].respond(200), nil
	}
	if got := outcome(f.ForRoute(retries(2, "5xx")).Serve(t.Context(), request("GET"))); got != "200" {
		t.Error(got)
	}
	f.quiet(t)
}

func TestPanicGivesEverythingBack(t *testing.T) {
	f := newFixture(1, nil)
	f.up[0].serve = func(context.Context, *stream.Request) (*stream.Response, error) { panic("defect") }
	req, body := request("POST"), newStreamed("xx")
	req.Body = body
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is not for this stage to hide")
			}
		}()
		f.ForRoute(retries(2)).Serve(t.Context(), req)
	}()
	if !body.closed {
		t.Error("the body was not closed")
	}
	f.quiet(t)
}

// TestBudgetUnderStorm: everything fails, and the attempts stay within a fifth
// more than the requests and a few per second.
func TestBudgetUnderStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perSecond, seconds, callers = 3, 30, 50
		f := newFixture(2, func(c *Config) { c.RetryBudget = config.RetryBudget{Ratio: 0.2, MinPerSecond: perSecond} })
		for _, u := range f.up {
			u.fails(stream.ConnectRefused, stream.RetryUnsent)
		}
		s := f.ForRoute(retries(4, "connect"))
		var requests, attempts int64
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(i), 0))
				for start := time.Now(); time.Since(start) < seconds*time.Second; {
					req := request("GET")
					outcome(s.Serve(t.Context(), req))
					mu.Lock()
					requests++
					attempts += int64(req.Exchange.Attempts)
					mu.Unlock()
					time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
				}
			})
		}
		wg.Wait()
		limit := float64(requests)*1.2 + perSecond*(seconds+1)
		if float64(attempts) > limit {
			t.Errorf("%d attempts for %d requests, want at most %.0f", attempts, requests, limit)
		}
		if float64(attempts) < float64(requests)*1.15 {
			t.Errorf("%d attempts for %d requests: the budget gives less than it has", attempts, requests)
		}
		if f.Stats.RetryRefused[RefusedBudget].Load() == 0 {
			t.Error("nothing was refused")
		}
		f.quiet(t)
	})
}

func TestBudget(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	count := func(b *budget, s float64, n int) (allowed int) {
		for range n {
			if b.retry(at(s)) {
				allowed++
			}
		}
		return allowed
	}
	b := &budget{born: start, ratio: 0.2, perSecond: 3}
	if n := count(b, 0, 100); n != 3 {
		t.Errorf("without requests: %d, want the minimum of 3", n)
	}
	for i := range 100 {
		b.request(at(1 + float64(i)/100))
	}
	if n := count(b, 2, 100); n != 17 {
		t.Errorf("after 100 requests: %d, want 20 less the 3 before", n)
	}
	if n := count(b, 3, 100); n != 3 {
		t.Errorf("the share is spent: %d, want the minimum", n)
	}
	if n := count(b, 30, 100); n != 3 {
		t.Errorf("the requests are long ago: %d, want the minimum", n)
	}
	b.request(at(29)) // came late
	b.request(at(5))  // by a whole round
	none := &budget{born: start}
	if n := count(none, 0, 10); n != 0 {
		t.Errorf("no budget at all allowed %d", n)
	}
}

func TestBudgetIsNeverExceededAtOnce(t *testing.T) {
	now := time.Now()
	b := &budget{born: now, ratio: 0.1}
	for range 1000 {
		b.request(now)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	allowed := 0
	for range 8 {
		wg.Go(func() {
			for range 500 {
				if b.retry(now) {
					mu.Lock()
					allowed++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if allowed > 100 || allowed < 90 {
		t.Errorf("%d retries for 1000 requests at a tenth", allowed)
	}
}

func ejecting(share float64) func(*Config) {
	return func(c *Config) {
		c.Ejection = config.Ejection{Consecutive: 3, Base: config.Duration(30 * time.Second), Max: config.Duration(70 * time.Second), MaxShare: share}
	}
}

func TestWhatEjects(t *testing.T) {
	cases := []struct {
		name   string
		kind   stream.Kind
		status int
		want   bool
	}{
		{"refused", stream.ConnectRefused, 0, true},
		{"connect timeout", stream.ConnectTimeout, 0, true},
		{"TLS", stream.TLSFailed, 0, true},
		{"reset", stream.UpstreamReset, 0, true},
		{"closed", stream.UpstreamClosed, 0, true},
		{"timeout", stream.UpstreamTimeout, 0, true},
		{"502", 0, 502, true},
		{"503", 0, 503, true},
		{"504", 0, 504, true},
		{"500 is the application's", 0, 500, false},
		{"404", 0, 404, false},
		{"client gone", stream.ClientGone, 0, false},
		{"client too slow", stream.BodyTimeout, 0, false},
		{"body too large", stream.BodyTooLarge, 0, false},
		{"no connection left", stream.ClusterFull, 0, false},
		{"defect", stream.Internal, 0, false},
	}
	for _, c := range cases {
		f := newFixture(2, ejecting(0.5))
		if f.up[0].fails(c.kind, stream.RetryNever); c.status != 0 {
			f.up[0].always(c.status)
		}
		s := f.ForRoute(retries(1))
		for range 3 {
			outcome(s.Serve(t.Context(), request("GET")))
		}
		if got := f.up[0].ep.Ejected(time.Now()); got != c.want || f.Stats.Ejections.Load() != map[bool]int64{true: 1}[c.want] {
			t.Errorf("%s: ejected %v, want %v", c.name, got, c.want)
		}
		f.quiet(t)
	}
}

func TestEjectionLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(2, ejecting(0.5))
		a := f.up[0]
		s := f.ForRoute(retries(1))
		ask := func(n int) (last string) {
			for range n {
				last = outcome(s.Serve(t.Context(), request("GET")))
			}
			return last
		}
		length := func(base time.Duration) {
			t.Helper()
			st := a.ep.Status(time.Now())
			if d := time.Until(st.Until); st.Health != endpoint.Ejected || d > base || d < base*9/10 {
				t.Fatalf("%v for %v (%s), want nearly %v", st.Health, d, st.Reason, base)
			}
			if got := ask(1); got != "200" {
				t.Fatalf("%s: an ejected endpoint was asked", got)
			}
			time.Sleep(time.Until(st.Until))
		}
		a.always(503)
		ask(2)
		a.always(200)
		ask(1) // wipes the two
		a.always(503)
		if ask(2); a.ep.Ejected(time.Now()) {
			t.Fatal("two in a row are not three")
		}
		ask(1)
		length(30 * time.Second)
		ask(1) // on probation
		length(60 * time.Second)
		ask(1)
		length(70 * time.Second) // Max
		a.always(200)
		if ask(5); !a.ep.Available(time.Now()) {
			t.Fatal("still out")
		}
		time.Sleep(3 * 30 * time.Second) // forgiven
		a.always(503)
		ask(3)
		length(30 * time.Second)
	})
}

func TestMaxShare(t *testing.T) {
	cases := []struct {
		endpoints int
		share     float64
		want      int
	}{
		{1, 0.5, 0},
		{1, 1, 1},
		{2, 0.1, 1}, // one is always allowed
		{10, 0.1, 1},
		{10, 0.35, 3},
		{10, 0, 1},
		{4, 1, 4},
	}
	for _, c := range cases {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(c.endpoints, ejecting(c.share))
			for _, u := range f.up {
				u.always(503)
			}
			s := f.ForRoute(retries(c.endpoints, "503")) // each request asks all of them
			for range 10 {
				outcome(s.Serve(t.Context(), request("GET")))
			}
			out := 0
			for _, u := range f.up {
				if u.ep.Ejected(time.Now()) {
					out++
				}
			}
			if out != c.want {
				t.Errorf("%d endpoints, share %v: %d out, want %d", c.endpoints, c.share, out, c.want)
			}
			if c.want < c.endpoints && f.Stats.EjectionCapped.Load() == 0 {
				t.Error("nothing was counted as held back")
			}
		})
	}
}

func TestFailOpenIsCounted(t *testing.T) {
	f := newFixture(1, ejecting(1))
	f.up[0].always(503)
	s := f.ForRoute(retries(1))
	for range 3 {
		outcome(s.Serve(t.Context(), request("GET")))
	}
	f.up[0].always(200)
	if got := outcome(s.Serve(t.Context(), request("GET"))); got != "200" || f.Stats.FailOpen.Load() != 1 {
		t.Errorf("%s, counted %d times", got, f.Stats.FailOpen.Load())
	}
}

func TestConcurrentRequests(t *testing.T) {
	f := newFixture(4, func(c *Config) { ejecting(0.5)(c); c.Load = endpoint.NewLoad(6, 0) })
	for i, u := range f.up {
		u.serve = func(_ context.Context, req *stream.Request) (*stream.Response, error) {
			if err := u.read(req); err != nil {
				return nil, err
			}
			switch rand.IntN(4 + i) {
			case 0:
				return u.respond(503), nil
			case 1:
				return nil, &stream.Fault{Kind: stream.UpstreamReset, Retry: stream.RetryIdempotent}
			case 2:
				req.Exchange.Reused = true
				return nil, &stream.Fault{Kind: stream.UpstreamClosed, Retry: stream.RetryUnsent}
			}
			return u.respond(200), nil
		}
	}
	s := f.ForRoute(retries(3, "reset", "5xx"))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 500 {
				req := request("PUT")
				if i%2 == 0 {
					req.Body = newStreamed("some content")
				}
				outcome(s.Serve(t.Context(), req))
				if i%50 == 0 {
					f.SetEndpoints(endpoint.NewSet(f.Endpoints().All()))
				}
			}
		})
	}
	wg.Wait()
	f.quiet(t)
}

// plain is a transport that costs nothing itself.
type plain struct {
	upstream
	resp stream.Response
}

func (p *plain) Serve(context.Context, *stream.Request) (*stream.Response, error) {
	p.ep.Ended()
	return &p.resp, nil
}

func bare() (*fixture, stream.Service) {
	f := newFixture(1, ejecting(0.5))
	f.up[0].ep.Transport = &plain{upstream: upstream{ep: f.up[0].ep}, resp: stream.Response{Status: 200, Body: stream.NoBody}}
	p := retries(2, "connect", "reset", "503")
	p.Retry.PerTry = config.Duration(time.Second)
	return f, f.ForRoute(p)
}

func TestAllocsServe(t *testing.T) {
	f, s := bare()
	req, ctx := request("GET"), t.Context()
	n := testing.AllocsPerRun(1000, func() {
		req.Exchange = stream.Exchange{}
		if _, err := s.Serve(ctx, req); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations for a request without body, want 0", n)
	}
	f.quiet(t)
}

func BenchmarkServe(b *testing.B) {
	_, s := bare()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		req, ctx := request("GET"), context.Background()
		for pb.Next() {
			req.Exchange = stream.Exchange{}
			if _, err := s.Serve(ctx, req); err != nil {
				b.Fatal(err)
			}
		}
	})
}
