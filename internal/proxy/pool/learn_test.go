package pool

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/stream"
)

// TestClosedWhileIdle: by the janitor, and by the look before use.
func TestClosedWhileIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(Config{MaxIdle: 10, Learn: true})
		finish(f.begin(t, 1))
		f.conns[0].noisy.Store(true)
		time.Sleep(time.Second)
		f.expect(t, 0, 0, 1)
		finish(f.begin(t, 1))
		time.Sleep(90 * time.Millisecond) // the janitor has not been there
		f.conns[1].noisy.Store(true)
		finish(f.begin(t, 1))
		f.expect(t, 1, 1, 3)
		if n := f.group.Stats.Closed.Load(); n != 2 {
			t.Errorf("%d found closed, want 2", n)
		}
		f.Drain()
	})
}

// TestLearnsFromStaleConnections: three times the endpoint closes after 10 s
// without the proxy seeing it, then connections are retired earlier, and two of
// them are watched.
func TestLearnsFromStaleConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(Config{MaxIdle: 10, Idle: time.Minute, Learn: true})
		for range 3 {
			finish(f.begin(t, 1))
			c := f.conns[len(f.conns)-1]
			c.serve = func(*stream.Request) (*stream.Response, error) {
				c.release(false)
				return nil, &stream.Fault{Kind: stream.UpstreamClosed, Retry: stream.RetryUnsent}
			}
			time.Sleep(10 * time.Second)
			if _, err := f.Serve(t.Context(), request()); err == nil {
				t.Fatal("want a fault")
			}
			time.Sleep(time.Second)
		}
		limit, ok := f.Horizon()
		if !ok || limit > 8*time.Second || limit < 5*time.Second || f.group.Stats.Stale.Load() != 3 {
			t.Fatalf("horizon %v (%v) after %d stale connections", limit, ok, f.group.Stats.Stale.Load())
		}
		finish(f.begin(t, 4))
		open := f.begin(t, 4)
		finish(open)
		time.Sleep(9 * time.Second)
		f.expect(t, maxWatched, 0, 7)
		time.Sleep(2 * time.Minute) // watched to the limit of the document, then let go
		f.expect(t, 0, 0, 7)
	})
}

// TestWhatIsStale: which faults on a pooled connection are learned from.
func TestWhatIsStale(t *testing.T) {
	cases := []struct {
		name   string
		fault  stream.Fault
		after  time.Duration
		reused bool
		want   int64
	}{
		{"closed before it was used", stream.Fault{Kind: stream.UpstreamClosed, Retry: stream.RetryUnsent}, 0, true, 1},
		{"closed while the request was on its way", stream.Fault{Kind: stream.UpstreamReset, Retry: stream.RetryIdempotent}, 50 * time.Millisecond, true, 1},
		{"closed after a while", stream.Fault{Kind: stream.UpstreamReset, Retry: stream.RetryIdempotent}, 2 * time.Second, true, 0},
		{"a new connection", stream.Fault{Kind: stream.UpstreamReset, Retry: stream.RetryIdempotent}, 0, false, 0},
		{"time was up", stream.Fault{Kind: stream.UpstreamTimeout, Retry: stream.RetryUnsent}, 0, true, 0},
	}
	for _, c := range cases {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(Config{MaxIdle: 10, Learn: true})
			finish(f.begin(t, 1))
			time.Sleep(10 * time.Second)
			f.conns[0].serve = func(*stream.Request) (*stream.Response, error) { time.Sleep(c.after); return nil, &c.fault }
			req := request()
			if req.Fresh = !c.reused; req.Fresh {
				dial := f.dial
				f.dial = func(ctx context.Context, deadline time.Time, release func(bool)) (*fakeConn, net.Conn, error) {
					conn, nc, err := dial(ctx, deadline, release)
					conn.serve = f.conns[0].serve
					return conn, nc, err
				}
			}
			if _, err := f.Serve(t.Context(), req); err == nil {
				t.Error("want a fault")
			}
			if n := f.group.Stats.Stale.Load(); n != c.want {
				t.Errorf("%s: counted %d times, want %d", c.name, n, c.want)
			}
			f.Drain()
		})
	}
}

func TestRestarted(t *testing.T) {
	s := func(n ...int) (ages []time.Duration) {
		for _, n := range n {
			ages = append(ages, time.Duration(n)*time.Second)
		}
		return ages
	}
	cases := []struct {
		name   string
		closes []time.Duration
		before int
		want   bool
	}{
		{"nothing", nil, 0, false},
		{"one", s(10), 1, false},
		{"all at once, ages differ", s(1, 10, 30), 3, true},
		{"half of them", s(1, 10), 4, true},
		{"a few of many", s(1, 10), 5, false},
		{"all at once, of the same age", s(10, 10, 11), 3, false},
	}
	for _, c := range cases {
		if got := restarted(c.closes, c.before); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestDoesNotLearn from closes right after a response, from what happened at
// once, and when it was not asked to.
func TestDoesNotLearn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cases := []struct {
			name          string
			learn         bool
			ages          []time.Duration
			rounds, wants int
		}{
			{"time-outs", true, []time.Duration{time.Second}, 3, 1},
			{"off", false, []time.Duration{time.Second}, 3, 0},
			{"too early", true, []time.Duration{90 * time.Millisecond}, 100, 0},
			{"restarts", true, []time.Duration{time.Second, 5 * time.Second}, 100, 0},
			{"many at once are one", true, []time.Duration{time.Second, time.Second, time.Second, time.Second}, 2, 0},
		}
		for _, c := range cases {
			f := newFixture(Config{MaxIdle: 10, Learn: c.learn})
			for range c.rounds {
				for _, age := range c.ages {
					f.noteClose(age)
				}
				time.Sleep(time.Second)
			}
			if limit, ok := f.Horizon(); ok != (c.wants == 1) {
				t.Errorf("%s: horizon %v (%v)", c.name, limit, ok)
			}
			f.Drain()
		}
	})
}

func TestJanitorSurvivesAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(Config{MaxIdle: 10})
		finish(f.begin(t, 1))
		f.conns[0].explodes.Store(true)
		time.Sleep(tick)
		synctest.Wait()
		f.conns[0].explodes.Store(false)
		if f.group.Stats.Panics.Load() != 1 {
			t.Fatalf("%d panics counted", f.group.Stats.Panics.Load())
		}
		f.conns[0].noisy.Store(true)
		time.Sleep(time.Second)
		f.expect(t, 0, 0, 1)
	})
}
