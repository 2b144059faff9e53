package http1

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/weirproxy/weir/stream"
)

// What an open socket may hold of memory while nothing moves: in the clear, and
// over TLS on both sides besides what crypto/tls holds. The stacks of its waits
// are deeper, and how large they are depends on when they shrank; one page more
// would still be over it.
const (
	maxQuietTunnel = 20 << 10
	maxQuietTLS    = 36 << 10
)

// newCertificate makes a self-signed certificate whose handshakes are quick.
func newCertificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// sockets makes connections, over TLS or plain.
type sockets struct {
	t      testing.TB
	server *tls.Config // nil: in the clear
	client *tls.Config
}

func newSockets(t testing.TB, secure bool) *sockets {
	s := &sockets{t: t}
	if secure {
		s.server = &tls.Config{Certificates: []tls.Certificate{newCertificate(t)}}
		s.client = &tls.Config{InsecureSkipVerify: true}
	}
	return s
}

// open makes a connection: the end that dials and the end that accepts.
func (s *sockets) open() (dialled, accepted net.Conn) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	defer ln.Close()
	if dialled, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		s.t.Fatal(err)
	}
	if accepted, err = ln.Accept(); err != nil {
		s.t.Fatal(err)
	}
	if s.server == nil {
		return dialled, accepted
	}
	near, far := tls.Client(dialled, s.client), tls.Server(accepted, s.server)
	done := make(chan error)
	go func() { done <- far.Handshake() }()
	if err := near.Handshake(); err != nil {
		s.t.Fatal(err)
	}
	if err := <-done; err != nil {
		s.t.Fatal(err)
	}
	return near, far
}

