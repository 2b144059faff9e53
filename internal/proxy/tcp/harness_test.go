package tcp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// rig is a proxy with one upstream on real sockets.
type rig struct {
	*Server
	t      testing.TB
	tr     *Transport
	load   *endpoint.Load
	origin net.Listener
	in     net.Listener
	cut    context.CancelFunc
	done   chan stream.Exchange
	last   atomic.Pointer[stream.Request] // only of a connection that is over
	work   sync.WaitGroup
}

// wiring says what the two sides of a rig are made of.
type wiring struct {
	name     string
	network  string                                     // "" is tcp
	accept   func(nc net.Conn) (net.Conn, *stream.Conn) // of the proxy; nil: as it is
	dialed   func(nc net.Conn) net.Conn                 // of the proxy; nil: as it is
	client   func(nc net.Conn) net.Conn                 // what the test's client speaks
	upstream func(nc net.Conn) net.Conn                 // what the test's origin speaks
	service  func(s stream.Service) stream.Service      // around the transport
	server   func(cfg *ServerConfig, cut context.CancelFunc)
	dial     func(dial func() (net.Conn, error)) (net.Conn, error)
	load     *endpoint.Load
}

func listen(t testing.TB, network string) net.Listener {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "" {
		network = "tcp"
	}
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func newRig(t testing.TB, w wiring) *rig {
	r := &rig{t: t, done: make(chan stream.Exchange, 2000), origin: listen(t, w.network), in: listen(t, w.network)}
	if r.load = w.load; r.load == nil {
		r.load = endpoint.NewLoad(0, 0)
	}
	var dog watchdog.Dog
	ep := endpoint.New(endpoint.Spec{Network: "tcp", Address: r.origin.Addr().String(), Weight: 1}, r.load, time.Now())
	r.tr = NewTransport(TransportConfig{Endpoint: ep, Dial: func(ctx context.Context, _ *stream.Request, _ time.Time) (net.Conn, error) {
		var d net.Dialer
		dial := func() (net.Conn, error) {
			nc, err := d.DialContext(ctx, r.origin.Addr().Network(), r.origin.Addr().String())
			if err != nil {
				return nil, &stream.Fault{Kind: stream.ConnectFailed, Retry: stream.RetryUnsent, Cause: err}
			}
			if w.dialed != nil {
				nc = w.dialed(nc)
			}
			return nc, nil
		}
		if w.dial != nil {
			return w.dial(dial)
		}
		return dial()
	}})
	ep.Transport = r.tr
	var service stream.Service = stream.ServiceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
		// As the cluster stage counts.
		r.load.Enter()
		ep.Began()
		resp, err := r.tr.Serve(ctx, req)
		if err != nil {
			ep.Aborted()
			r.load.Leave()
		}
		return resp, err
	})
	if w.service != nil {
		service = w.service(service)
	}
	cfg := ServerConfig{
		Service: service, Dog: &dog,
		Go:   func(f func()) { r.work.Go(f) },
		Done: func(req *stream.Request) { r.last.Store(req); r.done <- req.Exchange },
	}
	for i := range cfg.Phases {
		cfg.Phases[i].Idle = time.Minute
	}
	ctx, cut := context.WithCancel(context.Background())
	if r.cut = cut; w.server != nil {
		w.server(&cfg, cut)
	}
	r.Server = NewServer(cfg)
	r.work.Go(func() {
		for {
			nc, err := r.in.Accept()
			if err != nil {
				return
			}
			r.work.Go(func() {
				facts := &stream.Conn{ID: 7, Listener: "in"}
				if w.accept != nil {
					nc, facts = w.accept(nc)
				}
				r.Serve(ctx, nc, facts)
			})
		}
	})
	t.Cleanup(func() {
		r.in.Close()
		cut()
		r.work.Wait()
		if open, _ := r.tr.Connections(); open != 0 || r.load.Connections() != 0 || r.load.Requests() != 0 || ep.InFlight() != 0 {
			t.Errorf("left behind: %d open, %d connections and %d requests in the load, %d in flight",
				open, r.load.Connections(), r.load.Requests(), ep.InFlight())
		}
		if n := r.Stats.Open.Load(); n != 0 {
			t.Errorf("%d connections are open", n)
		}
	})
	return r
}

// dial opens a connection through the proxy, with a word in each direction,
// and returns its two ends.
func (r *rig) dial(w wiring) (client, upstream net.Conn) {
	r.t.Helper()
	client = r.client()
	if w.client != nil {
		client = w.client(client)
	}
	sent := make(chan error, 1)
	go func() { _, err := io.WriteString(client, "hello"); sent <- err }()
	upstream = r.accept()
	if w.upstream != nil {
		upstream = w.upstream(upstream)
	}
	want(r.t, upstream, "hello")
	if err := <-sent; err != nil {
		r.t.Fatal(err)
	}
	send(r.t, upstream, "h")
	want(r.t, client, "h")
	return client, upstream
}

func (r *rig) client() net.Conn {
	r.t.Helper()
	nc, err := net.Dial(r.in.Addr().Network(), r.in.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	return r.own(nc)
}

// wantRefused opens a connection and wants to see it reset, which may be so
// early that the opening fails.
func (r *rig) wantRefused() {
	r.t.Helper()
	nc, err := net.Dial(r.in.Addr().Network(), r.in.Addr().String())
	if err == nil {
		wantReset(r.t, r.own(nc))
	} else if !errors.Is(err, syscall.ECONNRESET) {
		r.t.Fatal(err)
	}
}

func (r *rig) accept() net.Conn {
	r.t.Helper()
	nc, err := r.origin.Accept()
	if err != nil {
		r.t.Fatal(err)
	}
	return r.own(nc)
}

// own bounds how long a test may hang on nc.
func (r *rig) own(nc net.Conn) net.Conn {
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	r.t.Cleanup(func() { nc.Close() })
	return nc
}

// exchange is the facts of the next connection that is over.
func (r *rig) exchange() stream.Exchange {
	r.t.Helper()
	select {
	case ex := <-r.done:
		return ex
	case <-time.After(20 * time.Second):
		r.t.Fatal("the connection is not over")
		panic("unreachable")
	}
}

func send(t testing.TB, nc net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(nc, text); err != nil {
		t.Fatal(err)
	}
}

func want(t testing.TB, nc net.Conn, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(nc, got); err != nil || string(got) != text {
		t.Fatalf("got %q, %v, want %q", got, err, text)
	}
}

func wantEOF(t testing.TB, nc net.Conn) {
	t.Helper()
	if rest, err := io.ReadAll(nc); err != nil || len(rest) > 0 {
		t.Fatalf("got %q, %v, want the end", rest, err)
	}
}

// wantReset wants an error that is no orderly end.
func wantReset(t testing.TB, nc net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, nc); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("got %v, want a reset", err)
	}
}

func endWrite(t testing.TB, nc net.Conn) {
	t.Helper()
	if err := nc.(halfCloser).CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

// secret is a key pair for both sides.
var secret = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"a"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

func tlsServer(nc net.Conn) net.Conn {
	return tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{secret()}})
}

func tlsClient(nc net.Conn) net.Conn {
	return tls.Client(nc, &tls.Config{InsecureSkipVerify: true, ServerName: "a"})
}
