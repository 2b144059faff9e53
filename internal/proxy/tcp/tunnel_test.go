package tcp

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/weirproxy/weir/stream"
)

// connect makes the tunnel of a CONNECT to a cluster and its far end.
func connect(t *testing.T, w wiring, ctx context.Context) (r *rig, d stream.Duplex, upstream net.Conn, req *stream.Request) {
	t.Helper()
	r = newRig(t, w)
	req = &stream.Request{Method: "CONNECT", Proto: stream.HTTP2, Body: stream.NoBody, Conn: &stream.Conn{}}
	r.load.Enter()
	r.tr.cfg.Endpoint.Began()
	resp, err := r.tr.Serve(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.Status != 200 || resp.Length != -1 {
		t.Errorf("status %d, length %d", resp.Status, resp.Length)
	}
	upstream = r.accept()
	if w.upstream != nil {
		upstream = w.upstream(upstream)
	}
	return r, resp.Body.(stream.Duplex), upstream, req
}

func TestTunnel(t *testing.T) {
	for _, w := range []wiring{wirings[0], wirings[1], wirings[4]} {
		t.Run(w.name, func(t *testing.T) {
			r, d, upstream, req := connect(t, w, context.Background())
			go io.WriteString(d, "ping")
			want(t, upstream, "ping")
			send(t, upstream, "pong")
			a := d.(stream.Awaiter)
			for range 2 { // a second one changes nothing
				if err := a.Await(); err != nil {
					t.Fatal(err)
				}
			}
			p := make([]byte, 100)
			if n, err := d.Read(p); err != nil || string(p[:n]) != "pong" {
				t.Errorf("got %q, %v", p[:n], err)
			}
			if socket := d.(stream.Socketed).Socket(); (socket == nil) != (w.dialed != nil) {
				t.Errorf("socket %v", socket)
			}
			if err := d.CloseWrite(); err != nil {
				t.Error(err)
			}
			wantEOF(t, upstream)
			send(t, upstream, "rest")
			upstream.Close()
			if rest, err := io.ReadAll(d); err != nil || string(rest) != "rest" {
				t.Errorf("got %q, %v", rest, err)
			}
			if open, _ := r.tr.Connections(); open != 1 || !req.Exchange.UpstreamEnd.IsZero() {
				t.Errorf("%d open", open)
			}
			for range 2 {
				d.Close()
			}
			if req.Exchange.UpstreamEnd.IsZero() {
				t.Error("the upstream has no end")
			}
		})
	}
}

// Who did not say that the end is there cuts: the upstream sees that.
func TestTunnelCut(t *testing.T) {
	_, d, upstream, _ := connect(t, wiring{}, context.Background())
	blocked := make(chan error, 1)
	go func() { _, err := d.Read(make([]byte, 1)); blocked <- err }()
	d.Close()
	wantReset(t, upstream)
	if f := stream.AsFault(<-blocked); f.Kind != stream.UpstreamClosed {
		t.Errorf("the read ended with %v", f)
	}
}

// The end of the context ends a wait, also one of TLS.
func TestTunnelContext(t *testing.T) {
	for _, w := range []wiring{wirings[0], wirings[4]} {
		ctx, cancel := context.WithCancel(context.Background())
		_, d, upstream, _ := connect(t, w, ctx)
		go io.WriteString(d, "ping")
		want(t, upstream, "ping")
		blocked := make(chan error, 1)
		go func() { blocked <- d.(stream.Awaiter).Await() }()
		cancel()
		if f := stream.AsFault(<-blocked); f.Kind != stream.ClientGone {
			t.Errorf("%s: the wait ended with %v", w.name, f)
		}
		d.Close()
	}
}

// A tunnel that is closed leaves nothing with its context, which may live on.
func TestTunnelLetsContextGo(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	near, far := net.Pipe()
	defer far.Close()
	overs := 0
	resp := open(ctx, near, func() { overs++ })
	d := resp.Body.(*tunnel)
	d.Close()
	if d.stop() {
		t.Error("the watch of the context goes on")
	}
	d.Close()
	if cancel(); overs != 1 {
		t.Errorf("over %d times", overs)
	}
}

func TestTunnelReset(t *testing.T) {
	_, d, upstream, _ := connect(t, wiring{}, context.Background())
	reset(upstream)
	_, err := d.Read(make([]byte, 1))
	if f := stream.AsFault(err); f.Kind != stream.UpstreamReset || f.Retry != stream.RetryNever {
		t.Errorf("got %v", err)
	}
}

// A cut that comes while a deadline of the reader's own is set is not undone.
func TestQuietReaderCut(t *testing.T) {
	fake := &deadlines{}
	q := quietReader{nc: fake, held: true}
	fake.during = func() { q.cut.Store(true); fake.SetDeadline(longAgo) }
	if n, err := q.Read(make([]byte, 10)); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if !fake.read.Equal(longAgo) {
		t.Errorf("the deadline is %v", fake.read)
	}
}

type deadlines struct {
	net.Conn
	read   time.Time
	during func()
}

func (d *deadlines) Read([]byte) (int, error)          { d.during(); return 0, os.ErrDeadlineExceeded }
func (d *deadlines) SetDeadline(t time.Time) error     { d.read = t; return nil }
func (d *deadlines) SetReadDeadline(t time.Time) error { d.read = t; return nil }

func TestForward(t *testing.T) {
	refused := &stream.Fault{Kind: stream.ConnectRefused}
	for _, c := range []struct {
		name   string
		method string
		target stream.Target
		dialed string
		kind   stream.Kind
		limit  string
	}{
		{"a name", "CONNECT", stream.Target{Host: "a.example", Port: "443"}, "a.example 443", 0, ""},
		{"IPv6", "CONNECT", stream.Target{Host: "[2001:db8::1]", Port: "8443"}, "2001:db8::1 8443", 0, ""},
		{"a port that is not allowed", "CONNECT", stream.Target{Host: "a.example", Port: "25"}, "", stream.Forbidden, "connect.ports"},
		{"a port in another spelling", "CONNECT", stream.Target{Host: "a.example", Port: "65979"}, "", stream.Forbidden, "connect.ports"},
		{"no port", "CONNECT", stream.Target{Host: "a.example"}, "", stream.Forbidden, "connect.ports"},
		{"no CONNECT", "GET", stream.Target{Host: "a.example", Port: "443"}, "", stream.MethodUnsupported, ""},
		{"a host that refuses", "CONNECT", stream.Target{Host: "refuses", Port: "443"}, "refuses 443", stream.ConnectRefused, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			near, far := net.Pipe()
			defer far.Close()
			dialed := ""
			var until time.Time
			s := NewForward(ForwardConfig{Ports: []int{443, 8443}, Timeout: time.Minute,
				Dial: func(_ context.Context, host string, port uint16, deadline time.Time) (net.Conn, error) {
					dialed, until = host+" "+itoa(port), deadline
					if host == "refuses" {
						return nil, refused
					}
					return near, nil
				}})
			req := &stream.Request{Method: c.method, Target: c.target, Body: stream.NoBody}
			resp, err := s.Serve(context.Background(), req)
			if dialed != c.dialed {
				t.Errorf("dialed %q", dialed)
			}
			if c.kind != 0 {
				var f *stream.Fault
				if !errors.As(err, &f) || f.Kind != c.kind || f.Limit != c.limit || s.Stats.Open.Load() != 0 {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || resp.Status != 200 || time.Until(until) > time.Minute || s.Stats.Open.Load() != 1 ||
				req.Exchange.Endpoint != c.target.Authority() || req.Exchange.Attempts != 1 || req.Exchange.UpstreamHead.IsZero() {
				t.Errorf("%v, %+v", err, req.Exchange)
			}
			resp.Body.Close()
			if s.Stats.Open.Load() != 0 || s.Stats.Opened.Load() != 1 || req.Exchange.UpstreamEnd.IsZero() {
				t.Errorf("%d open, %d opened", s.Stats.Open.Load(), s.Stats.Opened.Load())
			}
		})
	}
}

func itoa(port uint16) string {
	if port == 443 {
		return "443"
	}
	return "8443"
}
