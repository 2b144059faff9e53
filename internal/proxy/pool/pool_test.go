package pool

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

func TestReuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(Config{MaxIdle: 10})
		finish(f.begin(t, 1))
		finish(f.begin(t, 1))
		f.expect(t, 1, 1, 1)
		open := f.begin(t, 3)
		f.expect(t, 3, 0, 3)
		for _, r := range open { // the one that comes back last goes out first
			r.Body.Close()
		}
		req := request()
		var number int
		for _, c := range f.conns {
			c.serve = func(*stream.Request) (*stream.Response, error) { number = c.number; return c.respond(), nil }
		}
		f.load.Enter()
		f.ep.Began()
		resp, _ := f.Serve(t.Context(), req)
		if number != 2 || !req.Exchange.Reused {
			t.Errorf("took connection %d, reused %v; want the one used last", number, req.Exchange.Reused)
		}
		resp.Body.Close()
		if req.Exchange.UpstreamEnd.IsZero() {
			t.Error("the end of the exchange is not noted")
		}
		req.Fresh = true
		f.load.Enter()
		f.ep.Began()
		resp, _ = f.Serve(t.Context(), req)
		if req.Exchange.Reused || len(f.conns) != 4 {
			t.Error("a fresh connection was asked for")
		}
		resp.Body.Close()
		if f.ep.InFlight() != 0 || f.load.Requests() != 0 {
			t.Errorf("%d in flight, %d places", f.ep.InFlight(), f.load.Requests())
		}
		f.Drain()
		f.expect(t, 0, 0, 4)
	})
}

func TestLimitsOfIdleConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(Config{MaxIdle: 3, Idle: 10 * time.Second, MaxAge: time.Minute})
		finish(f.begin(t, 5))
		f.expect(t, 3, 3, 5)
		if f.group.Stats.Dropped.Load() != 2 {
			t.Error("more than max_idle is dropped and counted")
		}
		time.Sleep(9 * time.Second)
		finish(f.begin(t, 1)) // one stays in use
		time.Sleep(2 * time.Second)
		f.expect(t, 1, 1, 5) // by the janitor
		if n := f.group.Stats.Retired.Load(); n != 2 {
			t.Errorf("%d retired, want 2", n)
		}
		for range 20 { // kept busy past its age
			time.Sleep(3 * time.Second)
			finish(f.begin(t, 1))
		}
		if n := f.group.Stats.Aged.Load(); n != 1 {
			t.Errorf("%d closed for their age, want 1", n)
		}
		f.expect(t, 1, 1, 6)
		time.Sleep(20 * time.Second)
		f.expect(t, 0, 0, 6)
		if f.group.armed.Load() {
			t.Error("the janitor comes although nothing is left")
		}
	})
}

func TestAgeHasJitter(t *testing.T) {
	f := newFixture(Config{MaxIdle: 100, MaxAge: 100 * time.Second})
	defer f.Drain()
	low, high := time.Hour, time.Duration(0)
	for range 100 {
		l, err := f.Get(t.Context(), 0, true, time.Now(), time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		age := time.Until(l.expires)
		low, high = min(low, age), max(high, age)
		l.release(false)
	}
	if low < 89*time.Second || high > 110*time.Second || high-low < 10*time.Second {
		t.Errorf("ages from %v to %v, want 90 to 110 s", low, high)
	}
}

func TestMaxConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newLimited(endpoint.NewLoad(0, 2), Config{MaxIdle: 10})
		b := newMember(a.group, a.load)
		open := a.begin(t, 2)
		_, err := b.Serve(t.Context(), request())
		if fault := stream.AsFault(err); fault.Kind != stream.ClusterFull || fault.Limit != "max_connections" || a.group.Stats.Refused.Load() != 1 {
			t.Fatalf("third connection: %v", err)
		}
		finish(open)
		a.expect(t, 2, 2, 2)
		finish(b.begin(t, 1)) // takes the place of an idle one
		a.expect(t, 1, 1, 2)
		b.expect(t, 1, 1, 1)
		if a.load.Connections() != 2 || a.group.Stats.Evicted.Load() != 1 {
			t.Errorf("%d connections, %d evicted", a.load.Connections(), a.group.Stats.Evicted.Load())
		}
		a.Drain()
		b.Drain()
		if a.load.Connections() != 0 {
			t.Errorf("%d places of connections lost", a.load.Connections())
		}
	})
}

