package tcp

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/internal/prefixconn"
	"github.com/weirproxy/weir/stream"
)

func answers(f func(ctx context.Context, req *stream.Request) (*stream.Response, error)) func(stream.Service) stream.Service {
	return func(stream.Service) stream.Service { return stream.ServiceFunc(f) }
}

// Without a tunnel the client sees an error, not an end.
func TestNoTunnel(t *testing.T) {
	for _, c := range []struct {
		name  string
		serve func(ctx context.Context, req *stream.Request) (*stream.Response, error)
		kind  stream.Kind
	}{
		{"fault", func(context.Context, *stream.Request) (*stream.Response, error) {
			return nil, &stream.Fault{Kind: stream.NoRoute}
		}, stream.NoRoute},
		{"answer", func(context.Context, *stream.Request) (*stream.Response, error) {
			return &stream.Response{Status: 403, Body: stream.NoBody}, nil
		}, stream.Forbidden},
		{"panic", func(context.Context, *stream.Request) (*stream.Response, error) { panic("a defect") }, stream.Internal},
		{"panic in the relay", func(context.Context, *stream.Request) (*stream.Response, error) {
			return &stream.Response{Status: 200, Body: rotten{stream.NoBody}}, nil
		}, stream.Internal},
		{"waits too long", func(ctx context.Context, _ *stream.Request) (*stream.Response, error) {
			<-ctx.Done()
			return nil, &stream.Fault{Kind: stream.ClientGone}
		}, stream.UpstreamTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, wiring{service: answers(c.serve), server: func(cfg *ServerConfig, _ context.CancelFunc) {
				cfg.Phases[stream.PhaseWait] = stream.PhaseLimit{Ceiling: 1e8}
			}})
			r.wantRefused()
			if ex := r.exchange(); ex.Fault == nil || ex.Fault.Kind != c.kind || ex.End.IsZero() {
				t.Errorf("fault %v", ex.Fault)
			}
			if panics := r.Stats.Panics.Load(); (panics > 0) != (c.kind == stream.Internal) {
				t.Errorf("%d panics", panics)
			}
			if n := r.Stats.Cut.Load(); n != 1 {
				t.Errorf("%d were cut", n)
			}
		})
	}
}

// A client of TLS that is passed on is told in its own words.
func TestNoTunnelForHello(t *testing.T) {
	for kind, words := range map[stream.Kind]string{stream.NoRoute: "unrecognized name", stream.ConnectRefused: "internal error"} {
		r := newRig(t, wiring{
			accept: func(nc net.Conn) (net.Conn, *stream.Conn) {
				hello := make([]byte, 16<<10)
				n, err := nc.Read(hello)
				if err != nil {
					t.Error(err)
				}
				return prefixconn.New(nc, hello[:n]), &stream.Conn{Hello: &stream.Hello{ServerName: "a"}}
			},
			service: answers(func(context.Context, *stream.Request) (*stream.Response, error) {
				return nil, &stream.Fault{Kind: kind}
			}),
		})
		err := tlsClient(r.client()).(*tls.Conn).Handshake()
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v: the client got %v", kind, err)
		}
		r.exchange()
	}
}

// rotten is a tunnel with a defect.
type rotten struct{ stream.Body }

func (rotten) Read([]byte) (int, error)  { panic("a defect") }
func (rotten) Write([]byte) (int, error) { panic("a defect") }
func (rotten) CloseWrite() error         { return nil }

// A client that resets while an upstream is looked for is noticed; one that has
// said all it wants to say is waited for.
func TestClientGoneWhileWaiting(t *testing.T) {
	for _, gone := range []bool{true, false} {
		asked, release := make(chan struct{}), make(chan struct{})
		r := newRig(t, wiring{service: func(next stream.Service) stream.Service {
			return stream.ServiceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
				close(asked)
				select {
				case <-ctx.Done():
					return nil, &stream.Fault{Kind: stream.ClientGone}
				case <-release:
					return next.Serve(ctx, req)
				}
			})
		}})
		client := r.client()
		<-asked
		if gone {
			reset(client)
		} else {
			send(t, client, "all")
			endWrite(t, client)
			close(release)
			upstream := r.accept()
			want(t, upstream, "all")
			wantEOF(t, upstream)
			send(t, upstream, "answer")
			upstream.Close()
			want(t, client, "answer")
			wantEOF(t, client)
		}
		if ex := r.exchange(); (ex.Fault != nil) != gone {
			t.Errorf("gone %v: fault %v", gone, ex.Fault)
		}
	}
}

