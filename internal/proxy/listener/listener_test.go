package listener

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirproxy/weir/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

// start serves on an open listener and ends it with the test.
func start(t *testing.T, cfg Config, handle Handler) *Listener {
	t.Helper()
	if cfg.Network == "" {
		cfg.Network, cfg.Address = "tcp", "127.0.0.1:0"
	}
	cfg.Name, cfg.Log = "public", quietLog()
	l, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- l.Serve(handle) }()
	t.Cleanup(func() {
		l.Stop()
		l.CloseAll()
		if err := l.Wait(t.Context()); err != nil && t.Context().Err() == nil {
			t.Errorf("Wait: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return l
}

func dial(t *testing.T, l *Listener) net.Conn {
	t.Helper()
	nc, err := net.Dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return nc
}

// echo answers one byte per byte until the peer closes.
func echo(nc net.Conn, _ *stream.Conn) { io.Copy(nc, nc) }

// answers tells whether the other side echoes; a refused connection is closed
// without a byte.
func answers(t *testing.T, nc net.Conn) bool {
	t.Helper()
	nc.Write([]byte{1}) // fails on a connection that is closed already; the read tells
	var b [1]byte
	n, err := nc.Read(b[:])
	if n == 0 && err == nil {
		t.Fatal("read nothing without an error")
	}
	return n == 1
}

func TestFactsOfAConnection(t *testing.T) {
	got := make(chan *stream.Conn, 2)
	l := start(t, Config{}, func(nc net.Conn, facts *stream.Conn) { got <- facts })
	before := time.Now()
	nc := dial(t, l)
	facts := <-got
	if want := nc.LocalAddr().(*net.TCPAddr).AddrPort(); facts.Remote != want {
		t.Errorf("Remote %v, want %v", facts.Remote, want)
	}
	if want := nc.RemoteAddr().(*net.TCPAddr).AddrPort(); facts.Local != want {
		t.Errorf("Local %v, want %v", facts.Local, want)
	}
	if facts.Listener != "public" || facts.TLS != nil || facts.Accepted.Before(before) {
		t.Errorf("facts are %+v", facts)
	}
	dial(t, l)
	if second := <-got; second.ID == facts.ID {
		t.Errorf("two connections have the number %d", second.ID)
	}
}

func TestDualStackAddressesArePlain(t *testing.T) {
	got := make(chan netip.Addr, 1)
	l := start(t, Config{Network: "tcp", Address: ":0"}, func(nc net.Conn, facts *stream.Conn) { got <- facts.Remote.Addr() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, host := range []string{"127.0.0.1", "::1"} {
		nc, err := net.Dial("tcp", net.JoinHostPort(host, port))
		if err != nil {
			if host == "::1" {
				t.Skipf("no IPv6 here: %v", err)
			}
			t.Fatal(err)
		}
		if addr := <-got; addr.String() != host {
			t.Errorf("connected from %s, Remote is %v", host, addr)
		}
		nc.Close()
	}
}

func TestLimits(t *testing.T) {
	for _, tt := range []struct {
		name  string
		cfg   Config
		count func(*Stats) int64
	}{
		{"total", Config{MaxConnections: 2}, func(s *Stats) int64 { return s.RefusedFull.Load() }},
		{"per client", Config{MaxPerClient: 2}, func(s *Stats) int64 { return s.RefusedClient.Load() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ended := make(chan struct{}, 3)
			l := start(t, tt.cfg, func(nc net.Conn, facts *stream.Conn) {
				echo(nc, facts)
				ended <- struct{}{}
			})
			first, second := dial(t, l), dial(t, l)
			if !answers(t, first) || !answers(t, second) {
				t.Fatal("a connection within the limit was refused")
			}
			if answers(t, dial(t, l)) {
				t.Fatal("a connection over the limit was served")
			}
			if n := tt.count(&l.Stats); n != 1 || l.Stats.Accepted.Load() != 2 || l.Stats.Open.Load() != 2 {
				t.Errorf("refused %d, accepted %d, open %d", n, l.Stats.Accepted.Load(), l.Stats.Open.Load())
			}
			l.SetLimits(3, 3)
			if !answers(t, dial(t, l)) {
				t.Error("the raised limit is not in force")
			}
		})
	}
}

func TestAPanicEndsItsConnectionOnly(t *testing.T) {
	l := start(t, Config{}, func(nc net.Conn, facts *stream.Conn) {
		var b [1]byte
		for {
			if _, err := nc.Read(b[:]); err != nil {
				return
			}
			if b[0] == 'p' {
				panic("on purpose")
			}
			nc.Write(b[:])
		}
	})
	steady, doomed := dial(t, l), dial(t, l)
	if !answers(t, steady) || !answers(t, doomed) {
		t.Fatal("not served")
	}
	doomed.Write([]byte("p"))
	if _, err := doomed.Read(make([]byte, 1)); err == nil {
		t.Error("the connection of the panic is still open")
	}
	if !answers(t, steady) {
		t.Error("the panic ended another connection")
	}
	if n := l.Stats.Panics.Load(); n != 1 {
		t.Errorf("%d panics counted", n)
	}
}

func TestStopWaitCloseAll(t *testing.T) {
	l := start(t, Config{}, echo)
	nc := dial(t, l)
	if !answers(t, nc) {
		t.Fatal("not served")
	}
	address := l.Addr().String()
	l.Stop()
	l.Stop()
	if other, err := net.Dial("tcp", address); err == nil {
		other.Close()
		t.Error("a stopped listener accepts")
	}
	if !answers(t, nc) {
		t.Error("Stop ended a connection")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait with an open connection: %v", err)
	}
	l.CloseAll()
	if err := l.Wait(t.Context()); err != nil {
		t.Errorf("Wait after CloseAll: %v", err)
	}
	if n := l.Stats.Open.Load(); n != 0 {
		t.Errorf("%d open after Wait", n)
	}
}

func TestStopBeforeServe(t *testing.T) {
	l, err := Open(Config{Network: "tcp", Address: "127.0.0.1:0", Log: quietLog()})
	if err != nil {
		t.Fatal(err)
	}
	l.Stop()
	if err := l.Serve(echo); err != nil {
		t.Errorf("Serve after Stop: %v", err)
	}
	if err := l.Wait(t.Context()); err != nil {
		t.Errorf("Wait: %v", err)
	}
}

func TestServeTwiceIsRefused(t *testing.T) {
	l := start(t, Config{}, echo)
	if !answers(t, dial(t, l)) {
		t.Fatal("not served")
	}
	if err := l.Serve(echo); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("second Serve: %v", err)
	}
}

func TestSetHandler(t *testing.T) {
	reply := func(text string) Handler {
		return func(nc net.Conn, _ *stream.Conn) { nc.Write([]byte(text)) }
	}
	l := start(t, Config{}, reply("old"))
	read := func() string {
		b, err := io.ReadAll(dial(t, l))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if got := read(); got != "old" {
		t.Fatalf("got %q", got)
	}
	l.SetHandler(reply("new"))
	if got := read(); got != "new" {
		t.Errorf("after the swap: %q", got)
	}
}

func TestOpenSaysWhatToDo(t *testing.T) {
	l := start(t, Config{}, echo)
	for _, tt := range []struct{ network, address, want string }{
		{"tcp", l.Addr().String(), "another process, or another listener, has that address"},
		{"tcp", "192.0.2.1:0", "does not have that address"},
		{"udp", "127.0.0.1:0", "neither tcp nor unix"},
		{"unix", "/" + strings.Repeat("x", 200), "at most"},
		{"unix", "/nowhere-to-be-found/weir.sock", "no such file"},
	} {
		got, err := Open(Config{Name: "public", Network: tt.network, Address: tt.address})
		if err == nil {
			got.Stop()
			t.Errorf("%s %s: opened", tt.network, tt.address)
		} else if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "listener public: ") {
			t.Errorf("%s %s: %v, want %q", tt.network, tt.address, err, tt.want)
		}
	}
}
