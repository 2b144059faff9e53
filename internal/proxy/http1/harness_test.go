package http1

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testLimits = Limits{MaxHeaderCount: 100, MaxHeaderBytes: 64 << 10, MaxURIBytes: 8 << 10}

// testPhases are limits that no test reaches unless it means to.
var testPhases = func() (l stream.PhaseLimits) {
	for p := range stream.NumPhases {
		l[p] = stream.PhaseLimit{Idle: 30 * time.Second, Ceiling: 10 * time.Minute}
	}
	return l
}()

// goes starts goroutines and waits for them at the end of a test.
type goes struct{ sync.WaitGroup }

func (g *goes) run(f func()) {
	g.Add(1)
	go func() {
		defer g.Done()
		f()
	}()
}

// refuse answers a fault with its kind as text, the limit behind it.
func refuse(_ context.Context, req *stream.Request, f *stream.Fault) *stream.Response {
	status := map[stream.Kind]int{
		stream.RequestLineTooLong: 414, stream.HeadersTooLarge: 431, stream.TooManyHeaders: 431,
		stream.BodyTooLarge: 413, stream.VersionUnsupported: 505, stream.MethodUnsupported: 501,
		stream.ExpectationUnknown: 417, stream.HeadTimeout: 408, stream.BodyTimeout: 408,
		stream.Internal: 500, stream.RequestMalformed: 400, stream.ClientTooSlow: 408, stream.ClientGone: 499,
		stream.UpgradeRefused: 400, stream.UpstreamTimeout: 504, stream.UpstreamTooSlow: 504,
	}[f.Kind]
	if status == 0 {
		status = 502
	}
	return text(status, f.Kind.String()+" "+f.Limit)
}

func text(status int, s string) *stream.Response {
	return &stream.Response{Status: status, Body: stream.BytesBody([]byte(s)), Length: int64(len(s))}
}

// edge is a Server on a loopback listener.
type edge struct {
	*Server
	t    testing.TB
	ln   net.Listener
	goes goes
	dog  watchdog.Dog

	mu   sync.Mutex
	done []stream.Exchange
	ends chan struct{} // one for each done
}

// newEdge starts a Server in front of service; with changes its settings.
func newEdge(t testing.TB, service stream.Service, with ...func(*ServerConfig)) *edge {
	t.Helper()
	e := &edge{t: t, ends: make(chan struct{}, 10000)}
	cfg := ServerConfig{
		Limits: testLimits, Service: service, Refuse: refuse, Go: e.goes.run, Dog: &e.dog, Phases: testPhases,
		Done: func(req *stream.Request) {
			e.mu.Lock()
			e.done = append(e.done, req.Exchange)
			e.mu.Unlock()
			select {
			case e.ends <- struct{}{}:
			default:
			}
		},
	}
	for _, w := range with {
		w(&cfg)
	}
	e.Server = NewServer(cfg)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.ln = ln
	ctx, cancel := context.WithCancel(context.Background())
	e.goes.run(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			e.goes.run(func() { e.Serve(ctx, nc, facts(nc)) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		cancel()
		e.goes.Wait()
	})
	return e
}

func facts(nc net.Conn) *stream.Conn {
	return &stream.Conn{ID: 1, Listener: "test", Accepted: time.Now()}
}

// dial opens a connection that a test writes bytes to.
func (e *edge) dial() *peer {
	e.t.Helper()
	nc, err := net.Dial("tcp", e.ln.Addr().String())
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { nc.Close() })
	return newPeer(e.t, nc)
}

// exchange is the n-th finished exchange; it waits for it.
func (e *edge) exchange(n int) stream.Exchange {
	e.t.Helper()
	for {
		e.mu.Lock()
		if len(e.done) > n {
			defer e.mu.Unlock()
			return e.done[n]
		}
		e.mu.Unlock()
		select {
		case <-e.ends:
		case <-time.After(10 * time.Second):
			e.t.Fatal("the exchange did not end")
		}
	}
}

// peer is one end of a connection in the hands of a test.
type peer struct {
	t  testing.TB
	nc net.Conn
	r  *bufio.Reader
}

func newPeer(t testing.TB, nc net.Conn) *peer {
	nc.SetDeadline(time.Now().Add(5 * time.Second))
	return &peer{t: t, nc: nc, r: bufio.NewReader(nc)}
}