// TestEndOfExchange: each way in which an exchange can end gives the
// connection back once, and tells the endpoint once.
func TestEndOfExchange(t *testing.T) {
	fault := &stream.Fault{Kind: stream.UpstreamReset, Retry: stream.RetryIdempotent}
	cases := []struct {
		name  string
		serve func(c *fakeConn) (*stream.Response, error)
		ends  bool // the transport calls Ended
		kept  bool
	}{
		{"body closed, reusable", func(c *fakeConn) (*stream.Response, error) { return c.respond(), nil }, true, true},
		{"body closed, not reusable", func(c *fakeConn) (*stream.Response, error) {
			return &stream.Response{Body: &body{Body: stream.NoBody, end: func() { c.release(false) }}}, nil
		}, true, false},
		{"over before the response is returned", func(c *fakeConn) (*stream.Response, error) {
			c.release(true)
			return &stream.Response{Body: stream.NoBody}, nil
		}, true, true},
		{"released twice", func(c *fakeConn) (*stream.Response, error) {
			return &stream.Response{Body: &body{Body: stream.NoBody, end: func() { c.release(true); c.release(false) }}}, nil
		}, true, true},
		{"failed and released", func(c *fakeConn) (*stream.Response, error) { c.release(false); return nil, fault }, false, false},
		{"failed and forgotten", func(c *fakeConn) (*stream.Response, error) { return nil, fault }, false, false},
		{"failed, connection good", func(c *fakeConn) (*stream.Response, error) { c.release(true); return nil, fault }, false, true},
		{"panic", func(c *fakeConn) (*stream.Response, error) { panic("defect") }, false, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(Config{MaxIdle: 10})
				finish(f.begin(t, 1))
				f.conns[0].serve = func(*stream.Request) (*stream.Response, error) { return c.serve(f.conns[0]) }
				f.load.Enter()
				f.ep.Began()
				func() {
					defer func() { _ = recover() }()
					if resp, err := f.Serve(t.Context(), request()); err == nil {
						resp.Body.Close()
					}
				}()
				if ended := f.ep.InFlight() == 0; ended != c.ends || (f.load.Requests() == 0) != c.ends {
					t.Errorf("%d in flight, %d places; Ended wanted: %v", f.ep.InFlight(), f.load.Requests(), c.ends)
				}
				kept := 0
				if c.kept {
					kept = 1
				}
				f.expect(t, kept, kept, 1)
				f.Drain()
			})
		})
	}
}

// TestLateCallersMissTheNextExchange: an old exchange cannot end a new one.
func TestLateCallersMissTheNextExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(Config{MaxIdle: 10})
		l, _ := f.Get(t.Context(), 0, false, time.Now(), time.Time{})
		old := l.serving()
		l.release(true)
		again, _ := f.Get(t.Context(), 0, false, time.Now(), time.Time{})
		if again != l || !again.reused {
			t.Fatal("not the same connection")
		}
		l.discard(old)
		f.expect(t, 1, 0, 1)
		l.release(true)
		l.release(true)
		f.expect(t, 1, 1, 1)
		f.Drain()
	})
}

func TestDialFails(t *testing.T) {
	f := newLimited(endpoint.NewLoad(0, 1), Config{MaxIdle: 10})
	f.err = &stream.Fault{Kind: stream.ConnectRefused, Retry: stream.RetryUnsent}
	for range 3 {
		req := request()
		closed := false
		req.Body = &body{Body: stream.NoBody, end: func() { closed = true }}
		_, err := f.Serve(t.Context(), req)
		if !errors.Is(err, f.err) || !closed {
			t.Fatalf("%v, body closed %v", err, closed)
		}
	}
	f.dial = func(context.Context, time.Time, func(bool)) (*fakeConn, net.Conn, error) { panic("defect") }
	func() {
		defer func() { _ = recover() }()
		f.Serve(t.Context(), request())
	}()
	if f.group.Stats.DialFailed.Load() != 4 || f.load.Connections() != 0 {
		t.Errorf("%d failures, %d places lost", f.group.Stats.DialFailed.Load(), f.load.Connections())
	}
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(Config{MaxIdle: 10})
		open := f.begin(t, 2)
		open[0].Body.Close()
		f.Drain()
		f.expect(t, 1, 0, 2)
		open[1].Body.Close()
		f.expect(t, 0, 0, 2)
		finish(f.begin(t, 1)) // a request that had picked the endpoint already
		f.expect(t, 0, 0, 3)
	})
}

