package tcp

import (
	"context"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/weirproxy/weir/internal/prefixconn"
	"github.com/weirproxy/weir/stream"
)

// ahead takes what the client sends first off the connection and puts it in
// front again, as whoever looks at a hello does.
func ahead(nc net.Conn) net.Conn {
	var first [3]byte
	if _, err := io.ReadFull(nc, first[:]); err != nil {
		return nc
	}
	return prefixconn.New(nc, first[:])
}

var wirings = []wiring{
	{name: "plain"},
	{name: "unix", network: "unix"},
	{name: "ahead", accept: func(nc net.Conn) (net.Conn, *stream.Conn) {
		return ahead(nc), &stream.Conn{Hello: &stream.Hello{ServerName: "a"}}
	}},
	{name: "TLS downstream", client: tlsClient, accept: func(nc net.Conn) (net.Conn, *stream.Conn) {
		return tlsServer(nc), &stream.Conn{TLS: &stream.TLS{ServerName: "a"}}
	}},
	{name: "TLS upstream", dialed: tlsClient, upstream: tlsServer},
	{name: "TLS on both sides, ahead", client: tlsClient, dialed: tlsClient, upstream: tlsServer,
		accept: func(nc net.Conn) (net.Conn, *stream.Conn) {
			return tlsServer(ahead(nc)), &stream.Conn{TLS: &stream.TLS{ServerName: "a"}}
		}},
}

func TestRelay(t *testing.T) {
	for _, w := range wirings {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, w)
			client, upstream := r.dial(w)
			const size = 10 << 20
			type result struct {
				sum [32]byte
				n   int64
				err error
			}
			push := func(nc net.Conn, seed byte) [32]byte {
				sum := sha256.New()
				src := io.LimitReader(rand.NewChaCha8([32]byte{seed}), size)
				if _, err := io.Copy(struct{ io.Writer }{nc}, io.TeeReader(src, sum)); err != nil {
					t.Error(err)
				}
				if err := nc.(halfCloser).CloseWrite(); err != nil {
					t.Error(err)
				}
				return [32]byte(sum.Sum(nil))
			}
			pull := func(nc net.Conn) (res result) {
				sum := sha256.New()
				res.n, res.err = io.Copy(sum, nc)
				res.sum = [32]byte(sum.Sum(nil))
				return res
			}
			sent, got := make(chan [32]byte, 2), make(chan result, 2)
			go func() { sent <- push(client, 1); got <- pull(client) }()
			down := make(chan [32]byte, 1)
			go func() { down <- push(upstream, 2) }()
			atUpstream := pull(upstream)
			if sum := <-sent; atUpstream.err != nil || atUpstream.sum != sum || atUpstream.n != size {
				t.Errorf("the upstream got %d bytes, %v", atUpstream.n, atUpstream.err)
			}
			atClient := <-got
			if sum := <-down; atClient.err != nil || atClient.sum != sum || atClient.n != size {
				t.Errorf("the client got %d bytes, %v", atClient.n, atClient.err)
			}
			ex := r.exchange()
			if ex.BytesIn != size+5 || ex.BytesOut != size+1 || ex.Fault != nil || ex.Status != 200 {
				t.Errorf("%d bytes in, %d out, fault %v, status %d", ex.BytesIn, ex.BytesOut, ex.Fault, ex.Status)
			}
			for _, at := range []time.Time{ex.Start, ex.HeadRead, ex.HeadSent, ex.UpstreamEnd, ex.End} {
				if at.IsZero() {
					t.Errorf("a time is missing: %+v", ex)
				}
			}
			if spliced := r.Stats.Spliced.Load(); runtime.GOOS == "linux" && (spliced > size) != (w.name == "plain" || w.name == "unix" || w.name == "ahead") {
				t.Errorf("%d bytes were spliced", spliced)
			}
		})
	}
}

// One direction ends, and the other goes on until it ends too.
func TestHalfClose(t *testing.T) {
	for _, w := range wirings {
		for _, first := range []string{"client", "upstream"} {
			t.Run(w.name+", "+first+" first", func(t *testing.T) {
				t.Parallel()
				r := newRig(t, w)
				client, upstream := r.dial(w)
				a, b := client, upstream
				if first == "upstream" {
					a, b = b, a
				}
				endWrite(t, a)
				wantEOF(t, b)
				text := strings.Repeat("z", 200000)
				go io.WriteString(b, text)
				want(t, a, text)
				endWrite(t, b)
				wantEOF(t, a)
				if ex := r.exchange(); ex.Fault != nil {
					t.Errorf("fault %v", ex.Fault)
				}
			})
		}
	}
}

// A server that speaks first is not stalled by a client that says nothing.
func TestServerSpeaksFirst(t *testing.T) {
	r := newRig(t, wiring{})
	client := r.client()
	upstream := r.accept()
	send(t, upstream, "220 ready\r\n")
	want(t, client, "220 ready\r\n")
}

