//go:build !race

package cluster

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

// instant is a transport that answers at once and without an allocation, so that
// what a benchmark shows is the cluster's.
type instant struct {
	ep   *endpoint.Endpoint
	resp stream.Response
}

func (i *instant) Serve(context.Context, *stream.Request) (*stream.Response, error) {
	i.resp = stream.Response{Status: 200, Body: i}
	return &i.resp, nil
}

func (i *instant) Drain()                        {}
func (i *instant) Connections() (open, idle int) { return 0, 0 }
func (i *instant) Read([]byte) (int, error)      { return 0, nil }
func (i *instant) Close() error                  { i.ep.Ended(); return nil }
func (i *instant) Trailer() *stream.Header       { return nil }

// armed are the features of a cluster that watch every request and have no reason
// to do anything about these.
var armed = []struct {
	name   string
	allocs float64 // for each request
	gates  Gates
	policy func(*Policy)
}{
	{name: "none"},
	{name: "retries", policy: func(p *Policy) { p.Retry.Attempts, p.Retry.On = 3, []string{"connect", "reset", "502", "503"} }},
	{name: "hedging", allocs: 1, policy: func(p *Policy) {
		h := config.Default[config.Hedge]()
		h.Least = config.Duration(time.Second)
		p.Hedge = &h
	}},
	{name: "breaker", gates: Gates{Breaker: &config.Breaker{
		When: "error_ratio > 0.5 || latency(0.9) > 10s", Window: config.Duration(10 * time.Second), MinRequests: 20,
		Open: config.Duration(time.Second), MaxOpen: config.Duration(time.Minute), Probes: 3,
	}}},
	{name: "admission", gates: Gates{Admission: &config.Admission{
		SuccessRate: 0.9, Window: config.Duration(10 * time.Second), MinRequests: 20, Aggression: 1, Max: 0.9,
	}}},
	{name: "adaptive", allocs: 1, gates: Gates{Adaptive: &config.Adaptive{Min: 200, Max: 1000, Tolerance: 0.5, Probe: config.Duration(time.Minute)}}},
	{name: "queue", allocs: 1, gates: Gates{Queue: &config.Queue{Max: 100, Timeout: config.Duration(time.Second)}}},
}

// serving is a service of a cluster with a feature, and a request for it.
func serving(tb testing.TB, gates Gates, policy func(*Policy)) (stream.Service, *stream.Request) {
	f := newFixture(2, func(c *Config) { c.Go, c.Load = func(work func()) { go work() }, endpoint.NewLoad(4096, 4096) })
	for _, u := range f.up {
		u.ep.Transport = &instant{ep: u.ep}
	}
	if err := f.Guard(gates, slog.New(slog.DiscardHandler)); err != nil {
		tb.Fatal(err)
	}
	p := retries(1)
	if policy != nil {
		policy(&p)
	}
	req := request("GET")
	req.Header = stream.Header{}
	for _, name := range []string{"Accept", "User-Agent", "X-Request-Id", "X-Forwarded-For", "Via", "Accept-Encoding"} {
		req.Header.Add(name, "some value")
	}
	s := f.ForRoute(p)
	for range 2 * hedgeSamples { // a hedge has learned
		serveOnce(tb, s, req)
	}
	return s, req
}

func serveOnce(tb testing.TB, s stream.Service, req *stream.Request) {
	req.Exchange = stream.Exchange{}
	resp, err := s.Serve(context.Background(), req)
	if err != nil {
		tb.Fatal(err)
	}
	_ = resp.Body.Close()
}

// TestAllocsArmed (the race detector makes pools forget): hedging needs the context of the attempt that it may give up, a
// place the body of the response that gives it back.
func TestAllocsArmed(t *testing.T) {
	for _, feature := range armed {
		s, req := serving(t, feature.gates, feature.policy)
		if n := testing.AllocsPerRun(500, func() { serveOnce(t, s, req) }); n > feature.allocs+0.1 {
			t.Errorf("%s: %v allocations, want %v", feature.name, n, feature.allocs)
		}
	}
}

// BenchmarkArmed is what each feature costs a request about which it does nothing.
func BenchmarkArmed(b *testing.B) {
	for _, feature := range armed {
		b.Run(feature.name, func(b *testing.B) {
			s, req := serving(b, feature.gates, feature.policy)
			b.ReportAllocs()
			for b.Loop() {
				serveOnce(b, s, req)
			}
		})
	}
}
