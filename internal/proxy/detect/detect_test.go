package detect

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	wait  = 500 * time.Millisecond
	limit = 10 * time.Second
)

func stage(change func(*Config)) *Stage {
	cfg := Config{
		ProxyFrom: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")},
		Wait:      wait, Dog: new(watchdog.Dog),
	}
	cfg.Phases[stream.PhaseProxyHeader] = stream.PhaseLimit{Ceiling: limit}
	cfg.Phases[stream.PhaseHello] = stream.PhaseLimit{Ceiling: limit}
	if change != nil {
		change(&cfg)
	}
	return New(cfg)
}

// client is the far side of a connection.
type client struct {
	net.Conn
	said chan struct{} // closed when it has said everything
}

// connect makes a connection whose client writes each piece after a pause, and
// ends it if the last one is "FIN".
func connect(t *testing.T, pause time.Duration, pieces ...string) (near net.Conn, far *client) {
	near, nc := net.Pipe()
	far = &client{nc, make(chan struct{})}
	go func() {
		defer close(far.said)
		for _, p := range pieces {
			time.Sleep(pause)
			if p == "FIN" {
				far.Close()
				return
			}
			if _, err := io.WriteString(far, p); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		near.Close()
		far.Close()
		<-far.said
	})
	return near, far
}

// rest is what comes out of nc until it ends; the far side is closed.
func rest(t *testing.T, nc net.Conn, far *client) string {
	t.Helper()
	go func() { <-far.said; far.Close() }()
	b, err := io.ReadAll(nc)
	if err != nil {
		t.Errorf("reading the rest: %v", err) // a deadline was left behind
	}
	return string(b)
}

