package http3

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/quic-go/quic-go"
	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func phases() (p stream.PhaseLimits) {
	for i := range p {
		p[i] = stream.PhaseLimit{Idle: 20 * time.Second, Ceiling: time.Minute}
	}
	return p
}

func limits() Limits {
	return Limits{MaxHeaderCount: 100, MaxHeaderBytes: 64 << 10, MaxURIBytes: 8 << 10, MaxBodyBytes: 64 << 20}
}

// identity is a certificate for localhost and who trusts it.
func identity(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, _ := x509.ParseCertificate(der)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	server = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}}, NextProtos: []string{"h3"}}
	return server, &tls.Config{RootCAs: pool, ServerName: "localhost", NextProtos: []string{"h3"}}
}

func udp(t testing.TB) *net.UDPConn {
	t.Helper()
	pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return pc
}

// testServer is a Server on a socket of its own.
type testServer struct {
	*Server
	addr   netip.AddrPort
	client *tls.Config
	mu     sync.Mutex
	done   []stream.Exchange
}

func serve(t testing.TB, service stream.ServiceFunc, change func(*ServerConfig)) *testServer {
	t.Helper()
	ts := &testServer{}
	serverTLS, clientTLS := identity(t)
	ts.client = clientTLS
	cfg := ServerConfig{
		Limits: limits(), Listener: "test", Service: service, Dog: new(watchdog.Dog), Phases: phases(),
		Go: func(f func()) { go f() },
		Refuse: func(_ context.Context, _ *stream.Request, f *stream.Fault) *stream.Response {
			return text(400, f.Kind.String())
		},
		Done: func(req *stream.Request) {
			ts.mu.Lock()
			defer ts.mu.Unlock()
			ts.done = append(ts.done, req.Exchange)
		},
	}
	if change != nil {
		change(&cfg)
	}
	ts.Server = NewServer(cfg)
	pc := udp(t)
	ts.addr = pc.LocalAddr().(*net.UDPAddr).AddrPort()
	over := make(chan error, 1)
	go func() { over <- ts.Serve(context.Background(), pc, serverTLS) }()
	t.Cleanup(func() {
		ts.CloseAll()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := ts.Wait(ctx); err != nil {
			t.Error(err)
		}
		if err := <-over; err != nil {
			t.Error(err)
		}
		pc.Close()
	})
	return ts
}

func (ts *testServer) exchanges() []stream.Exchange {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return append([]stream.Exchange(nil), ts.done...)
}

func text(status int, body string) *stream.Response {
	return &stream.Response{Status: status, Body: stream.BytesBody([]byte(body)), Length: int64(len(body))}
}

func dialer(t testing.TB) *Dialer {
	t.Helper()
	d := NewDialer(ClientConfig{
		Limits: limits(), Dog: new(watchdog.Dog), Phases: phases(), Go: func(f func()) { go f() },
		Listen: func() (net.PacketConn, error) { return net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}) },
	})
	t.Cleanup(func() { d.Close() })
	return d
}

func dial(t testing.TB, addr netip.AddrPort, conf *tls.Config, ended func()) *Client {
	t.Helper()
	c, err := dialer(t).Dial(context.Background(), time.Now().Add(10*time.Second), addr, conf, ended)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// raw is a QUIC connection without HTTP.
func raw(t testing.TB, ts *testServer) *quic.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := quic.DialAddr(ctx, ts.addr.String(), ts.client, &quic.Config{MaxIncomingUniStreams: 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseWithError(codeNoError, "") })
	return conn
}

func request(method, target string) *stream.Request {
	tgt, f := stream.ParseTarget("https", method, target, "localhost")
	if f != nil {
		panic(f)
	}
	return &stream.Request{Method: method, Target: tgt, Proto: stream.HTTP11, Body: stream.NoBody, Conn: &stream.Conn{}}
}

func ask(t testing.TB, c *Client, req *stream.Request) (*stream.Response, error) {
	t.Helper()
	if !c.Reserve() {
		t.Fatal("no place on the connection")
	}
	return c.Serve(context.Background(), req)
}