func TestRequest(t *testing.T) {
	remote := netip.MustParseAddrPort("192.0.2.1:5")
	for _, c := range []struct {
		facts stream.Conn
		host  string
	}{
		{stream.Conn{Remote: remote}, ""},
		{stream.Conn{Remote: remote, Hello: &stream.Hello{ServerName: "passed.example"}}, "passed.example"},
		{stream.Conn{Remote: remote, TLS: &stream.TLS{ServerName: "ended.example"}}, "ended.example"},
	} {
		seen := make(chan stream.Request, 1)
		r := newRig(t, wiring{
			accept: func(nc net.Conn) (net.Conn, *stream.Conn) { return nc, &c.facts },
			service: answers(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
				seen <- *req
				return nil, &stream.Fault{Kind: stream.NoRoute}
			}),
		})
		if nc, err := net.Dial("tcp", r.in.Addr().String()); err == nil { // it is refused, perhaps at once
			r.own(nc)
		}
		req := <-seen
		if req.Proto != stream.TCP || req.Target.Host != c.host || req.Client != remote.Addr() || req.Conn != &c.facts ||
			req.Method != "" || req.Body != stream.NoBody || len(req.ID) != 32 {
			t.Errorf("request %+v", req)
		}
		r.exchange()
	}
}

func TestConnections(t *testing.T) {
	r := newRig(t, wiring{})
	client, _ := r.dial(wiring{})
	carried := func() (in, out int64) {
		r.Connections(func(s ConnState) bool { in, out = s.BytesIn, s.BytesOut; return true })
		return in, out
	}
	for end := time.Now().Add(10 * time.Second); ; runtime.Gosched() { // the peers see bytes before the relay has counted them
		if in, out := carried(); in == 5 && out == 1 || time.Now().After(end) {
			break
		}
	}
	n := 0
	r.Connections(func(s ConnState) bool {
		n++
		if s.Facts.ID != 7 || s.Phase != stream.PhaseTunnel || s.Requests != 1 || s.BytesIn != 5 || s.BytesOut != 1 || s.Age <= 0 {
			t.Errorf("state %+v", s)
		}
		return true
	})
	if n != 1 || r.Requests() != 1 || r.Stats.Relayed.Load() != 1 {
		t.Errorf("%d connections, %d requests, %d relayed", n, r.Requests(), r.Stats.Relayed.Load())
	}
	client.Close()
}

func TestTransportRefusals(t *testing.T) {
	t.Run("max_connections", func(t *testing.T) {
		w := wiring{load: endpoint.NewLoad(0, 1)}
		r := newRig(t, w)
		client, upstream := r.dial(w)
		r.wantRefused()
		if ex := r.exchange(); ex.Fault == nil || ex.Fault.Kind != stream.ClusterFull || ex.Fault.Limit != "max_connections" {
			t.Errorf("fault %v", ex.Fault)
		}
		if n := r.tr.Stats.Refused.Load(); n != 1 {
			t.Errorf("%d refused", n)
		}
		client.Close()
		wantEOF(t, upstream)
		upstream.Close()
		r.exchange()
		r.dial(w) // the place is free again
	})
	t.Run("fault of Dial", func(t *testing.T) {
		fault := &stream.Fault{Kind: stream.ConnectRefused, Retry: stream.RetryUnsent, Cause: errors.New("no")}
		r := newRig(t, wiring{dial: func(func() (net.Conn, error)) (net.Conn, error) { return nil, fault }})
		r.wantRefused()
		if ex := r.exchange(); ex.Fault != fault {
			t.Errorf("fault %v", ex.Fault)
		}
	})
	t.Run("panic of Dial", func(t *testing.T) {
		r := newRig(t, wiring{dial: func(func() (net.Conn, error)) (net.Conn, error) { panic("a defect") }})
		resp, err := serveContained(r.tr)
		if resp != nil || err == nil {
			t.Errorf("%v, %v", resp, err)
		}
		if open, idle := r.tr.Connections(); open != 0 || idle != 0 || r.load.Connections() != 0 || r.tr.Stats.DialFailed.Load() != 1 {
			t.Errorf("%d open, %d in the load, %d failed", open, r.load.Connections(), r.tr.Stats.DialFailed.Load())
		}
	})
}

// serveContained turns a panic into an error.
func serveContained(t *Transport) (resp *stream.Response, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("panic")
		}
	}()
	return t.Serve(context.Background(), &stream.Request{Body: stream.NoBody, Proto: stream.TCP})
}
