package pool

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

// fakeConn is a client half whose exchanges a test writes.
type fakeConn struct {
	net.Conn // never called
	number   int
	release  func(bool)
	serve    func(req *stream.Request) (*stream.Response, error)
	closed   atomic.Bool
	noisy    atomic.Bool // closed by the endpoint, or something to read
	explodes atomic.Bool // when it is looked at
}

func (c *fakeConn) Close() error {
	if !c.closed.CompareAndSwap(false, true) {
		panic("closed twice")
	}
	return nil
}

// quiet stands for peek.Quiet.
func quiet(nc net.Conn) bool {
	c := nc.(*fakeConn)
	if c.explodes.Load() {
		panic("defect")
	}
	return !c.noisy.Load()
}

func (c *fakeConn) Serve(_ context.Context, req *stream.Request) (*stream.Response, error) {
	return c.serve(req)
}

// fixture is a pool with a dialler that makes fakeConns.
type fixture struct {
	*Transport[*fakeConn]
	group *Group
	ep    *endpoint.Endpoint
	load  *endpoint.Load
	conns []*fakeConn
	err   error // of the next dials
}

func newFixture(cfg Config) *fixture {
	if cfg.Load == nil {
		cfg.Load = endpoint.NewLoad(0, 0)
	}
	cfg.Log = slog.New(slog.DiscardHandler)
	return newMember(NewGroup(cfg))
}

func newMember(g *Group) *fixture {
	f := &fixture{group: g, load: g.cfg.Load}
	f.ep = endpoint.New(endpoint.Spec{Network: "tcp", Address: "a", Weight: 1}, f.load, time.Now())
	f.Transport = NewTransport(g, f.ep, func(_ context.Context, _ time.Time, release func(bool)) (*fakeConn, net.Conn, error) {
		if f.err != nil {
			return nil, nil, f.err
		}
		c := &fakeConn{number: len(f.conns), release: release}
		c.serve = func(*stream.Request) (*stream.Response, error) { return c.respond(), nil }
		f.conns = append(f.conns, c)
		return c, c, nil
	})
	f.quiet = quiet
	f.ep.Transport = f
	return f
}

// respond is a response whose exchange ends, well, when its body is closed.
func (c *fakeConn) respond() *stream.Response {
	return &stream.Response{Status: 200, Body: &body{Body: stream.NoBody, end: func() { c.release(true) }}}
}

type body struct {
	stream.Body
	end  func()
	once sync.Once
}

func (b *body) Close() error { b.once.Do(b.end); return nil }

func request() *stream.Request {
	return &stream.Request{Method: "GET", Body: stream.NoBody, Conn: &stream.Conn{}}
}

// begin makes n requests and leaves their responses open.
func (f *fixture) begin(t *testing.T, n int) (responses []*stream.Response) {
	t.Helper()
	for range n {
		f.load.Enter()
		f.ep.Began()
		resp, err := f.Serve(t.Context(), request())
		if err != nil {
			t.Fatal(err)
		}
		responses = append(responses, resp)
	}
	return responses
}

func finish(responses []*stream.Response) {
	for _, r := range responses {
		r.Body.Close()
	}
}

// expect compares what is open, idle and closed.
func (f *fixture) expect(t *testing.T, open, idle, dialed int) {
	t.Helper()
	o, i := f.Connections()
	if o != open || i != idle || len(f.conns) != dialed || int(f.load.Connections()) < open {
		t.Fatalf("open %d, idle %d, dialed %d, in the load %d; want %d, %d, %d", o, i, len(f.conns), f.load.Connections(), open, idle, dialed)
	}
	closed := 0
	for _, c := range f.conns {
		if c.closed.Load() {
			closed++
		}
	}
	if closed != dialed-open {
		t.Fatalf("%d of %d connections closed, %d open", closed, dialed, open)
	}
}

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
		l, err := f.Get(t.Context(), 0, true, time.Time{})
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
		a := newFixture(Config{MaxIdle: 10, Load: endpoint.NewLoad(0, 2)})
		b := newMember(a.group)
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
		l, _ := f.Get(t.Context(), 0, false, time.Time{})
		old := l.serving()
		l.release(true)
		again, _ := f.Get(t.Context(), 0, false, time.Time{})
		if again != l || !again.Reused() {
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
	f := newFixture(Config{MaxIdle: 10, Load: endpoint.NewLoad(0, 1)})
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
					l, err := f.Get(t.Context(), uint64(i), false, time.Time{})
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

func TestManyAtOnce(t *testing.T) {
	f := newFixture(Config{MaxIdle: 4, Idle: time.Hour, MaxAge: time.Hour, Learn: true, Load: endpoint.NewLoad(0, 64)})
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

// rawConn reads and writes lines on a real socket.
type rawConn struct {
	net.Conn
	release func(bool)
}

func (c *rawConn) Serve(context.Context, *stream.Request) (*stream.Response, error) {
	buf := make([]byte, 3)
	if _, err := io.WriteString(c, "hi\n"); err == nil {
		_, err = io.ReadFull(c, buf)
		if err == nil && strings.HasPrefix(string(buf), "ok") {
			c.release(true)
			return &stream.Response{Status: 200, Body: stream.NoBody}, nil
		}
	}
	return nil, &stream.Fault{Kind: stream.UpstreamClosed, Retry: stream.RetryUnsent}
}

// TestRealSocket: a closed connection, and one with unasked bytes, are not
// used again.
func TestRealSocket(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 4)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	load := endpoint.NewLoad(0, 0)
	ep := endpoint.New(endpoint.Spec{Network: "tcp", Address: l.Addr().String(), Weight: 1}, load, time.Now())
	pool := NewTransport(NewGroup(Config{MaxIdle: 4, Load: load}), ep, func(_ context.Context, _ time.Time, release func(bool)) (*rawConn, net.Conn, error) {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return nil, nil, &stream.Fault{Kind: stream.ConnectFailed, Cause: err}
		}
		return &rawConn{nc, release}, nc, nil
	})
	defer pool.Drain()
	exchange := func() (*stream.Request, net.Conn) {
		t.Helper()
		req, done := request(), make(chan net.Conn, 1)
		ep.Began()
		load.Enter()
		go func() {
			c := <-accepted
			buf := make([]byte, 3)
			if _, err := io.ReadFull(c, buf); err == nil {
				io.WriteString(c, "ok\n")
			}
			done <- c
		}()
		if _, err := pool.Serve(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		return req, <-done
	}
	for name, spoil := range map[string]func(net.Conn){
		"closed":       func(c net.Conn) { c.Close() },
		"unasked data": func(c net.Conn) { io.WriteString(c, "HTTP/1.1 408 Request Timeout\r\n\r\n") },
	} {
		if _, far := exchange(); far != nil {
			spoil(far)
			defer far.Close()
		}
		lease := pool.pop(&pool.shards[0])
		if lease == nil {
			t.Fatal("nothing pooled")
		}
		lease.nc.SetReadDeadline(time.Now().Add(10 * time.Second))
		waitReadable(t, lease.nc)
		lease.nc.SetReadDeadline(time.Time{})
		lease.pool.put(lease, time.Now().Add(-time.Second)) // idle for longer than peekAfter
		req, far := exchange()
		if req.Exchange.Reused {
			t.Errorf("%s: used again", name)
		}
		far.Close()
		pool.closeIdle()
	}
}

// waitReadable waits until there is something to read, the end included, and
// leaves it there.
func waitReadable(t *testing.T, nc net.Conn) {
	t.Helper()
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Read(func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return err != syscall.EAGAIN
	})
	if err != nil {
		t.Fatal(err)
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