func TestAcceptProxy(t *testing.T) {
	const line = "PROXY TCP4 192.0.2.1 192.0.2.2 1111 443\r\n"
	balancer, stranger := netip.MustParseAddrPort("10.1.1.1:5555"), netip.MustParseAddrPort("203.0.113.9:6666")
	local := netip.MustParseAddrPort("10.9.9.9:80")
	cases := []struct {
		name   string
		remote netip.AddrPort
		direct bool
		pieces []string
		kind   stream.Kind // Internal: none
		client string
		rest   string
		want   func(*Stats) int64
	}{
		{"header", balancer, false, []string{line + "GET /"}, stream.Internal, "192.0.2.1:1111", "GET /", func(s *Stats) int64 { return s.ProxyRead.Load() }},
		{"in pieces", balancer, false, []string{line[:3], line[3:30], line[30:] + "GET", " /"}, stream.Internal, "192.0.2.1:1111", "GET /", func(s *Stats) int64 { return s.ProxyRead.Load() }},
		{"local", balancer, false, []string{"PROXY UNKNOWN\r\nGET /"}, stream.Internal, "10.1.1.1:5555", "GET /", func(s *Stats) int64 { return s.ProxyLocal.Load() }},
		{"mapped peer", netip.MustParseAddrPort("[::ffff:10.1.1.1]:5555"), false, []string{line}, stream.Internal, "192.0.2.1:1111", "", func(s *Stats) int64 { return s.ProxyRead.Load() }},
		{"Unix socket", netip.AddrPort{}, false, []string{line}, stream.Internal, "192.0.2.1:1111", "", func(s *Stats) int64 { return s.ProxyRead.Load() }},
		{"missing", balancer, false, []string{"GET / HTTP/1.1\r\n"}, stream.ProxyHeaderBad, "", "", func(s *Stats) int64 { return s.ProxyBad.Load() }},
		{"missing, others direct", balancer, true, []string{"GET / HTTP/1.1\r\n"}, stream.ProxyHeaderBad, "", "", func(s *Stats) int64 { return s.ProxyBad.Load() }},
		{"malformed", balancer, false, []string{"PROXY TCP5 "}, stream.ProxyHeaderBad, "", "", nil},
		{"malformed to its end", balancer, false, []string{"PROXY TCP4 x\r\n"}, stream.ProxyHeaderBad, "", "", func(s *Stats) int64 { return s.ProxyBad.Load() }},
		{"cut off", balancer, false, []string{line[:20], "FIN"}, stream.ProxyHeaderBad, "", "", func(s *Stats) int64 { return s.ProxyBad.Load() }},
		{"silent", balancer, false, nil, stream.HeadTimeout, "", "", func(s *Stats) int64 { return s.TimedOut.Load() }},
		{"a byte now and then", balancer, false, []string{"P", "R", "O", "X", "Y", " ", "T", "C", "P", "4", " ", "1"}, stream.HeadTimeout, "", "", func(s *Stats) int64 { return s.TimedOut.Load() }},
		{"gone", balancer, false, []string{"FIN"}, stream.ClientGone, "", "", func(s *Stats) int64 { return s.Gone.Load() }},
		{"stranger refused", stranger, false, []string{line}, stream.ProxyHeaderBad, "", "", func(s *Stats) int64 { return s.ProxyRefused.Load() }},
		{"stranger direct", stranger, true, []string{"GET /"}, stream.Internal, "203.0.113.9:6666", "GET /", func(s *Stats) int64 { return s.ProxyDirect.Load() }},
		{"stranger pretends", stranger, true, []string{line}, stream.Internal, "203.0.113.9:6666", line, func(s *Stats) int64 { return s.ProxyDirect.Load() }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.want == nil {
				c.want = func(*Stats) int64 { return 1 }
				c.pieces = append(c.pieces, "FIN")
			}
			synctest.Test(t, func(t *testing.T) {
				near, far := connect(t, time.Second, c.pieces...)
				s := stage(func(cfg *Config) { cfg.ProxyDirect = c.direct })
				facts := &stream.Conn{Remote: c.remote, Local: local}
				began := time.Now()
				nc, f := s.AcceptProxy(t.Context(), near, facts)
				if c.want(&s.Stats) != 1 {
					t.Error("it was not counted")
				}
				if c.kind != stream.Internal {
					if f == nil || f.Kind != c.kind || nc != nil || facts.Remote != c.remote || facts.Local != local || facts.Peer.IsValid() {
						t.Fatalf("%v, facts %+v", f, facts)
					}
					if took := time.Since(began); took > limit+time.Second {
						t.Errorf("took %v", took)
					}
					return
				}
				if f != nil {
					t.Fatal(f)
				}
				if facts.Remote.String() != c.client {
					t.Errorf("the client is %v, want %v", facts.Remote, c.client)
				}
				if changed := facts.Remote != c.remote; changed != (facts.Local.String() == "192.0.2.2:443") || changed && facts.Peer != c.remote {
					t.Errorf("facts %+v", facts)
				}
				if got := rest(t, nc, far); got != c.rest {
					t.Errorf("behind the header %q, want %q", got, c.rest)
				}
			})
		})
	}
}

// capture is the hello that crypto/tls sends.
func capture(t testing.TB, cfg *tls.Config) string {
	t.Helper()
	var out bytes.Buffer
	_ = tls.Client(recorder{&out}, cfg).Handshake()
	return out.String()
}

type recorder struct{ out *bytes.Buffer }

func (r recorder) Write(p []byte) (int, error)      { return r.out.Write(p) }
func (r recorder) Read([]byte) (int, error)         { return 0, io.EOF }
func (r recorder) Close() error                     { return nil }
func (r recorder) LocalAddr() net.Addr              { return nil }
func (r recorder) RemoteAddr() net.Addr             { return nil }
func (r recorder) SetDeadline(time.Time) error      { return nil }
func (r recorder) SetReadDeadline(time.Time) error  { return nil }
func (r recorder) SetWriteDeadline(time.Time) error { return nil }