// say sends text from one end and reads it at the other.
func say(t testing.TB, from, to net.Conn, text string) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := io.WriteString(from, text)
		done <- err
	}()
	b := make([]byte, len(text))
	if _, err := io.ReadFull(to, b); err != nil || string(b) != text {
		t.Fatalf("%d bytes came otherwise: %v", len(text), err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// memory is what lives, and the stacks.
func memory() uint64 {
	for range 3 { // pools forget in two steps
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// tunnelEnds is the outer ends of a tunnel, both in the hands of a test.
type tunnelEnds struct{ client, origin net.Conn }

// tunnels opens n of them through both halves.
type tunnels struct {
	t      testing.TB
	made   *sockets
	edge   *edge
	pool   *smallPool
	origin net.Conn // of the tunnel that is being opened
}

func newTunnels(t testing.TB, secure bool) *tunnels {
	m := &tunnels{t: t, made: newSockets(t, secure)}
	m.pool = newPool(t, newOrigin(t))
	m.edge = newEdge(t, stream.ServiceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
		c, err := m.pool.getFrom(func() (net.Conn, error) {
			near, far := m.made.open()
			m.origin = far
			go m.accept(far)
			return near, nil
		})
		if err != nil {
			return nil, stream.AsFault(err)
		}
		return c.Serve(ctx, req)
	}))
	return m
}

// accept switches as an upstream does.
func (m *tunnels) accept(far net.Conn) {
	b := make([]byte, 1000)
	for n := 0; !strings.HasSuffix(string(b[:n]), "\r\n\r\n"); {
		got, err := far.Read(b[n:])
		if err != nil {
			m.t.Error(err)
			return
		}
		n += got
	}
	io.WriteString(far, "HTTP/1.1 101 \r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "+sampleAccept+"\r\n\r\n")
}

func (m *tunnels) open() tunnelEnds {
	client, near := m.made.open()
	f := facts(near)
	if m.made.server != nil {
		f.TLS = new(stream.TLS)
	}
	m.edge.goes.run(func() { m.edge.Serve(context.Background(), near, f) })
	io.WriteString(client, upgrade)
	b := make([]byte, 1000)
	for n := 0; !strings.HasSuffix(string(b[:n]), "\r\n\r\n"); {
		got, err := client.Read(b[n:])
		if err != nil {
			m.t.Fatal(err)
		}
		n += got
	}
	return tunnelEnds{client, m.origin}
}

func (e tunnelEnds) close() {
	e.client.Close()
	e.origin.Close()
}

// perQuietTunnel is the memory of one of n tunnels through which something has
// moved: all that is there, less what the outer ends hold when they talk to
// each other directly. own leaves out what package crypto/tls holds of our two
// ends, which is as much as it holds of the outer ones: some 6 KB, and up to 28
// KB once it has read large records, which it never gives back.
func perQuietTunnel(t testing.TB, secure bool, n int, texts ...string) (all, own int) {
	direct := newSockets(t, secure)
	var ends []tunnelEnds
	before := memory()
	for range n {
		client, origin := direct.open()
		for _, text := range texts {
			say(t, client, origin, text)
			say(t, origin, client, text)
		}
		ends = append(ends, tunnelEnds{client, origin})
	}
	outer := memory() - before
	for _, e := range ends {
		e.close()
	}
	ends = nil

	m := newTunnels(t, secure)
	before = memory()
	for range n {
		e := m.open()
		for _, text := range texts {
			say(t, e.client, e.origin, text)
			say(t, e.origin, e.client, text)
		}
		ends = append(ends, e)
	}
	everything := memory() - before
	if open := m.edge.Stats.Open.Load(); open != int64(n) {
		t.Fatalf("%d tunnels are open, want %d", open, n)
	}
	for _, e := range ends {
		e.close()
	}
	all = (int(everything) - int(outer)) / n
	if own = all; secure {
		own -= int(outer) / n
	}
	return all, own
}

// A quiet tunnel holds no page, whatever has moved through it before.
func TestQuietTunnel(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes everything larger")
	}
	for _, secure := range []bool{false, true} {
		for name, text := range map[string]string{
			"small": strings.Repeat("a", 100), "a record": strings.Repeat("a", 16<<10), "much": strings.Repeat("a", 100_000),
		} {
			t.Run(fmt.Sprintf("%s, TLS %v", name, secure), func(t *testing.T) {
				all, own := perQuietTunnel(t, secure, 60, text, "bye")
				limit := maxQuietTunnel
				if secure {
					limit = maxQuietTLS
				}
				if own > limit {
					t.Errorf("%d bytes per tunnel, %d without those of crypto/tls, want at most %d", all, own, limit)
				}
			})
		}
	}
}

// What moves through a tunnel is what was sent, whichever size the reads have.
func TestQuietSizes(t *testing.T) {
	for _, secure := range []bool{false, true} {
		m := newTunnels(t, secure)
		e := m.open()
		defer e.close()
		for _, size := range []int{1, quietSize - 1, quietSize, quietSize + 1, 2 * quietSize, bulkSize, 16 << 10, 16<<10 + 1, 1, pageSize, 300_000, quietSize, 1} {
			text := strings.Repeat("0123456789", size/10+1)[:size]
			say(t, e.client, e.origin, text)
			say(t, e.origin, e.client, text)
		}
	}
}

// BenchmarkQuietTunnel reports the memory of a quiet tunnel.
func BenchmarkQuietTunnel(b *testing.B) {
	for _, secure := range []bool{false, true} {
		b.Run(fmt.Sprintf("TLS=%v", secure), func(b *testing.B) {
			for b.Loop() {
				all, own := perQuietTunnel(b, secure, 1000, strings.Repeat("a", 100))
				b.ReportMetric(float64(all), "B/tunnel")
				b.ReportMetric(float64(own), "own-B/tunnel")
			}
		})
	}
}

// BenchmarkTunnelBulk is 1 MiB down through a tunnel.
func BenchmarkTunnelBulk(b *testing.B) {
	for _, secure := range []bool{false, true} {
		b.Run(fmt.Sprintf("TLS=%v", secure), func(b *testing.B) {
			m := newTunnels(b, secure)
			e := m.open()
			defer e.close()
			content := make([]byte, 1<<20)
			r := bufio.NewReaderSize(e.client, 64<<10)
			b.SetBytes(1 << 20)
			for b.Loop() {
				go e.origin.Write(content)
				if _, err := io.CopyN(io.Discard, r, 1<<20); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
