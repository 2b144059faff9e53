package examples

import (
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// overloaded is the upstream of overload.yaml: it says when a request is there,
// and answers when it is let go.
type overloaded struct {
	here, let chan struct{}
	broken    atomic.Bool
}

// overload is the example with its upstream.
func overload() example {
	o := &overloaded{here: make(chan struct{}, 8), let: make(chan struct{})}
	return example{setup: o.setup, prove: o.prove}
}

func (o *overloaded) setup(t *testing.T) map[string]string {
	return map[string]string{public: anywhere, "127.0.0.1:9001": serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if o.broken.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		o.here <- struct{}{}
		select {
		case <-o.let:
		case <-r.Context().Done():
		}
	}))}
}

func (o *overloaded) prove(t *testing.T, x *running) {
	answers := make(chan answer, 8)
	ask := func(n int) {
		for range n {
			go func() { answers <- x.get("/") }()
		}
	}
	ask(2)
	<-o.here
	<-o.here
	ask(4) // two of them find no place in the queue either
	for range 2 {
		a := <-answers
		x.want("over the queue", a, 503)
		if a.header.Get("Retry-After") == "" || !strings.Contains(a.body, "queue") {
			t.Errorf("refused by %v, %q", a.header, a.body)
		}
	}
	close(o.let)
	for range 4 {
		x.want("served", <-answers, 200)
	}
	o.broken.Store(true)
	for range 10_000 {
		if a := x.get("/"); strings.Contains(a.body, "breaker") {
			return
		}
	}
	t.Error("the breaker stays closed while everything fails")
}

// crowded are the two upstreams of endpoint-limits.yaml.
type crowded struct{ first, second *overloaded }

// endpointLimits is the example with its upstreams.
func endpointLimits() example {
	let := make(chan struct{})
	c := &crowded{&overloaded{here: make(chan struct{}, 8), let: let}, &overloaded{here: make(chan struct{}, 8), let: let}}
	return example{setup: c.setup, prove: c.prove}
}

func (c *crowded) setup(t *testing.T) map[string]string {
	first, second := c.first.setup(t), c.second.setup(t)
	first["127.0.0.1:9002"] = second["127.0.0.1:9001"]
	return first
}

func (c *crowded) prove(t *testing.T, x *running) {
	answers := make(chan answer, 8)
	for range 6 {
		go func() { answers <- x.get("/") }()
	}
	for range 2 {
		<-c.first.here
		<-c.second.here
	}
	x.addrs["admin"] = filepath.Join(x.dir, "admin.sock")
	for _, want := range []string{"2 of 2", ", full"} {
		if shown := x.ask(call{listener: "admin", path: "/clusters?format=text"}).body; strings.Count(shown, want) != 2 {
			t.Errorf("the admin page has %q not for both endpoints:\n%s", want, shown)
		}
	}
	if a := <-answers; a.status != 503 || !strings.Contains(a.body, "queue") { // one waits, the other finds no room to
		t.Errorf("over the queue: %d, %q", a.status, a.body)
	}
	close(c.first.let)
	for range 5 {
		x.want("served", <-answers, 200)
	}
}

func setupHedging(t *testing.T) map[string]string {
	var stuck atomic.Bool
	side := func(name string) http.Handler {
		answers := echo(name)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Stuck") != "" && stuck.CompareAndSwap(false, true) {
				<-r.Context().Done() // the first of the two that are asked never answers
				return
			}
			answers(w, r)
		})
	}
	return map[string]string{public: anywhere, "127.0.0.1:9001": serve(t, side("9001")), "127.0.0.1:9002": serve(t, side("9002"))}
}

func proveHedging(t *testing.T, x *running) {
	for range 60 { // so many it wants to know
		x.want("fast", x.get("/search"), 200)
	}
	x.want("hedged", x.get("/search", "X-Stuck", "1"), 200)
	left := saw(t, x.get("/search", "Weir-Timeout-Ms", "250")).Header.Get("Weir-Timeout-Ms")
	if ms, err := strconv.Atoi(left); err != nil || ms > 250 || ms < 1 {
		t.Errorf("the upstream is told %q of 250 ms", left)
	}
	x.want("too late", x.get("/search", "Weir-Timeout-Ms", "1"), 504)
	x.want("no number", x.get("/search", "Weir-Timeout-Ms", "soon"), 400)
}

func setupRollout(t *testing.T) map[string]string {
	broken := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	return map[string]string{public: anywhere, "127.0.0.1:9001": serve(t, echo("v1")), "127.0.0.1:9002": serve(t, broken)}
}

func proveRollout(t *testing.T, x *running) {
	x.addrs["admin"] = filepath.Join(x.dir, "admin.sock")
	failed := 0
	for i := range 3000 {
		if x.get("/", "X-User", "user-"+itoa(i)).status == 500 {
			failed++
		}
	}
	if failed < 50 || failed > 70 {
		t.Errorf("%d requests failed; it takes 50 of the new version to roll it back", failed)
	}
	state := x.ask(call{listener: "admin", path: "/canaries"})
	if !strings.Contains(state.body, `"rolled_back"`) || !strings.Contains(state.body, "too much") {
		t.Errorf("canaries: %s", state.body)
	}
	resumed := x.ask(call{listener: "admin", method: "POST", path: "/canaries/shop/resume", header: map[string]string{"Content-Type": "application/json"}})
	if x.want("resume", resumed, 200); !strings.Contains(resumed.body, `"running"`) {
		t.Errorf("resumed: %s", resumed.body)
	}
}
