package websocket

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/weirproxy/weir/stream"
)

// conn is the Duplex of a connection to an upstream, with what was read ahead.
type conn struct {
	net.Conn
	r *bufio.Reader
}

func (c *conn) Read(p []byte) (int, error) { return c.r.Read(p) }
func (c *conn) CloseWrite() error          { return c.Conn.(*net.TCPConn).CloseWrite() }
func (c *conn) Trailer() *stream.Header    { return nil }

// proxy passes heads on as they are and tunnels through a stage, as the codecs
// do.
type proxy struct {
	*Stage
	ln   net.Listener
	work sync.WaitGroup
}

func newProxy(t *testing.T, upstream string) *proxy {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{ln: ln}
	p.Stage = New(stream.ServiceFunc(func(context.Context, *stream.Request) (*stream.Response, error) {
		nc, err := net.Dial("tcp", upstream)
		if err != nil {
			return nil, &stream.Fault{Kind: stream.ConnectFailed, Cause: err}
		}
		return &stream.Response{Status: 101, Body: &conn{nc, bufio.NewReader(nc)}}, nil
	}), Config{Log: slog.New(slog.DiscardHandler)})
	p.work.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			p.work.Go(func() { p.serve(t, nc) })
		}
	})
	t.Cleanup(func() { ln.Close(); p.work.Wait() })
	return p
}

func (p *proxy) serve(t *testing.T, nc net.Conn) {
	defer nc.Close()
	client := bufio.NewReader(nc)
	head := readHead(t, client)
	inner := p.next
	// The heads pass before the stage sees the tunnel.
	resp, err := New(inner, Config{}).Serve(context.Background(), &stream.Request{})
	if err != nil {
		t.Error(err)
		return
	}
	up := resp.Body.(*conn)
	io.WriteString(up, head)
	io.WriteString(nc, readHead(t, up.r))
	d := p.open(up, &stream.Request{Conn: &stream.Conn{}})
	defer d.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := io.Copy(struct{ io.Writer }{d}, client); err != nil {
			d.Close()
		} else {
			d.CloseWrite()
		}
	}()
	if _, err := io.Copy(nc, struct{ io.Reader }{d}); err != nil {
		nc.Close()
	} else {
		nc.(*net.TCPConn).CloseWrite()
	}
	<-done
}

func readHead(t *testing.T, r *bufio.Reader) string {
	var head strings.Builder
	for {
		line, err := r.ReadString('\n')
		head.WriteString(line)
		if err != nil || line == "\r\n" {
			return head.String()
		}
	}
}

// With a real client and a real server: messages that are under way arrive
// whole, then both see 1001.
func TestDrainInterop(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	served := make(chan error, 1)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			served <- err
			return
		}
		c.SetReadLimit(-1)
		for {
			kind, b, err := c.Read(ctx)
			if err != nil {
				served <- err
				return
			}
			if err := c.Write(ctx, kind, b); err != nil {
				served <- err
				return
			}
		}
	}))
	defer origin.Close()
	p := newProxy(t, origin.Listener.Addr().String())
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	c, _, err := websocket.Dial(ctx, "ws://"+p.ln.Addr().String(), &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	c.SetReadLimit(-1)
	for _, size := range []int{0, 10, 125, 126, 70000, 3 << 20} {
		text := strings.Repeat("x", size)
		if err := c.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, b, err := c.Read(ctx); err != nil || string(b) != text {
			t.Fatalf("%d bytes: got %d, %v", size, len(b), err)
		}
	}
	// One large message is on its way down when the drain begins.
	if err := c.Write(ctx, websocket.MessageBinary, make([]byte, 8<<20)); err != nil {
		t.Fatal(err)
	}
	p.Drain(0)
	if _, b, err := c.Read(ctx); err != nil || len(b) != 8<<20 {
		t.Errorf("the message under way: %d bytes, %v", len(b), err)
	}
	_, _, err = c.Read(ctx)
	if status := websocket.CloseStatus(err); status != websocket.StatusGoingAway {
		t.Errorf("the client got %v", err)
	}
	if status := websocket.CloseStatus(<-served); status != websocket.StatusGoingAway {
		t.Errorf("the server got %v", status)
	}
	if n := p.stats.Forced.Load(); n != 0 {
		t.Errorf("%d forced", n)
	}
	var closed websocket.CloseError
	if !errors.As(err, &closed) {
		t.Errorf("%T", err)
	}
}