func TestPeekHello(t *testing.T) {
	hello := capture(t, &tls.Config{ServerName: "shop.example.com", NextProtos: []string{"h2"}})
	records := ""
	for i := range len(hello) - 5 {
		records += "\x16\x03\x01\x00\x01" + hello[5+i:6+i]
	}
	cases := []struct {
		name   string
		pieces []string
		kind   stream.Kind // Internal: none
		host   string
		want   func(*Stats) int64
	}{
		{"at once", []string{hello}, stream.Internal, "shop.example.com", func(s *Stats) int64 { return s.HelloRead.Load() }},
		{"two segments", []string{hello[:60], hello[60:]}, stream.Internal, "shop.example.com", func(s *Stats) int64 { return s.HelloRead.Load() }},
		{"a record for each byte", []string{records}, stream.Internal, "shop.example.com", func(s *Stats) int64 { return s.HelloRead.Load() }},
		{"not TLS", []string{"SSH-2.0-x\r\n"}, stream.Internal, "", func(s *Stats) int64 { return s.HelloNone.Load() }},
		{"malformed", []string{"\x16\x03\x01\x00\x04\x01\x00\x00\x00FIN", "FIN"}, stream.RequestMalformed, "", func(s *Stats) int64 { return s.HelloBad.Load() }},
		{"cut off", []string{hello[:60], "FIN"}, stream.RequestMalformed, "", func(s *Stats) int64 { return s.HelloBad.Load() }},
		{"gone", []string{"FIN"}, stream.ClientGone, "", func(s *Stats) int64 { return s.Gone.Load() }},
		{"silent", nil, stream.HeadTimeout, "", func(s *Stats) int64 { return s.TimedOut.Load() }},
		{"stalled", []string{hello[:60]}, stream.HeadTimeout, "", func(s *Stats) int64 { return s.TimedOut.Load() }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := connect(t, time.Second, c.pieces...)
				s, facts := stage(nil), new(stream.Conn)
				nc, got, f := s.PeekHello(t.Context(), near, facts)
				if c.want(&s.Stats) != 1 {
					t.Error("it was not counted")
				}
				if c.kind != stream.Internal {
					if f == nil || f.Kind != c.kind || nc != nil || got != nil || facts.Hello != nil {
						t.Fatalf("%v, %v", f, got)
					}
					return
				}
				if f != nil || got != facts.Hello || (got == nil) != (c.host == "") {
					t.Fatalf("%v, %v", f, got)
				}
				if got != nil && (got.ServerName != c.host || !slices.Equal(got.ALPN, []string{"h2"})) {
					t.Errorf("%+v", got)
				}
				all := ""
				for _, p := range c.pieces {
					all += p
				}
				if rest(t, nc, far) != all {
					t.Error("what was read did not come through")
				}
			})
		})
	}
}

func TestContextEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for range 2 {
			near, _ := connect(t, 0)
			s, began := stage(nil), time.Now()
			if _, _, f := s.PeekHello(ctx, near, new(stream.Conn)); f == nil || f.Kind != stream.Draining {
				t.Errorf("%v", f)
			}
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("took %v", took)
			}
		}
	})
}

