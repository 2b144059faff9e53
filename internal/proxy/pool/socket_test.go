package pool

import (
	"context"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

// rawConn reads and writes lines on a real socket.
type rawConn struct {
	net.Conn
	release func(bool)
}

func (c *rawConn) Serve(context.Context, *stream.Request) (*stream.Response, error) {
	buf := make([]byte, 3)
	if _, err := io.WriteString(c, "hi\n"); err == nil {
		_, err = io.ReadFull(c, buf)
		if err == nil && strings.HasPrefix(string(buf), "ok") {
			c.release(true)
			return &stream.Response{Status: 200, Body: stream.NoBody}, nil
		}
	}
	return nil, &stream.Fault{Kind: stream.UpstreamClosed, Retry: stream.RetryUnsent}
}

// TestRealSocket: a closed connection, and one with unasked bytes, are not
// used again.
func TestRealSocket(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 4)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	load := endpoint.NewLoad(0, 0)
	ep := endpoint.New(endpoint.Spec{Network: "tcp", Address: l.Addr().String(), Weight: 1}, load, time.Now())
	pool := NewTransport(NewGroup(Config{MaxIdle: 4}), ep, func(_ context.Context, _ time.Time, release func(bool)) (*rawConn, net.Conn, error) {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return nil, nil, &stream.Fault{Kind: stream.ConnectFailed, Cause: err}
		}
		return &rawConn{nc, release}, nc, nil
	})
	defer pool.Drain()
	exchange := func() (*stream.Request, net.Conn) {
		t.Helper()
		req, done := request(), make(chan net.Conn, 1)
		ep.Began()
		load.Enter()
		go func() {
			c := <-accepted
			buf := make([]byte, 3)
			if _, err := io.ReadFull(c, buf); err == nil {
				io.WriteString(c, "ok\n")
			}
			done <- c
		}()
		if _, err := pool.Serve(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		return req, <-done
	}
	for name, spoil := range map[string]func(net.Conn){
		"closed":       func(c net.Conn) { c.Close() },
		"unasked data": func(c net.Conn) { io.WriteString(c, "HTTP/1.1 408 Request Timeout\r\n\r\n") },
	} {
		if _, far := exchange(); far != nil {
			spoil(far)
			defer far.Close()
		}
		lease := pool.pop(&pool.shards[0])
		if lease == nil {
			t.Fatal("nothing pooled")
		}
		lease.nc.SetReadDeadline(time.Now().Add(10 * time.Second))
		waitReadable(t, lease.nc)
		lease.nc.SetReadDeadline(time.Time{})
		lease.pool.put(lease, time.Now().Add(-time.Second)) // idle for longer than peekAfter
		req, far := exchange()
		if req.Exchange.Reused {
			t.Errorf("%s: used again", name)
		}
		far.Close()
		pool.closeIdle()
	}
}

// waitReadable waits until there is something to read, the end included, and
// leaves it there.
func waitReadable(t *testing.T, nc net.Conn) {
	t.Helper()
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Read(func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return err != syscall.EAGAIN
	})
	if err != nil {
		t.Fatal(err)
	}
}
