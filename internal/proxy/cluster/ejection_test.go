package cluster

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

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
		if got := f.up[0].ep.Ejected(); got != c.want || f.Stats.Ejections.Load() != map[bool]int64{true: 1}[c.want] {
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
		if ask(2); a.ep.Ejected() {
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
				if u.ep.Ejected() {
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
