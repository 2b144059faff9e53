package cluster

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
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
		u.ep.Checked(false, endpoint.ByAnswer, "test", time.Now())
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
