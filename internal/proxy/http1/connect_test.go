package http1

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/internal/tunneltest"
	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

const connect = "CONNECT db.example.com:5432 HTTP/1.1\r\nHost: db.example.com:5432\r\n"

// A CONNECT goes through both halves and becomes a tunnel on each side. What
// the client sends ahead of the answer goes first, once there is one.
func TestConnect(t *testing.T) {
	o := newOrigin(t)
	pool := newPool(t, o)
	e := newEdge(t, pool)
	p := e.dial()
	p.send(connect + "Proxy-Authorization: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nearly")
	up := o.accept()
	up.want("CONNECT db.example.com:5432 HTTP/1.1\r\nHost: db.example.com:5432\r\nProxy-Authorization: x\r\n\r\n")
	// RFC 9110 section 9.3.6: these two say nothing here.
	up.send("HTTP/1.1 201 Fine\r\nContent-Length: 3\r\nX-A: b\r\nDate: " + when + "\r\n\r\nfirst")
	p.want("HTTP/1.1 201 Created\r\nX-A: b\r\nDate: " + when + "\r\n\r\nfirst")
	up.want("early")
	closeWrite(p.nc)
	if rest := up.rest(); rest != "" {
		t.Errorf("the upstream got %q", rest)
	}
	up.nc.Close()
	if rest := p.rest(); rest != "" {
		t.Errorf("the client got %q", rest)
	}
	if ex := e.exchange(0); ex.Status != 201 || ex.BytesIn != 5 || ex.BytesOut != 5 || ex.Fault != nil {
		t.Errorf("status %d, %d bytes in, %d out, fault %v", ex.Status, ex.BytesIn, ex.BytesOut, ex.Fault)
	}
	pool.wantFreed(false)
}

func TestConnectEstablished(t *testing.T) {
	o := newOrigin(t)
	e := newEdge(t, newPool(t, o))
	p := e.dial()
	p.send("CONNECT [2001:DB8::1]:22 HTTP/1.0\r\n\r\n")
	up := o.accept()
	up.want("CONNECT [2001:db8::1]:22 HTTP/1.1\r\nHost: [2001:db8::1]:22\r\n\r\n")
	up.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nDate: " + when + "\r\n\r\n")
	p.want("HTTP/1.1 200 Connection established\r\nDate: " + when + "\r\n\r\n")
	up.send("3\r\n")
	p.want("3\r\n")
}

// The upstream says no: its answer is a normal one. Neither connection is used
// again, since bytes of the tunnel may be on their way (CVE-2025-64763,
// CVE-2026-71324).
func TestConnectRefused(t *testing.T) {
	o := newOrigin(t)
	pool := newPool(t, o)
	e := newEdge(t, pool)
	p := e.dial()
	p.send(connect + "\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
	up := o.accept()
	up.head()
	up.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nnoHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
	first, fields := p.head()
	if first != "HTTP/1.1 403 Forbidden" || !strings.Contains(strings.Join(fields, "\n"), "Connection: close") {
		t.Errorf("got %q %q", first, fields)
	}
	p.want("no")
	pool.wantFreed(false)
	closeWrite(p.nc)
	if rest := p.rest(); rest != "" {
		t.Errorf("%q behind the answer", rest)
	}
}

// A 2xx that no tunnel stands behind would leave the client talking to nobody.
func TestConnectWithoutATunnel(t *testing.T) {
	for _, status := range []int{200, 204, 299} {
		e := newEdge(t, stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
			if req.Target.Path != "" || req.Target.Host != "db.example.com" || req.Target.Port != "5432" || req.Upgrade != "" {
				t.Errorf("the request is for %+v, upgrade %q", req.Target, req.Upgrade)
			}
			return text(status, ""), nil
		}))
		p := e.dial()
		p.send(connect + "\r\n")
		if first, _ := p.head(); !strings.HasPrefix(first, "HTTP/1.1 500 ") {
			t.Errorf("%d became %q", status, first)
		}
	}
}

