package pool

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

// sharedConn is a client half with places, whose exchanges a test writes.
type sharedConn struct {
	number  int
	places  int
	ended   func()
	serve   func(ctx context.Context, req *stream.Request) (*stream.Response, error)
	done    chan struct{}
	once    sync.Once
	mu      sync.Mutex
	taken   int
	served  int
	retired bool
}

func (c *sharedConn) Reserve() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.retired || c.over() || c.taken == c.places {
		return false
	}
	c.taken++
	return true
}

func (c *sharedConn) over() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// free gives a place back.
func (c *sharedConn) free() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.taken--; c.taken < 0 {
		panic("a place was given back twice")
	}
	c.closeIfLast()
}

func (c *sharedConn) closeIfLast() {
	if c.retired && c.taken == 0 {
		c.Close()
	}
}

func (c *sharedConn) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	c.mu.Lock()
	c.served++
	serve := c.serve
	c.mu.Unlock()
	var resp *stream.Response
	err := ctx.Err()
	if err == nil && serve != nil {
		resp, err = serve(ctx, req)
	}
	if err != nil {
		c.free()
		return nil, err
	}
	if resp == nil {
		resp = &stream.Response{Status: 200, Body: &body{Body: stream.NoBody, end: func() { c.free(); c.ended() }}}
	}
	return resp, nil
}

func (c *sharedConn) Retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retired = true
	c.closeIfLast()
}

func (c *sharedConn) Close() error          { c.once.Do(func() { close(c.done) }); return nil }
func (c *sharedConn) Done() <-chan struct{} { return c.done }

// muxFixture is a Mux with a dialler that makes sharedConns.
type muxFixture struct {
	*Mux
	load   *endpoint.Load
	places int
	takes  time.Duration // to dial
	err    error         // of the next dials
	dials  atomic.Int64
	mu     sync.Mutex
	conns  []*sharedConn
}

func newMuxFixture(cfg Config, places int) *muxFixture {
	return newMuxLimited(endpoint.NewLoad(0, 0), cfg, places)
}

// newMuxLimited is a fixture within the limits of load.
func newMuxLimited(load *endpoint.Load, cfg Config, places int) *muxFixture {
	cfg.Log = slog.New(slog.DiscardHandler)
	return newMuxMember(NewGroup(cfg), load, places)
}

func newMuxMember(g *Group, load *endpoint.Load, places int) *muxFixture {
	f := &muxFixture{load: load, places: places}
	ep := endpoint.New(endpoint.Spec{Network: "tcp", Address: "a", Weight: 1}, f.load, time.Now())
	f.Mux = NewMux(g, ep, f.open)
	ep.Transport = f
	return f
}

func (f *muxFixture) open(ctx context.Context, deadline time.Time, ended func()) (Shared, error) {
	f.dials.Add(1)
	var late <-chan time.Time
	if !deadline.IsZero() {
		late = time.After(time.Until(deadline))
	}
	select {
	case <-time.After(f.takes):
	case <-ctx.Done():
		return nil, &stream.Fault{Kind: stream.ClientGone, Retry: stream.RetryUnsent}
	case <-late:
		return nil, &stream.Fault{Kind: stream.ConnectTimeout, Retry: stream.RetryUnsent}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil, f.err
	}
	c := &sharedConn{number: len(f.conns), places: f.places, ended: ended, done: make(chan struct{})}
	f.conns = append(f.conns, c)
	return c, nil
}

func (f *muxFixture) conn(i int) *sharedConn {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.conns[i]
}

// attempt does what the cluster does around Serve.
func (f *muxFixture) attempt(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	f.load.Enter()
	f.endpoint.Began()
	resp, err := f.Serve(ctx, req)
	if err != nil {
		f.endpoint.Aborted()
		f.load.Leave()
	}
	return resp, err
}

func (f *muxFixture) begin(t *testing.T, n int) (responses []*stream.Response) {
	t.Helper()
	for range n {
		resp, err := f.attempt(t.Context(), request())
		if err != nil {
			t.Fatal(err)
		}
		responses = append(responses, resp)
	}
	return responses
}

func (f *muxFixture) expect(t *testing.T, open, idle, dialed int) {
	t.Helper()
	if o, i := f.Connections(); o != open || i != idle || f.connCount() != dialed {
		t.Fatalf("open %d, idle %d, dialed %d; want %d, %d, %d", o, i, f.connCount(), open, idle, dialed)
	}
}

