package http1

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// answersHTTP2 reads n bytes, says which, and closes.
func answersHTTP2(t *testing.T, n int) func(*ServerConfig) {
	return func(cfg *ServerConfig) {
		cfg.HTTP2 = func(_ context.Context, nc net.Conn, facts *stream.Conn) {
			defer nc.Close()
			b := make([]byte, n)
			if _, err := io.ReadFull(nc, b); err != nil {
				t.Errorf("HTTP/2 reads: %v", err)
			}
			fmt.Fprintf(nc, "%d %q", facts.ID, b)
		}
	}
}

func TestPriorKnowledge(t *testing.T) {
	want := fmt.Sprintf("1 %q", http2Preface+"frames")
	for _, pieces := range [][]string{
		{http2Preface + "frames"},
		{http2Preface, "frames"},
		{"P", "RI * HTTP/2.0\r\n\r\nSM", "\r\n\r\nfr", "ames"},
		strings.Split(http2Preface+"frames", ""),
	} {
		e := newEdge(t, echo, answersHTTP2(t, len(http2Preface+"frames")))
		p := e.dial()
		for _, piece := range pieces {
			p.send(piece)
		}
		if got := p.rest(); got != want {
			t.Errorf("%q: got %q", pieces, got)
		}
		if e.Stats.HTTP2.Load() != 1 || e.Stats.Open.Load() != 0 || e.Requests() != 0 {
			t.Errorf("%d handed over, %d open, %d requests", e.Stats.HTTP2.Load(), e.Stats.Open.Load(), e.Requests())
		}
	}
}

// What only looks like the preface is HTTP/1, and what comes too late is no
// beginning.
func TestNoPriorKnowledge(t *testing.T) {
	for _, c := range []struct {
		name, send, want string
		off, tls         bool
	}{
		{name: "POST", send: post + "Content-Length: 0\r\n\r\n", want: "200"},
		{name: "a method like it", send: "PRI /x HTTP/1.1\r\nHost: a\r\n\r\n", want: "200"},
		{name: "cut off inside", send: "PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n", want: "505"},
		{name: "behind an empty line", send: "\r\n" + http2Preface, want: "505"},
		{name: "off", send: http2Preface, off: true, want: "505"},
		{name: "under TLS, where HTTP/1.1 was agreed on", send: http2Preface, tls: true, want: "505"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEdge(t, echo, func(cfg *ServerConfig) {
				if !c.off {
					cfg.HTTP2 = func(_ context.Context, nc net.Conn, _ *stream.Conn) { nc.Close(); t.Error("handed over") }
				}
			})
			near, far := net.Pipe()
			f := facts(near)
			if c.tls {
				f.TLS = new(stream.TLS)
			}
			e.goes.run(func() { e.Serve(context.Background(), near, f) })
			p := newPeer(t, far)
			t.Cleanup(func() { far.Close() })
			e.goes.run(func() { io.WriteString(far, c.send) })
			if first, _ := p.head(); !strings.HasPrefix(first, "HTTP/1.1 "+c.want) {
				t.Errorf("got %q", first)
			}
		})
	}
	e := newEdge(t, echo, func(cfg *ServerConfig) {
		cfg.HTTP2 = func(_ context.Context, nc net.Conn, _ *stream.Conn) { nc.Close(); t.Error("handed over") }
	})
	p := e.dial()
	p.send(get + "\r\n" + http2Preface)
	p.head()
	p.want(`GET a / HTTP/1.1 body ""`)
	if first, _ := p.head(); !strings.HasPrefix(first, "HTTP/1.1 505") {
		t.Errorf("behind a request: got %q", first)
	}
}

// Half a preface is half a head: it has the time of one.
func TestSlowPreface(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		took, answer, handed := beginHTTP2(walkLimits(stream.PhaseHead), http2Preface[:8])
		checkWalk(t, took, false)
		if !strings.HasPrefix(answer, "HTTP/1.1 408 ") || handed {
			t.Errorf("the answer is %q, handed over: %v", answer, handed)
		}
	})
}

// A connection that was handed over is watched by nobody here: neither a phase
// nor Drain reaches it.
func TestHandedOverIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		took, answer, handed := beginHTTP2(walkLimits(stream.PhaseHead), http2Preface)
		if took != 48*time.Hour || answer != "served" || !handed {
			t.Errorf("it took %v, the answer is %q, handed over: %v", took, answer, handed)
		}
	})
}

// beginHTTP2 sends the beginning of a connection, and a byte two days later.
func beginHTTP2(phases stream.PhaseLimits, send string) (took time.Duration, answer string, handed bool) {
	var dog watchdog.Dog
	var s *Server
	s = NewServer(ServerConfig{
		Limits: testLimits, Service: echo, Refuse: refuse, Dog: &dog, Phases: phases, Go: func(f func()) { go f() },
		HTTP2: func(ctx context.Context, nc net.Conn, _ *stream.Conn) {
			defer nc.Close()
			handed = true
			s.Drain()
			if _, err := io.ReadFull(nc, make([]byte, len(http2Preface)+1)); err == nil && ctx.Err() == nil {
				io.WriteString(nc, "served")
			}
		},
	})
	near, far := net.Pipe()
	got := make(chan string)
	go func() {
		b := make([]byte, 1000)
		n, _ := far.Read(b)
		far.Close()
		got <- string(b[:n])
	}()
	late := make(chan struct{})
	go func() {
		defer close(late)
		io.WriteString(far, send)
		time.Sleep(48 * time.Hour)
		far.Write([]byte("x"))
	}()
	start := time.Now()
	s.Serve(context.Background(), near, &stream.Conn{})
	took = time.Since(start)
	answer = <-got
	<-late
	return took, answer, handed
}
