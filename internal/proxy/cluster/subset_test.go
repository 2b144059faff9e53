package cluster

import (
	"testing"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

// TestSubsets: a route sees the endpoints with its labels, also those that come
// later, and no endpoint when there is none.
func TestSubsets(t *testing.T) {
	f := newFixture(0, nil)
	specs := func(labels ...string) []endpoint.Spec {
		var list []endpoint.Spec
		for i, version := range labels {
			list = append(list, endpoint.Spec{
				Network: "tcp", Address: string(rune('a' + i)), Weight: 1, Place: endpoint.Place{Labels: map[string]string{"version": version}},
			})
		}
		return list
	}
	serve := func(labels ...string) {
		next, _ := f.Endpoints().Update(specs(labels...), func(spec endpoint.Spec) *endpoint.Endpoint {
			ep := endpoint.New(spec, f.Load(), time.Now())
			u := &upstream{ep: ep}
			u.always(200)
			ep.Transport = u
			return ep
		})
		f.SetEndpoints(next)
	}
	v2 := f.ForRoute(Policy{Labels: map[string]string{"version": "v2"}, Retry: retries(2, "connect").Retry})
	same := f.ForRoute(Policy{Labels: map[string]string{"version": "v2"}})
	if v2.(*service).subset != same.(*service).subset {
		t.Error("two routes that choose the same do not share")
	}
	all := f.ForRoute(retries(1))
	ask := func(s stream.Service) string {
		req := request("GET")
		return outcome(s.Serve(t.Context(), req)) + " " + req.Exchange.Endpoint
	}
	for _, c := range []struct {
		versions []string
		v2, all  string
	}{
		{[]string{"v1", "v1"}, "no_endpoint ", "200 a"},
		{[]string{"v1", "v1", "v2"}, "200 c", "200 a"},
		{[]string{"v1", "v2", "v2"}, "200 b", "200 a"},
		{[]string{"v1", "v1"}, "no_endpoint ", "200 a"},
	} {
		serve(c.versions...)
		if got := ask(v2); got != c.v2 {
			t.Errorf("%v: %s, want %s", c.versions, got, c.v2)
		}
		if got := ask(all); got != c.all {
			t.Errorf("%v, whole: %s, want %s", c.versions, got, c.all)
		}
	}
}