func TestReset(t *testing.T) {
	for _, w := range wirings {
		if w.network == "unix" {
			continue // has no reset
		}
		for _, who := range []string{"client", "upstream"} {
			t.Run(w.name+", "+who, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, w)
				client, upstream := r.dial(w)
				kind, a, b := stream.ClientGone, client, upstream
				if who == "upstream" {
					kind, a, b = stream.UpstreamReset, upstream, client
				}
				reset(a)
				wantReset(t, plain(b))
				if ex := r.exchange(); ex.Fault == nil || ex.Fault.Kind != kind || ex.Status != 200 {
					t.Errorf("fault %v, status %d", ex.Fault, ex.Status)
				}
				if n := r.Stats.Faults[kind].Load(); n != 1 {
					t.Errorf("%d faults counted", n)
				}
			})
		}
	}
}

// A reader that does not read holds back the writer, and holds no more than the
// buffers of the sockets and a pipe.
func TestSlowReader(t *testing.T) {
	for _, w := range []wiring{wirings[0], wirings[3]} {
		t.Run(w.name, func(t *testing.T) {
			r := newRig(t, w)
			client, upstream := r.dial(w)
			if w.client == nil {
				client.(*net.TCPConn).SetReadBuffer(64 << 10)
			}
			upstream.(*net.TCPConn).SetWriteBuffer(64 << 10)
			upstream.SetWriteDeadline(time.Now().Add(700 * time.Millisecond))
			block := make([]byte, 1<<20)
			written := 0
			for {
				n, err := upstream.Write(block)
				if written += n; err != nil {
					break // it blocked until its deadline
				}
				if written > 64<<20 {
					t.Fatal("nothing holds the writer back")
				}
			}
			upstream.SetWriteDeadline(time.Time{})
			endWrite(t, upstream)
			if n, err := io.Copy(io.Discard, client); err != nil || n != int64(written) {
				t.Errorf("the client got %d of %d bytes, %v", n, written, err)
			}
			endWrite(t, client)
			if ex := r.exchange(); ex.Fault != nil || ex.BytesOut != int64(written)+1 {
				t.Errorf("%d of %d bytes, fault %v", ex.BytesOut, written, ex.Fault)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	short := 120 * time.Millisecond
	for _, c := range []struct {
		name string
		set  func(w *wiring)
		kind stream.Kind
		why  string
	}{
		{"idle time of the listener", func(w *wiring) {
			w.server = func(cfg *ServerConfig, _ context.CancelFunc) { cfg.Phases[stream.PhaseTunnel].Idle = short }
		}, stream.BodyTimeout, "tunnel_idle"},
		{"idle time of the route", func(w *wiring) { w.service = limited(stream.TunnelLimits{Idle: short}) }, stream.BodyTimeout, "tunnel_idle"},
		{"idle time that is made shorter", func(w *wiring) {
			w.server = func(cfg *ServerConfig, _ context.CancelFunc) {
				cfg.Phases[stream.PhaseTunnel] = stream.PhaseLimit{Idle: time.Hour, Floor: short}
				cfg.Dog.Squeeze(1)
			}
		}, stream.BodyTimeout, "overload"},
		{"longest time of the listener", func(w *wiring) {
			w.server = func(cfg *ServerConfig, _ context.CancelFunc) { cfg.MaxAge = short }
		}, stream.BodyTimeout, "tunnel_max"},
		{"longest time of the route", func(w *wiring) { w.service = limited(stream.TunnelLimits{Max: short}) }, stream.BodyTimeout, "tunnel_max"},
	} {
		for _, w := range []wiring{wirings[0], wirings[5]} {
			t.Run(c.name+", "+w.name, func(t *testing.T) {
				t.Parallel()
				c.set(&w)
				r := newRig(t, w)
				client, upstream := r.dial(w)
				wantReset(t, plain(client))
				wantReset(t, plain(upstream))
				if ex := r.exchange(); ex.Fault == nil || ex.Fault.Kind != c.kind || ex.Fault.Limit != c.why {
					t.Errorf("fault %v", ex.Fault)
				}
			})
		}
	}
}

func limited(l stream.TunnelLimits) func(stream.Service) stream.Service {
	return func(next stream.Service) stream.Service {
		return stream.ServiceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
			req.Tunnel = l
			return next.Serve(ctx, req)
		})
	}
}

// One direction that moves keeps the other alive.
func TestIdleCountsBothWays(t *testing.T) {
	w := wiring{service: limited(stream.TunnelLimits{Idle: 300 * time.Millisecond})}
	r := newRig(t, w)
	client, upstream := r.dial(w)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 16 {
		<-tick.C
		send(t, upstream, "x")
		want(t, client, "x")
	}
	wantReset(t, client)
	if ex := r.exchange(); ex.BytesOut != 17 || ex.BytesIn != 5 {
		t.Errorf("%d bytes out, %d in", ex.BytesOut, ex.BytesIn)
	}
}

// Drain leaves open connections alone; the end of the context ends them.
func TestDrain(t *testing.T) {
	r := newRig(t, wiring{})
	client, upstream := r.dial(wiring{})
	r.Retire()
	r.Drain()
	send(t, upstream, "still here")
	want(t, client, "still here")
	r.cut()
	wantReset(t, client)
	wantReset(t, upstream)
	if ex := r.exchange(); ex.Fault == nil || ex.Fault.Kind != stream.ClientGone || !ex.Draining {
		t.Errorf("fault %v, draining %v", ex.Fault, ex.Draining)
	}
}