// atRest checks that every count is back at zero.
func (f *muxFixture) atRest(t *testing.T) {
	t.Helper()
	if n, r := f.endpoint.InFlight(), f.load.Requests(); n != 0 || r != 0 {
		t.Errorf("%d in flight, %d requests in the load at the end", n, r)
	}
	if f.waiting.Load() != 0 || len(f.queue) != 0 || f.dialing {
		t.Errorf("%d waiting, %d in the queue, dialing %v at the end", f.waiting.Load(), len(f.queue), f.dialing)
	}
}

func TestMuxFillsTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newMuxFixture(Config{MaxIdle: 10, Idle: 10 * time.Second}, 3)
		open := f.begin(t, 7)
		f.expect(t, 3, 0, 3)
		finish(open)
		f.expect(t, 3, 3, 3)
		for range 20 { // little to do: the first connection does it
			finish(f.begin(t, 2))
			time.Sleep(time.Second)
		}
		f.expect(t, 1, 1, 3)
		if n := f.group.Stats.Retired.Load(); n != 2 {
			t.Errorf("%d idle connections closed, want 2", n)
		}
		time.Sleep(11 * time.Second)
		f.expect(t, 0, 0, 3)
		if f.group.armed.Load() || f.load.Connections() != 0 {
			t.Errorf("armed %v, %d connections in the load, with none left", f.group.armed.Load(), f.load.Connections())
		}
		f.atRest(t)
	})
}

// One connection is opened for a burst, and no more than it takes.
func TestMuxOneDialAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newMuxFixture(Config{MaxIdle: 10}, 10)
		f.takes = time.Second
		var group sync.WaitGroup
		var reused atomic.Int64
		for range 25 {
			group.Go(func() {
				req := request()
				resp, err := f.attempt(t.Context(), req)
				if err != nil {
					t.Error(err)
					return
				}
				if req.Exchange.Reused {
					reused.Add(1)
				}
				time.Sleep(time.Hour)
				resp.Body.Close()
			})
		}
		time.Sleep(1500 * time.Millisecond)
		f.expect(t, 1, 0, 1)
		time.Sleep(2 * time.Second)
		f.expect(t, 3, 0, 3)
		group.Wait()
		if reused.Load() != 22 || f.group.Stats.Waited.Load() != 24 {
			t.Errorf("%d on a pooled connection, %d waited; want 22, 24", reused.Load(), f.group.Stats.Waited.Load())
		}
		f.atRest(t)
		f.Drain()
		f.expect(t, 0, 0, 3)
	})
}

// A place that becomes free goes to the one who waits longest, while a
// connection is being opened.
func TestMuxFreedPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newMuxFixture(Config{MaxIdle: 10}, 2)
		open := f.begin(t, 2)
		f.takes = time.Minute
		got := make(chan int, 3)
		for i := range 3 {
			go func() {
				resp, err := f.attempt(t.Context(), request())
				if err != nil {
					t.Error(err)
					return
				}
				got <- i
				resp.Body.Close()
			}()
			synctest.Wait()
		}
		start := time.Now()
		open[0].Body.Close()
		if first, second := <-got, <-got; first != 1 || second != 2 || time.Since(start) != 0 {
			t.Errorf("requests %d and %d went on after %v, want 1 and 2 at once: request 0 is the one that dials", first, second, time.Since(start))
		}
		<-got
		open[1].Body.Close()
		f.atRest(t)
		f.Drain()
	})
}

func TestMuxWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newMuxFixture(Config{MaxIdle: 10}, 1)
		f.takes = time.Minute
		errs := make(chan error, 3)
		attempt := func(ctx context.Context, limit time.Duration) {
			req := request()
			if limit > 0 {
				req.Deadline = time.Now().Add(limit)
			}
			resp, err := f.attempt(ctx, req)
			if err == nil {
				resp.Body.Close()
			}
			errs <- err
		}
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		go attempt(t.Context(), 30*time.Second) // opens the connection, but its time is up first
		synctest.Wait()
		go attempt(t.Context(), time.Second)
		synctest.Wait()
		go attempt(ctx, 0)
		synctest.Wait()
		if f := stream.AsFault(<-errs); f.Kind != stream.ConnectTimeout || f.Retry != stream.RetryUnsent || time.Since(start) != time.Second {
			t.Errorf("past its deadline: %v after %v", f, time.Since(start))
		}
		cancel()
		if f := stream.AsFault(<-errs); f.Kind != stream.ClientGone {
			t.Errorf("canceled: %v", f)
		}
		go attempt(t.Context(), 0) // goes on when the first one's time is up
		if f := stream.AsFault(<-errs); f.Kind != stream.ConnectTimeout || time.Since(start) != 30*time.Second {
			t.Errorf("the one that dialled: %v after %v", f, time.Since(start))
		}
		if err := <-errs; err != nil || time.Since(start) != 90*time.Second {
			t.Errorf("the one that took over: %v after %v", err, time.Since(start))
		}
		f.atRest(t)
		f.Drain()
	})
}

