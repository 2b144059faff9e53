package framed

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// script is a connection whose other end sends prepared bytes in pieces.
type script struct {
	net.Conn
	rest  []byte
	piece int
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.rest[:min(len(s.rest), s.piece)])
	s.rest = s.rest[n:]
	return n, nil
}

// testPhases are limits that no test reaches unless it means to.
func testPhases() (l stream.PhaseLimits) {
	for p := range stream.NumPhases {
		l[p] = stream.PhaseLimit{Idle: time.Hour, Ceiling: 24 * time.Hour}
	}
	return l
}

// refuse answers a fault with a status by its origin.
func refuse(_ context.Context, req *stream.Request, f *stream.Fault) *stream.Response {
	status := map[stream.Kind]int{
		stream.BodyTooLarge: 413, stream.RequestMalformed: 400, stream.HeadTimeout: 408, stream.Internal: 500,
	}[f.Kind]
	if status == 0 {
		status = 502
	}
	return text(status, f.Kind.String())
}

func text(status int, s string) *stream.Response {
	return &stream.Response{Status: status, Body: stream.BytesBody([]byte(s)), Length: int64(len(s))}
}

// post is a request with a body that is in memory.
func post(body string) *stream.Request {
	req := &stream.Request{Method: "POST", Target: stream.Target{Host: "h", Path: "/"}, Body: stream.BytesBody([]byte(body)), Length: int64(len(body)), Conn: new(stream.Conn)}
	if body == "" {
		req.Body = stream.NoBody
	}
	return req
}

// watched tells whether a body was closed.
type watched struct {
	stream.Body
	closed bool
}

func (w *watched) Close() error { w.closed = true; return w.Body.Close() }

// slowBody comes in pieces and is not in memory; it ends with err.
type slowBody struct {
	pieces []string
	err    error
}

func (b *slowBody) Read(p []byte) (int, error) {
	if len(b.pieces) == 0 {
		return 0, b.err
	}
	n := copy(p, b.pieces[0])
	if b.pieces[0] = b.pieces[0][n:]; b.pieces[0] == "" {
		b.pieces = b.pieces[1:]
	}
	return n, nil
}

func (b *slowBody) Close() error            { return nil }
func (b *slowBody) Trailer() *stream.Header { return nil }

// edge is a Server with a connection to it, in the clear and in memory or over
// loopback.
type edge struct {
	*Server
	t   testing.TB
	dog watchdog.Dog
	nc  net.Conn
	r   *bufio.Reader

	over chan struct{} // Serve has returned
	mu   sync.Mutex
	done []stream.Exchange
}

func newEdge(t testing.TB, service stream.Service, with ...func(*ServerConfig)) *edge {
	t.Helper()
	near, far := pair(t)
	return edgeOn(t, near, far, service, with...)
}

func edgeOn(t testing.TB, near, far net.Conn, service stream.Service, with ...func(*ServerConfig)) *edge {
	t.Helper()
	e := &edge{t: t, nc: far, r: bufio.NewReader(far), over: make(chan struct{})}
	cfg := ServerConfig{
		Framed: config.ListenerFramed{
			Framing: lines("\n", 100), Method: "POST", Host: "Lines.example", Path: "/in/./x?y", ContentType: "text/x-line",
			Error: "ERR {status} {reason} {status}",
		},
		Service: service, Refuse: refuse, Dog: &e.dog, Phases: testPhases(),
		Done: func(req *stream.Request) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.done = append(e.done, req.Exchange)
		},
	}
	for _, w := range with {
		w(&cfg)
	}
	var err error
	if e.Server, err = NewServer(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(e.over)
		e.Serve(ctx, near, &stream.Conn{ID: 1, Listener: "test"})
	}()
	t.Cleanup(func() {
		far.Close()
		cancel()
		<-e.over
	})
	return e
}

func (e *edge) send(s string) {
	e.t.Helper()
	if _, err := io.WriteString(e.nc, s); err != nil {
		e.t.Fatalf("send: %v", err)
	}
}

// want reads exactly these bytes.
func (e *edge) want(s string) {
	e.t.Helper()
	b := make([]byte, len(s))
	if n, err := io.ReadFull(e.r, b); err != nil || string(b) != s {
		e.t.Fatalf("got %q, %v, want %q", b[:n], err, s)
	}
}

// rest reads to the end of the connection, and waits for the end of Serve.
func (e *edge) rest() string {
	b, _ := io.ReadAll(e.r)
	e.nc.Close()
	<-e.over
	return string(b)
}

// exchanges are those that have ended.
func (e *edge) exchanges() []stream.Exchange {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.done
}

// pair is a connection over loopback.
func pair(t testing.TB) (near, far net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if far, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if near, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	far.SetDeadline(time.Now().Add(10 * time.Second))
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

// upper answers with the request in words, its body in upper case.
var upper = stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
	defer req.Body.Close()
	b, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	contentType, _ := req.Header.GetID(stream.ContentType)
	return text(200, fmt.Sprintf("%s %s %s %s %s %d %s", req.Proto, req.Method, req.Target.Host, req.Target.RequestURI(), contentType,
		req.Length, strings.ToUpper(string(b)))), nil
})
