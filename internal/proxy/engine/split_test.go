package engine

import (
	"context"
	"testing"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/canary"
	"github.com/weirproxy/weir/internal/proxy/route"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

// always is a canary that gets everything.
type always struct{}

func (always) Share() float64                                     { return 1 }
func (always) Observe(canary.Arm, bool, time.Duration, time.Time) {}

// TestSidesInOrder: what a side says itself comes before a canary, that before
// the weights; each is counted once, under what decided; and a cookie is issued
// before any of them looks, but for who was chosen.
func TestSidesInOrder(t *testing.T) {
	e := &Engine{}
	took := ""
	to := func(name string) stream.Service {
		return stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
			took = name
			return &stream.Response{Status: 200, Body: stream.NoBody}, req.Body.Close()
		})
	}
	one := "1"
	preview := &snapshot.Match{Headers: []snapshot.Value{{Name: "X-Preview", Exact: &one}}}
	spec := config.Route{Name: "r", To: []config.Target{{Cluster: "old", Weight: 1}, {Cluster: "preview"}}}
	spec.Split = config.Split{Key: "cookie:arm", Issue: &config.SplitCookie{TTL: config.Duration(time.Hour), Path: "/"}}
	r := &snapshot.Route{Spec: spec, Sides: []*snapshot.Match{nil, preview}}
	clusters := []stream.Service{to("old"), to("preview")}
	ask := func(s stream.Service, fields ...string) (issued bool) {
		t.Helper()
		req := &stream.Request{Method: "GET", Body: stream.NoBody, Conn: &stream.Conn{}}
		for i := 0; i < len(fields); i += 2 {
			req.Header.Add(fields[i], fields[i+1])
		}
		resp, err := s.Serve(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		return resp.Header.Count("Set-Cookie") > 0
	}
	counted := func(side, by string) int64 {
		return e.lodging.counter("r", splitRequests, []string{"side", side, "by", by}).Value()
	}

	plain, err := sides(r, clusters, candidate{}, e.exposing(&spec))
	if err != nil {
		t.Fatal(err)
	}
	if issued := ask(plain); took != "old" || !issued || counted("old", "key") != 1 {
		t.Errorf("a request without a cookie went to %s, issued %v", took, issued)
	}
	if issued := ask(plain, "X-Preview", "1"); took != "preview" || issued || counted("preview", "match") != 1 {
		t.Errorf("a preview went to %s, issued %v", took, issued)
	}

	spec.Canary = &config.Canary{Cluster: "new"}
	r.Spec = spec
	withCanary, err := sides(r, clusters, candidate{to("new"), always{}}, e.exposing(&spec))
	if err != nil {
		t.Fatal(err)
	}
	if issued := ask(withCanary, "Cookie", "arm=x"); took != "new" || issued || counted("new", "key") != 1 || counted("old", "key") != 1 {
		t.Errorf("a request went to %s, issued %v", took, issued)
	}
	if ask(withCanary, "X-Preview", "1"); took != "preview" || counted("preview", "match") != 2 {
		t.Errorf("a preview went to %s", took)
	}

	// Who only asks what would happen gives no cookie.
	asked, err := sides(r, clusters, candidate{}, exposing{of: func(string) route.Exposure { return route.Exposure{} }})
	if err != nil {
		t.Fatal(err)
	}
	if issued := ask(asked); issued || counted("old", "key") != 1 {
		t.Error("an explanation issues a cookie, or counts")
	}

	// One cluster is no split: nothing is between the route and it.
	r.Spec.To, r.Spec.Canary, r.Sides = spec.To[:1], nil, nil
	if single, err := sides(r, clusters[:1], candidate{}, e.exposing(&spec)); err != nil || ask(single) || counted("old", "key") != 1 {
		t.Errorf("one cluster: %v, %d counted", err, counted("old", "key"))
	}
}
