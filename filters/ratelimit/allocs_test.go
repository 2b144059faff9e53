//go:build !race

package ratelimit

import (
	"context"
	"testing"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/stream"
)

// silent answers without allocating.
func silent() stream.Service {
	resp := filtertest.Response(200, "")
	return stream.ServiceFunc(func(context.Context, *stream.Request) (*stream.Response, error) { return resp, nil })
}

const several = `limits: [{rate: 1000000/s, key: [client/24, "header:x-a", "cookie:c"]}, {rate: 1000000/s}, {quota: {amount: 1000000000}, key: client}]`

// TestAllocs: a request that is let through costs no allocation.
func TestAllocs(t *testing.T) {
	for _, settings := range []string{"rate: 1000000/s", "{rate: 1000000/s, key: client}", `{rate: 1000000/s, key: "header:x-a"}`, several} {
		s := filtertest.Build(t, Definition(), settings, silent())
		req := filtertest.Request("GET", "http://h/", "X-A: v", "Cookie: c=1")
		if n := testing.AllocsPerRun(1000, func() { _, _ = s.Serve(context.Background(), req) }); n != 0 {
			t.Errorf("%s: %v allocations", settings, n)
		}
	}
}

func BenchmarkOneLimit(b *testing.B) {
	benchmark(b, "{rate: 1000000/s, burst: 1000000000, key: client}")
}

func BenchmarkThreeLimits(b *testing.B) { benchmark(b, several) }

func benchmark(b *testing.B, settings string) {
	s := filtertest.Build(b, Definition(), settings, silent())
	req := filtertest.Request("GET", "http://h/", "X-A: v", "Cookie: c=1")
	b.ReportAllocs()
	for b.Loop() {
		_, _ = s.Serve(context.Background(), req)
	}
}