// A tunnel for a request that asked for none is a defect of a stage.
func TestTunnelNobodyAskedFor(t *testing.T) {
	o := newOrigin(t)
	pool := newPool(t, o)
	e := newEdge(t, stream.ServiceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
		req.Method, req.Upgrade = "GET", "tls/1.2"
		return pool.Serve(ctx, req)
	}))
	p := e.dial()
	p.send(get + "\r\n")
	up := o.accept()
	up.head()
	up.send("HTTP/1.1 101 \r\nConnection: upgrade\r\nUpgrade: tls/1.2\r\n\r\n")
	if first, _ := p.head(); !strings.HasPrefix(first, "HTTP/1.1 500 ") {
		t.Errorf("got %q", first)
	}
	pool.wantFreed(false)
}

// TestTunnelLimits: the words of the route count, then those of the listener.
// What the upstream side has of its own does not.
func TestTunnelLimits(t *testing.T) {
	for _, c := range []struct {
		name      string
		idle, max time.Duration // of the listener
		route     stream.TunnelLimits
		limit     string
		took      time.Duration
	}{
		{"idle of the listener", 3 * time.Minute, 0, stream.TunnelLimits{}, "tunnel_idle", 3 * time.Minute},
		{"idle of the route, shorter", time.Hour, 0, stream.TunnelLimits{Idle: time.Minute}, "tunnel_idle", time.Minute},
		{"idle of the route, longer", time.Minute, 0, stream.TunnelLimits{Idle: time.Hour}, "tunnel_idle", time.Hour},
		{"duration of the listener", time.Hour, time.Minute, stream.TunnelLimits{}, "tunnel_max", time.Minute},
		{"duration of the route, shorter", time.Hour, time.Hour, stream.TunnelLimits{Max: time.Minute}, "tunnel_max", time.Minute},
		{"duration of the route, longer", time.Hour, time.Minute, stream.TunnelLimits{Max: 2 * time.Hour, Idle: 3 * time.Hour}, "tunnel_max", 2 * time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				took, f := tunnelFor(c.idle, c.max, c.route)
				if took < c.took || took > c.took+walkSlack {
					t.Errorf("it took %v", took)
				}
				if f == nil || f.Kind != stream.BodyTimeout || f.Limit != c.limit {
					t.Errorf("the exchange has fault %v %+v", f, f)
				}
			})
		})
	}
}

// tunnelFor is how long a quiet tunnel through both halves lasts, and why.
func tunnelFor(idle, max time.Duration, route stream.TunnelLimits) (time.Duration, *stream.Fault) {
	var dog watchdog.Dog
	spawn := func(f func()) { go f() }
	upNear, upFar := net.Pipe()
	cfg := &ClientConfig{Limits: testLimits, Dog: &dog, Phases: walkLimits(stream.PhaseTunnel), Go: spawn}
	cfg.Phases[stream.PhaseTunnel] = stream.PhaseLimit{Idle: 10 * time.Second}
	client := NewClient(upNear, cfg)
	client.Release = func(c *Client, _ bool) { c.Close() }
	phases := walkLimits(stream.PhaseTunnel)
	phases[stream.PhaseTunnel] = stream.PhaseLimit{Idle: idle}
	var fault *stream.Fault
	s := NewServer(ServerConfig{
		Limits: testLimits, Refuse: refuse, Dog: &dog, Phases: phases, Go: spawn, TunnelMax: max,
		Done: func(req *stream.Request) { fault = req.Exchange.Fault },
		Service: stream.ServiceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
			if route.Idle > 0 {
				req.Tunnel.Idle = route.Idle
			}
			if route.Max > 0 {
				req.Tunnel.Max = route.Max
			}
			return client.Serve(ctx, req)
		}),
	})
	near, far := net.Pipe()
	go io.Copy(io.Discard, far)
	go func() {
		http.ReadRequest(bufio.NewReader(upFar))
		io.WriteString(upFar, "HTTP/1.1 200 \r\n\r\n")
	}()
	go io.WriteString(far, connect+"\r\n")
	start := time.Now()
	s.Serve(context.Background(), near, &stream.Conn{})
	took := time.Since(start)
	upFar.Close()
	far.Close()
	return took, fault
}

// The end of a tunnel may be asked for by several at once: the stage around it,
// and the two goroutines that carry.
func TestTunnelClosedTwice(t *testing.T) {
	o := newOrigin(t)
	p := newPool(t, o)
	go func() {
		up := o.accept()
		up.head()
		up.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
	}()
	g, req := tunneltest.NewGate(), newGet("/")
	req.Upgrade, req.Body = "x", g
	resp, err := p.Serve(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	g.CloseTwice(t, resp.Body)
}
