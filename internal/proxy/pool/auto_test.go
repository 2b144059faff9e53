package pool

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

// autoFixture is an Auto whose endpoint speaks what a test says.
type autoFixture struct {
	*Auto[*fakeConn]
	group  *Group
	load   *endpoint.Load
	shared atomic.Bool
	flips  bool // another protocol with each connection
	takes  time.Duration
	err    error
	dials  atomic.Int64
	open   atomic.Int64 // sockets
}

// socket counts its end.
type socket struct {
	net.Conn
	f    *autoFixture
	once sync.Once
}

func (s *socket) Close() error { s.once.Do(func() { s.f.open.Add(-1) }); return nil }

// carried closes the socket with the connection.
type carried struct {
	*sharedConn
	nc net.Conn
}

func (c *carried) Close() error { c.nc.Close(); return c.sharedConn.Close() }

func newAutoFixture() *autoFixture {
	load := endpoint.NewLoad(0, 0)
	f := &autoFixture{load: load, group: NewGroup(Config{MaxIdle: 100, Log: slog.New(slog.DiscardHandler)})}
	ep := endpoint.New(endpoint.Spec{Network: "tcp", Address: "a", Weight: 1}, load, time.Now())
	f.Auto = NewAuto(f.group, ep, AutoDial[*fakeConn]{
		Connect: func(context.Context, time.Time) (net.Conn, bool, error) {
			n := f.dials.Add(1)
			time.Sleep(f.takes)
			if f.err != nil {
				return nil, false, f.err
			}
			f.open.Add(1)
			return &socket{f: f}, f.shared.Load() != (f.flips && n%2 == 0), nil
		},
		Single: func(nc net.Conn, release func(bool)) *fakeConn {
			c := &fakeConn{Conn: nc, release: release}
			c.serve = func(*stream.Request) (*stream.Response, error) {
				resp := c.respond()
				resp.Status = 201
				return resp, nil
			}
			return c
		},
		Shared: func(_ context.Context, _ time.Time, nc net.Conn, ended func()) (Shared, error) {
			return &carried{&sharedConn{places: 10, ended: ended, done: make(chan struct{})}, nc}, nil
		},
	})
	f.single.quiet = func(net.Conn) bool { return true }
	ep.Transport = f
	return f
}

// burst makes n requests at once and counts the answers by protocol.
func (f *autoFixture) burst(t *testing.T, n int) (shared, single int64) {
	t.Helper()
	var group sync.WaitGroup
	var counts [2]atomic.Int64
	for range n {
		group.Go(func() {
			resp, err := f.Serve(t.Context(), request())
			if err != nil {
				t.Error(err)
				return
			}
			counts[resp.Status-200].Add(1)
			time.Sleep(time.Second)
			resp.Body.Close()
		})
	}
	group.Wait()
	return counts[0].Load(), counts[1].Load()
}

func TestAutoShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newAutoFixture()
		f.shared.Store(true)
		f.takes = time.Millisecond
		if shared, _ := f.burst(t, 8); shared != 8 || f.dials.Load() != 1 {
			t.Errorf("%d of 8 on %d shared connections, want all on one", shared, f.dials.Load())
		}
		f.Drain()
	})
}

func TestAutoSingle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newAutoFixture()
		f.takes = time.Millisecond
		if _, single := f.burst(t, 8); single != 8 || f.dials.Load() != 8 || f.open.Load() != 8 {
			t.Errorf("%d of 8, %d dials, %d sockets; want a connection for each and none in vain", single, f.dials.Load(), f.open.Load())
		}
		if open, idle := f.Connections(); open != 8 || idle != 8 || f.group.Stats.DialFailed.Load() != 0 {
			t.Errorf("%d open, %d idle, %d failed dials", open, idle, f.group.Stats.DialFailed.Load())
		}
		f.Drain()
	})
}

func TestAutoSwitches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newAutoFixture()
		f.burst(t, 1)
		f.shared.Store(true)
		if shared, single := f.burst(t, 5); single != 1 || shared != 4 {
			t.Errorf("%d shared, %d on the pooled connection of before; want 4, 1", shared, single)
		}
		f.shared.Store(false)
		if shared, _ := f.burst(t, 12); shared != 10 || f.group.Stats.Switched.Load() != 2 {
			t.Errorf("%d shared, want the 10 that fit; %d switches, want 2", shared, f.group.Stats.Switched.Load())
		}
		if open, _ := f.Connections(); int64(open) != f.open.Load() || f.load.Connections() != f.open.Load() {
			t.Errorf("%d open, %d sockets, %d in the load", open, f.open.Load(), f.load.Connections())
		}
		f.Drain()
	})
}

// An endpoint behind which several servers stand may never make up its mind.
func TestAutoFlips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newAutoFixture()
		f.flips, f.takes = true, time.Millisecond
		for range 20 {
			f.burst(t, 3)
		}
		if open, _ := f.Connections(); int64(open) != f.open.Load() {
			t.Errorf("%d open, %d sockets", open, f.open.Load())
		}
		f.Drain()
	})
}

func TestAutoFails(t *testing.T) {
	f := newAutoFixture()
	f.err = &stream.Fault{Kind: stream.ConnectRefused, Retry: stream.RetryUnsent}
	closed := false
	req := request()
	req.Body = &body{Body: stream.NoBody, end: func() { closed = true }}
	if _, err := f.Serve(t.Context(), req); !errors.Is(err, f.err) || !closed {
		t.Errorf("%v, body closed %v", err, closed)
	}
}