// A failure to connect is that of all who wait for the connection.
func TestMuxDialFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newMuxFixture(Config{MaxIdle: 10}, 1)
		f.takes, f.err = time.Second, &stream.Fault{Kind: stream.ConnectRefused, Retry: stream.RetryUnsent}
		var group sync.WaitGroup
		for range 10 {
			group.Go(func() {
				if _, err := f.attempt(t.Context(), request()); stream.AsFault(err).Kind != stream.ConnectRefused {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if f.dials.Load() != 1 || f.group.Stats.DialFailed.Load() != 1 || f.load.Connections() != 0 {
			t.Errorf("%d dials, %d failed, %d connections", f.dials.Load(), f.group.Stats.DialFailed.Load(), f.load.Connections())
		}
		f.err, f.places = nil, 0
		if _, err := f.attempt(t.Context(), request()); stream.AsFault(err).Kind != stream.ConnectFailed || f.load.Connections() != 0 || !f.conns[0].over() || f.dials.Load() != 3 {
			t.Errorf("a connection without a place: %v, %d left", err, f.load.Connections())
		}
		f.atRest(t)
	})
}

func TestMuxMaxConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newMuxLimited(endpoint.NewLoad(0, 2), Config{MaxIdle: 10}, 1)
		b := newMuxMember(a.group, a.load, 1)
		open := a.begin(t, 2)
		_, err := b.attempt(t.Context(), request())
		if f := stream.AsFault(err); f.Kind != stream.ClusterFull || f.Limit != "max_connections" {
			t.Fatalf("third connection: %v", err)
		}
		finish(open)
		finish(b.begin(t, 1)) // takes the place of an idle one
		a.expect(t, 1, 1, 2)
		if !a.conns[1].over() || a.group.Stats.Evicted.Load() != 1 {
			t.Error("the last connection of the list was to go")
		}
		a.conns[0].Close() // by the endpoint; the sweep has not seen it
		finish(a.begin(t, 1))
		a.expect(t, 1, 1, 3)
		a.Drain()
		b.Drain()
		if a.load.Connections() != 0 {
			t.Errorf("%d connections in the load", a.load.Connections())
		}
	})
}

func TestMuxAgeAndDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newMuxFixture(Config{MaxIdle: 10, MaxAge: time.Minute}, 10)
		old := f.begin(t, 1)
		time.Sleep(67 * time.Second)
		finish(f.begin(t, 1)) // needs a new connection: the old one is too old
		f.expect(t, 2, 1, 2)
		finish(old)
		time.Sleep(time.Second)
		f.expect(t, 1, 1, 2)
		if f.group.Stats.Aged.Load() != 1 || f.group.Stats.Broken.Load()+f.group.Stats.Closed.Load() != 0 {
			t.Errorf("%d aged", f.group.Stats.Aged.Load())
		}
		last := f.begin(t, 1)
		f.Drain()
		f.expect(t, 1, 0, 2)
		finish(f.begin(t, 1)) // still served, not kept
		finish(last)
		time.Sleep(time.Second)
		f.expect(t, 0, 0, 3)
		if len(f.group.members()) != 0 || f.group.armed.Load() || f.load.Connections() != 0 {
			t.Errorf("%d members, armed %v, %d connections", len(f.group.members()), f.group.armed.Load(), f.load.Connections())
		}
		f.atRest(t)
	})
}

func TestMuxKeepsNone(t *testing.T) {
	f := newMuxFixture(Config{}, 10)
	finish(f.begin(t, 1))
	f.expect(t, 0, 0, 1)
	synctest.Test(t, func(t *testing.T) {
		f := newMuxFixture(Config{MaxIdle: 1}, 1)
		finish(f.begin(t, 3))
		time.Sleep(time.Second)
		f.expect(t, 1, 1, 3)
		if f.group.Stats.Dropped.Load() != 2 {
			t.Errorf("%d dropped, want 2", f.group.Stats.Dropped.Load())
		}
		f.Drain()
	})
}

