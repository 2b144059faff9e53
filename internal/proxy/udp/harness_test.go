package udp

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// socket is a UDP socket of the loopback device.
func socket(t testing.TB) *net.UDPConn {
	t.Helper()
	pc, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	return pc
}

// upstream answers each datagram with what answer makes of it; nil: nothing.
func upstream(t testing.TB, answer func(b []byte) []byte) *net.UDPConn {
	t.Helper()
	pc := socket(t)
	done := make(chan struct{})
	t.Cleanup(func() { pc.Close(); <-done })
	go func() {
		defer close(done)
		buf := make([]byte, maxDatagram)
		for {
			n, from, err := pc.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if reply := answer(buf[:n]); reply != nil {
				pc.WriteToUDPAddrPort(reply, from)
			}
		}
	}()
	return pc
}

func echo(b []byte) []byte { return b }

// member is an endpoint with its transport.
type member struct {
	*endpoint.Endpoint
	load      *endpoint.Load
	transport *Transport
	stats     ClientStats
}

func newMember(address string, maxConnections int) *member {
	m := &member{load: endpoint.NewLoad(0, maxConnections)}
	m.Endpoint = endpoint.New(endpoint.Spec{Network: "udp", Address: address, Weight: 1}, m.load, time.Now())
	m.transport = NewTransport(TransportConfig{Endpoint: m.Endpoint, Stats: &m.stats, Dial: dial(address)})
	return m
}

func dial(address string) func(context.Context, *stream.Request, time.Time) (net.Conn, error) {
	return func(ctx context.Context, _ *stream.Request, _ time.Time) (net.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, "udp", address)
		if err != nil {
			return nil, &stream.Fault{Kind: stream.ConnectFailed, Retry: stream.RetryUnsent, Cause: err}
		}
		return nc, nil
	}
}

// service is a function that serves.
type service func(ctx context.Context, req *stream.Request) (*stream.Response, error)

func (s service) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	return s(ctx, req)
}

// try asks the members one after the other, as the cluster does: with the same
// body, counting what the contract of endpoint.Transport says.
func try(members ...*member) service {
	return func(ctx context.Context, req *stream.Request) (resp *stream.Response, err error) {
		content, _ := req.Body.(stream.Whole).Bytes()
		for _, m := range members {
			m.load.Enter()
			m.Began()
			req.Body = stream.BytesBody(content)
			if resp, err = m.transport.Serve(ctx, req); err == nil {
				return resp, nil
			}
			m.Aborted()
			m.load.Leave()
			if stream.AsFault(err).Retry != stream.RetryUnsent {
				break
			}
		}
		return nil, err
	}
}

// proxy is a Server under test.
type proxy struct {
	*Server
	address string
	done    chan *stream.Request
	cancel  context.CancelFunc
	served  chan error
	pc      *net.UDPConn
}

func start(t testing.TB, svc stream.Service, change func(*ServerConfig)) *proxy {
	t.Helper()
	return startOn(t, socket(t), svc, change)
}

func startOn(t testing.TB, pc *net.UDPConn, svc stream.Service, change func(*ServerConfig)) *proxy {
	t.Helper()
	p := &proxy{done: make(chan *stream.Request, 5000), served: make(chan error, 1), pc: pc}
	cfg := ServerConfig{
		Listener: "dns", Service: svc, Done: func(req *stream.Request) { p.done <- req },
		Go: func(f func()) { go f() }, Dog: new(watchdog.Dog), SessionIdle: time.Minute, IDs: new(atomic.Uint64), Log: slog.New(slog.DiscardHandler),
	}
	for i := range cfg.Phases {
		cfg.Phases[i] = stream.PhaseLimit{Ceiling: time.Hour}
	}
	if change != nil {
		change(&cfg)
	}
	p.Server, p.address = NewServer(cfg), p.pc.LocalAddr().String()
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(context.Background())
	go func() { p.served <- p.Serve(ctx, p.pc) }()
	t.Cleanup(func() {
		p.Drain()
		p.CloseAll()
		wait, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := p.Wait(wait); err != nil {
			t.Errorf("sessions are left: %d", p.Stats.Open.Load())
		}
		p.pc.Close()
		<-p.served
		p.cancel()
	})
	return p
}

// client is a socket connected to the proxy.
func (p *proxy) client(t testing.TB) net.Conn {
	t.Helper()
	nc, err := net.Dial("udp", p.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(patience))
	return nc
}

// ended is the next session that has ended.
func (p *proxy) ended(t testing.TB) *stream.Request {
	t.Helper()
	select {
	case req := <-p.done:
		return req
	case <-time.After(patience):
		t.Fatal("the session did not end")
		return nil
	}
}

// say sends a datagram and returns the reply.
func say(t testing.TB, nc net.Conn, text string) string {
	t.Helper()
	send(t, nc, text)
	return hear(t, nc)
}

func send(t testing.TB, nc net.Conn, text string) {
	t.Helper()
	if _, err := nc.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func hear(t testing.TB, nc net.Conn) string {
	t.Helper()
	buf := make([]byte, maxDatagram)
	n, err := nc.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

// until waits for what other goroutines are about to do.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}
