package transcode

import (
	"context"
	"testing"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/stream"
)

// passing is a request that is not the filter's business.
func passing(t testing.TB) func() {
	resp := filtertest.Response(200, "ok")
	next := stream.ServiceFunc(func(context.Context, *stream.Request) (*stream.Response, error) { return resp, nil })
	service := filtertest.Build(t, Definition(), settingsFor(t, ""), next)
	native := filtertest.Request("POST", "http://h/lib.Library/Plain")
	native.GRPC = stream.GRPCCall
	other := filtertest.Request("GET", "http://h/else/where")
	return func() {
		for _, req := range []*stream.Request{native, other} {
			if _, err := service.Serve(context.Background(), req); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestAllocsUntouched(t *testing.T) {
	if n := testing.AllocsPerRun(100, passing(t)); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkUntouched(b *testing.B) {
	run := passing(b)
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}

func BenchmarkUnary(b *testing.B) {
	next := stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		end := stream.Header{}
		end.Add("grpc-status", "0")
		whole, _ := req.Body.(stream.Whole).Bytes()
		resp := &stream.Response{Status: 200, Length: -1, Body: &wire{reads: []string{string(whole)}, trailer: &end}}
		resp.Header.AddID(stream.ContentType, "application/grpc")
		return resp, nil
	})
	service := filtertest.Build(b, Definition(), settingsFor(b, ""), next)
	b.ReportAllocs()
	for b.Loop() {
		req := request("POST", "http://h/v1/books", `{"name":"n","title":"t","author":{"name":"Eco"},"tags":["a","b"],"pages":5}`)
		if _, err := service.Serve(context.Background(), req); err != nil {
			b.Fatal(err)
		}
	}
}
