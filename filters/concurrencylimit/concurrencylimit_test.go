package concurrencylimit

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func enter(s stream.Service, fields ...string) (*stream.Response, *stream.Fault) {
	resp, err := s.Serve(context.Background(), filtertest.Request("GET", "http://h/", fields...))
	if err != nil {
		return nil, stream.AsFault(err)
	}
	return resp, nil
}

// TestUnderWay: a request counts until its response is closed.
func TestUnderWay(t *testing.T) {
	h := &filtertest.House{}
	s := filtertest.BuildIn(t, h, Definition(), `{max: 2, key: "header:x-a"}`, &filtertest.Next{})
	first, _ := enter(s, "X-A: 1")
	second, _ := enter(s, "X-A: 1")
	if _, fault := enter(s, "X-A: 1"); fault == nil || fault.Kind != stream.RateLimited || fault.Limit != "concurrency_limit.max" {
		t.Fatalf("the third: %v", fault)
	}
	other, fault := enter(s, "X-A: 2")
	if fault != nil {
		t.Fatalf("another key: %v", fault)
	}
	// A reload with another limit goes on counting.
	more := filtertest.BuildIn(t, h, Definition(), `{max: 3, key: "header:x-a", status: 503}`, &filtertest.Next{})
	third, fault := enter(more, "X-A: 1")
	if fault != nil {
		t.Fatalf("after the reload: %v", fault)
	}
	if _, fault := enter(more, "X-A: 1"); fault == nil || fault.Kind != stream.Overloaded {
		t.Fatalf("after the reload: %v", fault)
	}
	if n, _ := h.Gauged("weir_concurrency_limit_keys"); n != 2 {
		t.Errorf("%v keys are under way", n)
	}
	for _, resp := range []*stream.Response{first, second, third, other} {
		resp.Body.Close()
		resp.Body.Close()
	}
	if n, _ := h.Gauged("weir_concurrency_limit_keys"); n != 0 {
		t.Errorf("%v keys are under way after the end", n)
	}
}

// TestFaultsAndPanics leave nothing under way.
func TestFaultsAndPanics(t *testing.T) {
	h := &filtertest.House{}
	s := filtertest.BuildIn(t, h, Definition(), "max: 1", filtertest.Fail(stream.NoEndpoint))
	for range 3 {
		if _, fault := enter(s); fault == nil || fault.Kind != stream.NoEndpoint {
			t.Fatalf("%v", fault)
		}
	}
	broken := stream.ServiceFunc(func(context.Context, *stream.Request) (*stream.Response, error) { panic("broken") })
	s = filtertest.BuildIn(t, h, Definition(), "max: 1", broken)
	for range 3 {
		func() {
			defer func() { _ = recover() }()
			_, _ = enter(s)
		}()
	}
	if n, _ := h.Gauged("weir_concurrency_limit_keys"); n != 0 {
		t.Errorf("%v keys are under way", n)
	}
	// A panic in front: the content of the exchange is closed in its stead.
	var req *stream.Request
	s = filtertest.BuildIn(t, h, Definition(), "max: 1", stream.ServiceFunc(func(_ context.Context, r *stream.Request) (*stream.Response, error) {
		req = r
		resp := filtertest.Response(200, "ok")
		r.Exchange.Content = resp.Body
		return resp, nil
	}))
	if _, fault := enter(s); fault != nil {
		t.Fatal(fault)
	}
	req.Exchange.Content.Close()
	if n, _ := h.Gauged("weir_concurrency_limit_keys"); n != 0 {
		t.Errorf("%v keys are under way after a panic in front", n)
	}
}

func TestShadow(t *testing.T) {
	h := &filtertest.House{}
	s := filtertest.BuildIn(t, h, Definition(), "{max: 1, mode: shadow}", &filtertest.Next{})
	for range 3 {
		if _, fault := enter(s); fault != nil {
			t.Fatal(fault)
		}
	}
	if n := h.Counted(`weir_concurrency_limit_decisions_total{result="shadow_refused"}`); n != 2 {
		t.Errorf("%d would be refused, want 2", n)
	}
}

func TestContract(t *testing.T) {
	out := filtertest.Run(t, Definition(), "{max: 1, key: client}", filtertest.WithBody(filtertest.Request("POST", "http://h/"), "x"), nil)
	if out.Fault != nil || out.Body != "ok" || out.Sent.Body != "x" {
		t.Errorf("%+v", out)
	}
	for settings, want := range map[string]string{"": "needs", "max: 0": "less than 1", "{max: 1, key: nothing}": "not known"} {
		if problems := filtertest.Check(t, Definition(), settings); problems.Errors() == 0 || !strings.Contains(problems[0].String(), want) {
			t.Errorf("%q: %v, want %q", settings, problems, want)
		}
	}
}

// TestTogether: many at once are never more than allowed.
func TestTogether(t *testing.T) {
	var now, most atomic.Int64
	s := filtertest.Build(t, Definition(), "max: 3", stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		defer req.Body.Close()
		n := now.Add(1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		return filtertest.Response(200, ""), nil
	}))
	var work sync.WaitGroup
	for range 16 {
		work.Go(func() {
			for range 500 {
				if resp, fault := enter(s); fault == nil {
					now.Add(-1)
					resp.Body.Close()
				}
			}
		})
	}
	work.Wait()
	if most.Load() > 3 || most.Load() == 0 {
		t.Errorf("%d at once", most.Load())
	}
}
