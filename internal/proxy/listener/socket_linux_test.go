package listener

import (
	"context"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirproxy/weir/stream"
)

// TestSocketOptions: each connection has the options that the listening socket
// was given.
func TestSocketOptions(t *testing.T) {
	type option struct {
		name             string
		level, opt, want int
	}
	options := []option{
		{"SO_KEEPALIVE", syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
		{"TCP_KEEPIDLE", syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, int(probeIdle / time.Second)},
		{"TCP_KEEPINTVL", syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, int(probeInterval / time.Second)},
		{"TCP_KEEPCNT", syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, probeCount},
		{"TCP_NODELAY", syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1},
	}
	got := make(chan []int, 1)
	l := start(t, Config{}, func(nc net.Conn, _ *stream.Conn) {
		var values []int
		rc, err := nc.(*net.TCPConn).SyscallConn()
		if err == nil {
			rc.Control(func(fd uintptr) {
				for _, o := range options {
					value, err := syscall.GetsockoptInt(int(fd), o.level, o.opt)
					if err != nil {
						value = -1
					}
					values = append(values, value)
				}
			})
		}
		got <- values
	})
	dial(t, l)
	values := <-got
	if len(values) != len(options) {
		t.Fatalf("got %v", values)
	}
	for i, o := range options {
		if values[i] != o.want {
			t.Errorf("%s is %d, want %d", o.name, values[i], o.want)
		}
	}
}

// told is a log handler that tells of each record.
type told struct {
	slog.Handler
	records chan string
}

func (h told) WithAttrs([]slog.Attr) slog.Handler { return h }

func (h told) Enabled(context.Context, slog.Level) bool { return true }

func (h told) Handle(_ context.Context, r slog.Record) error {
	select {
	case h.records <- r.Message:
	default:
	}
	return nil
}

// TestDescriptorsUsedUp takes every descriptor away from the process, for
// real: the connection in the backlog is served once there is one again.
func TestDescriptorsUsedUp(t *testing.T) {
	log := told{slog.DiscardHandler, make(chan string, 1)}
	l, err := Open(Config{Network: "tcp", Address: "127.0.0.1:0", Log: slog.New(log)})
	if err != nil {
		t.Fatal(err)
	}
	nc := dial(t, l)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	lowered := limit
	lowered.Cur = lowestFree(t)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lowered); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- l.Serve(echo) }()
	message := <-log.records
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(message, "accept failed; trying again; this process has no descriptor left") || l.Stats.AcceptErrors.Load() == 0 {
		t.Errorf("logged %q, %d accept errors", message, l.Stats.AcceptErrors.Load())
	}
	if !answers(t, nc) {
		t.Error("the connection was not served once there were descriptors")
	}
	l.Stop()
	l.CloseAll()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if err := l.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

// lowestFree is the number that the next descriptor would get.
func lowestFree(t *testing.T) uint64 {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return uint64(f.Fd())
}