func TestProtocol(t *testing.T) {
	hello := capture(t, &tls.Config{ServerName: "a.example"})
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	cases := []struct {
		name   string
		pieces []string
		want   Protocol
		waited bool
	}{
		{"TLS", []string{hello}, TLS, false},
		{"TLS, byte by byte", []string{hello[:1], hello[1:2], hello[2:5], hello[5:9]}, TLS, false},
		{"broken TLS", []string{"\x16\x03\x01\x00\x00"}, TLS, false},
		{"HTTP/1", []string{"GET / HTTP/1.1\r\nHost: a\r\n\r\n"}, HTTP1, false},
		{"HTTP/1 in pieces", []string{"P", "O", "ST", " ", "/"}, HTTP1, false},
		{"absolute form", []string{"GET http://a/ HTTP/1.1\r\n"}, HTTP1, false},
		{"absolute form of https", []string{"GET HTTPS://a/ HTTP/1.1\r\n"}, HTTP1, false},
		{"asterisk form", []string{"OPTIONS * HTTP/1.1\r\n"}, HTTP1, false},
		{"CONNECT", []string{"CONNECT a:443 HTTP/1.1\r\n"}, HTTP1, false},
		{"longest method", []string{"UPDATEREDIRECTREF https://a"}, HTTP1, false},
		{"HTTP/2", []string{preface}, HTTP2, false},
		{"HTTP/2 in pieces", []string{"PR", "I * HTT", "P/2.0\r\n"}, HTTP2, false},
		{"a method PRI", []string{"PRI /x HTTP/1.1\r\n"}, HTTP1, false},
		{"SSH", []string{"SSH-2.0-OpenSSH_9\r\n"}, Opaque, false},
		{"Redis", []string{"*1\r\n$4\r\nPING\r\n"}, Opaque, false},
		{"Redis inline", []string{"SET key value\r\n"}, Opaque, false},
		{"memcached", []string{"get key\r\n"}, Opaque, false},
		{"PostgreSQL", []string{"\x00\x00\x00\x08\x04\xd2\x16\x2f"}, Opaque, false},
		{"a long word", []string{"THISISALONGERWORDTHANANYMETHOD /"}, Opaque, false},
		{"CRLF first", []string{"\r\nGET / HTTP/1.1"}, Opaque, false},
		{"nothing", nil, Opaque, true},
		{"half of TLS", []string{"\x16\x03"}, Opaque, true},
		{"half of a method", []string{"GE"}, Opaque, true},
		{"half of a preface", []string{"PRI * HT"}, Opaque, true},
		{"ended at once", []string{"FIN"}, Opaque, false},
		{"ended inside", []string{"GE", "FIN"}, Opaque, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := connect(t, 10*time.Millisecond, c.pieces...)
				s, began := stage(nil), time.Now()
				nc, p, f := s.Protocol(near)
				took := time.Since(began)
				if f != nil || p != c.want || s.Stats.Detected[p].Load() != 1 {
					t.Fatalf("%v, %v; want %v", p, f, c.want)
				}
				if c.waited != (took == wait) || took > wait || c.waited != (s.Stats.Quiet.Load() == 1) {
					t.Errorf("took %v", took)
				}
				all := ""
				for _, p := range c.pieces {
					if p != "FIN" {
						all += p
					}
				}
				if got := rest(t, nc, far); got != all {
					t.Errorf("%q came through, want %q", got, all)
				}
			})
		})
	}
}

// TestProtocolEndsInTime: bytes that decide nothing do not prolong the wait.
func TestProtocolEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, _ := connect(t, 100*time.Millisecond, "G", "E", "T", "T", "T", "T", "T", "T", "T", "T", "T")
		s, began := stage(nil), time.Now()
		if _, p, f := s.Protocol(near); f != nil || p != Opaque || time.Since(began) != wait {
			t.Errorf("%v, %v after %v", p, f, time.Since(began))
		}
	})
}

// FuzzClassify: more bytes never contradict what was told, and the longest
// look always tells.
func FuzzClassify(f *testing.F) {
	for _, s := range []string{"GET / HTTP/1.1", "PRI * HTTP/2.0\r\n", "\x16\x03\x01\x02\x00\x01\x00", "UPDATEREDIRECTREF https://", "SSH-2.0", "CONNECT a", "GET http"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var first Protocol
		told := false
		for n := range len(b) + 1 {
			p, now := classify(b[:n])
			switch {
			case told && (!now || p != first):
				t.Fatalf("%q: %v, and with %d bytes %v (%v)", b, first, n, p, now)
			case now && !told:
				first, told = p, true
			case !now && n >= longestLook:
				t.Fatalf("%q: nothing told of %d bytes", b, n)
			}
		}
	})
}
