package pool

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
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

func newFixture(cfg Config) *fixture { return newLimited(endpoint.NewLoad(0, 0), cfg) }

// newLimited is a fixture within the limits of load.
func newLimited(load *endpoint.Load, cfg Config) *fixture {
	cfg.Log = slog.New(slog.DiscardHandler)
	return newMember(NewGroup(cfg), load)
}

func newMember(g *Group, load *endpoint.Load) *fixture {
	f := &fixture{group: g, load: load}
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