// What a pooled connection does not take is repeated on another one, which no
// other request was turned away from.
func TestMuxFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newMuxFixture(Config{MaxIdle: 10}, 10)
		finish(f.begin(t, 1))
		refuse := func(context.Context, *stream.Request) (*stream.Response, error) {
			return nil, &stream.Fault{Kind: stream.UpstreamReset, Retry: stream.RetryUnsent}
		}
		f.conns[0].serve = refuse
		time.Sleep(time.Second)
		var group sync.WaitGroup
		for range 5 {
			group.Go(func() {
				req := request()
				req.Exchange.UpstreamStart = time.Now()
				time.Sleep(time.Millisecond)
				_, err := f.attempt(t.Context(), req)
				if f := stream.AsFault(err); f.Retry != stream.RetryUnsent || !req.Exchange.Reused {
					t.Errorf("%v, reused %v", f, req.Exchange.Reused)
				}
				req.Fresh = true
				resp, err := f.attempt(t.Context(), req)
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
			})
		}
		group.Wait()
		f.expect(t, 2, 2, 2)
		if n := f.group.Stats.Stale.Load(); n != 5 {
			t.Errorf("%d stale, want 5", n)
		}
		f.atRest(t)
		f.Drain()
	})
}

func TestMuxPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newMuxFixture(Config{MaxIdle: 10}, 10)
		finish(f.begin(t, 1))
		f.conns[0].serve = func(context.Context, *stream.Request) (*stream.Response, error) {
			f.conns[0].free()
			panic("defect")
		}
		func() {
			defer func() { recover() }()
			f.Serve(t.Context(), request())
			t.Error("no panic")
		}()
		f.expect(t, 1, 1, 1)
		f.Drain()
	})
}

// Many requests come and go while connections die and places change: nothing
// is lost and every count is right at the end.
func TestMuxStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newMuxFixture(Config{MaxIdle: 2, Idle: 5 * time.Second, MaxAge: 10 * time.Second}, 4)
		f.takes = 3 * time.Millisecond
		var group sync.WaitGroup
		var failed atomic.Int64
		for i := range 100 {
			group.Go(func() {
				for n := range 50 {
					ctx, cancel := t.Context(), context.CancelFunc(func() {})
					if i%10 == 0 {
						ctx, cancel = context.WithTimeout(ctx, time.Duration(n)*time.Millisecond)
					}
					resp, err := f.attempt(ctx, request())
					if err == nil {
						time.Sleep(time.Duration((i*7+n*13)%29) * time.Millisecond)
						resp.Body.Close()
					} else if ctx.Err() == nil {
						failed.Add(1)
					}
					cancel()
					if n%10 == 9 && i%20 == 0 {
						f.conn(f.connCount() - 1).Close()
					}
				}
			})
		}
		group.Wait()
		time.Sleep(20 * time.Second)
		f.expect(t, 0, 0, len(f.conns))
		if failed.Load() != 0 || f.load.Connections() != 0 {
			t.Errorf("%d failed, %d connections in the load", failed.Load(), f.load.Connections())
		}
		f.atRest(t)
	})
}

func (f *muxFixture) connCount() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.conns)
}

func TestAllocsMux(t *testing.T) {
	f := newMuxFixture(Config{MaxIdle: 1}, 10)
	finish(f.begin(t, 1))
	defer f.Drain()
	resp := &stream.Response{Status: 200, Body: stream.NoBody}
	c := f.conns[0]
	c.serve = func(context.Context, *stream.Request) (*stream.Response, error) {
		c.free()
		c.ended()
		return resp, nil
	}
	req, ctx := request(), t.Context()
	if n := testing.AllocsPerRun(100, func() { _, _ = f.Serve(ctx, req) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkMux(b *testing.B) {
	for _, full := range []int{0, 20} {
		b.Run(fmt.Sprintf("Full%d", full), func(b *testing.B) {
			f := newMuxFixture(Config{MaxIdle: 1}, 1)
			ctx := context.Background()
			for range full {
				_, _ = f.Serve(ctx, request())
			}
			f.places = 1000
			_, _ = f.Serve(ctx, request())
			c := f.conns[full]
			resp := &stream.Response{Status: 200, Body: stream.NoBody}
			c.serve = func(context.Context, *stream.Request) (*stream.Response, error) {
				c.free()
				c.ended()
				return resp, nil
			}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				req := request()
				for pb.Next() {
					_, _ = f.Serve(ctx, req)
				}
			})
			f.Drain()
		})
	}
}