func (p *peer) send(s string) {
	p.t.Helper()
	if _, err := p.nc.Write([]byte(s)); err != nil {
		p.t.Fatalf("send: %v", err)
	}
}

// head reads one head: its first line and the others, sorted as they came.
func (p *peer) head() (first string, fields []string) {
	p.t.Helper()
	for {
		line, err := p.r.ReadString('\n')
		if err != nil {
			p.t.Fatalf("head: %v after %q %q", err, first, fields)
		}
		line = strings.TrimSuffix(line, "\r\n")
		switch {
		case line == "":
			return first, fields
		case first == "":
			first = line
		default:
			fields = append(fields, line)
		}
	}
}

// read reads n bytes.
func (p *peer) read(n int) string {
	p.t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(p.r, b); err != nil {
		p.t.Fatalf("read: %v", err)
	}
	return string(b)
}

// rest reads to the end of the connection; a reset counts as an end.
func (p *peer) rest() string {
	var b bytes.Buffer
	io.Copy(&b, p.r)
	return b.String()
}

// want reads exactly these bytes.
func (p *peer) want(s string) {
	p.t.Helper()
	if got := p.read(len(s)); got != s {
		p.t.Fatalf("got %q, want %q", got, s)
	}
}

// origin is an upstream in the hands of a test: every connection that is made
// to it comes out of conns.
type origin struct {
	t     testing.TB
	ln    net.Listener
	conns chan *peer
}

func newOrigin(t testing.TB) *origin {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &origin{t: t, ln: ln, conns: make(chan *peer, 100)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			o.conns <- newPeer(t, nc)
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-done
		for {
			select {
			case p := <-o.conns:
				p.nc.Close()
			default:
				return
			}
		}
	})
	return o
}

// accept is the next connection.
func (o *origin) accept() *peer {
	o.t.Helper()
	select {
	case p := <-o.conns:
		o.t.Cleanup(func() { p.nc.Close() })
		return p
	case <-time.After(10 * time.Second):
		o.t.Fatal("no connection came")
		return nil
	}
}

// smallPool is the least that can stand between the halves: a stack of clients.
type smallPool struct {
	t    testing.TB
	addr string
	cfg  ClientConfig
	dog  watchdog.Dog
	goes goes

	mu    sync.Mutex
	idle  []*Client
	made  int
	freed chan bool // reusable, one for each release
}

func newPool(t testing.TB, o *origin, with ...func(*ClientConfig)) *smallPool {
	p := &smallPool{t: t, addr: o.ln.Addr().String(), freed: make(chan bool, 10000)}
	p.cfg.Limits, p.cfg.Phases, p.cfg.Dog, p.cfg.Go = testLimits, testPhases, &p.dog, p.goes.run
	for _, w := range with {
		w(&p.cfg)
	}
	t.Cleanup(func() {
		p.mu.Lock()
		for _, c := range p.idle {
			c.Close()
		}
		p.mu.Unlock()
		p.goes.Wait()
	})
	return p
}

// Serve is stream.Service.
func (p *smallPool) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	c, err := p.get()
	if err != nil {
		req.Body.Close()
		return nil, &stream.Fault{Kind: stream.ConnectFailed, Cause: err}
	}
	return c.Serve(ctx, req)
}

func (p *smallPool) get() (*Client, error) {
	return p.getFrom(func() (net.Conn, error) { return net.Dial("tcp", p.addr) })
}

func (p *smallPool) getFrom(dial func() (net.Conn, error)) (*Client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.idle); n > 0 {
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		return c, nil
	}
	nc, err := dial()
	if err != nil {
		return nil, err
	}
	p.made++
	c := NewClient(nc, &p.cfg)
	c.Release = p.put
	return c, nil
}

func (p *smallPool) put(c *Client, reusable bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if reusable {
		p.idle = append(p.idle, c)
	} else {
		c.Close()
	}
	select {
	case p.freed <- reusable:
	default:
	}
}

// wantFreed waits for a release and checks it.
func (p *smallPool) wantFreed(reusable bool) {
	p.t.Helper()
	select {
	case got := <-p.freed:
		if got != reusable {
			p.t.Errorf("the upstream connection was released with reusable %v, want %v", got, reusable)
		}
	case <-time.After(10 * time.Second):
		p.t.Error("the upstream connection was not released")
	}
}