func TestDrainUnderLoad(t *testing.T) {
	for range 50 {
		f := newFixture(Config{MaxIdle: 100})
		var mu sync.Mutex
		dial := f.dial
		f.dial = func(ctx context.Context, deadline time.Time, release func(bool)) (*fakeConn, net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			return dial(ctx, deadline, release)
		}
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				for range 50 {
					l, err := f.Get(t.Context(), uint64(i), false, time.Now(), time.Time{})
					if err != nil {
						t.Error(err)
						return
					}
					l.release(true)
				}
			})
		}
		f.Drain()
		wg.Wait()
		f.expect(t, 0, 0, len(f.conns))
	}
}

func TestManyAtOnce(t *testing.T) {
	f := newLimited(endpoint.NewLoad(0, 64), Config{MaxIdle: 4, Idle: time.Hour, MaxAge: time.Hour, Learn: true})
	var mu sync.Mutex
	f.dial = func(_ context.Context, _ time.Time, release func(bool)) (*fakeConn, net.Conn, error) {
		c := &fakeConn{release: release}
		n := 0
		c.serve = func(*stream.Request) (*stream.Response, error) {
			if n++; n%7 == 0 {
				c.release(false)
				return nil, &stream.Fault{Kind: stream.UpstreamClosed, Retry: stream.RetryUnsent}
			}
			return c.respond(), nil
		}
		mu.Lock()
		f.conns = append(f.conns, c)
		mu.Unlock()
		return c, c, nil
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 2000 {
				req := request()
				req.Conn = &stream.Conn{ID: uint64(i)}
				f.load.Enter()
				f.ep.Began()
				resp, err := f.Serve(t.Context(), req)
				if err != nil {
					f.ep.Aborted()
					f.load.Leave()
					continue
				}
				resp.Body.Close()
			}
		})
		wg.Go(func() {
			for range 200 {
				f.sweep(time.Now())
				f.group.evict()
			}
		})
	}
	wg.Wait()
	f.Drain()
	f.expect(t, 0, 0, len(f.conns))
	if f.ep.InFlight() != 0 || f.load.Requests() != 0 || f.load.Connections() != 0 {
		t.Errorf("%d in flight, %d places, %d connections", f.ep.InFlight(), f.load.Requests(), f.load.Connections())
	}
}

func TestAllocsReuse(t *testing.T) {
	f := newFixture(Config{MaxIdle: 4, Idle: time.Minute, Learn: true, MaxAge: time.Hour})
	finish(f.begin(t, 1))
	c := f.conns[0]
	resp := &stream.Response{Status: 200, Body: stream.NoBody}
	c.serve = func(*stream.Request) (*stream.Response, error) { c.release(true); return resp, nil }
	req, ctx := request(), t.Context()
	n := testing.AllocsPerRun(1000, func() {
		if _, err := f.Serve(ctx, req); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations for an exchange on a pooled connection, want 0", n)
	}
	f.Drain()
}

func BenchmarkServe(b *testing.B) {
	f := newFixture(Config{MaxIdle: 64, Idle: time.Minute, Learn: true, MaxAge: time.Hour})
	resp := &stream.Response{Status: 200, Body: stream.NoBody}
	f.dial = func(_ context.Context, _ time.Time, release func(bool)) (*fakeConn, net.Conn, error) {
		c := &fakeConn{}
		c.serve = func(*stream.Request) (*stream.Response, error) { release(true); return resp, nil }
		return c, c, nil
	}
	defer f.Drain()
	var id uint64
	var mu sync.Mutex
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		req, ctx := request(), context.Background()
		mu.Lock()
		id++
		req.Conn = &stream.Conn{ID: id}
		mu.Unlock()
		for pb.Next() {
			if _, err := f.Serve(ctx, req); err != nil {
				b.Fatal(err)
			}
		}
	})
}
