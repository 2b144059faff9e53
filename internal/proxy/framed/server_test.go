package framed

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/stream"
)

func TestServer(t *testing.T) {
	e := newEdge(t, upper)
	e.send("abc\n\nd")
	e.want("framed POST lines.example /in/x?y text/x-line 3 ABC\n")
	e.want("framed POST lines.example /in/x?y text/x-line 0 \n")
	e.send("ef\n")
	e.want("framed POST lines.example /in/x?y text/x-line 3 DEF\n")
	e.nc.(*net.TCPConn).CloseWrite()
	if rest := e.rest(); rest != "" {
		t.Errorf("%q at the end", rest)
	}
	done := e.exchanges()
	if len(done) != 3 || e.Requests() != 3 || e.Stats.Open.Load() != 0 || e.Stats.Opened.Load() != 1 || e.Stats.Errors.Load() != 0 {
		t.Fatalf("%d exchanges, %d requests, %d open", len(done), e.Requests(), e.Stats.Open.Load())
	}
	for _, ex := range done {
		if ex.Status != 200 || ex.Fault != nil || ex.Start.IsZero() || ex.HeadRead.Before(ex.Start) || ex.HeadSent.Before(ex.HeadRead) || ex.End.Before(ex.HeadSent) {
			t.Errorf("%+v", ex)
		}
	}
	if done[0].BytesIn != 3 || done[0].BytesOut != 51 {
		t.Errorf("%d bytes in, %d out", done[0].BytesIn, done[0].BytesOut)
	}
}

func TestServerByteByByte(t *testing.T) {
	e := newEdge(t, upper, func(cfg *ServerConfig) { cfg.Framed.Framing = lengths(2, "big", true, 100) })
	for _, b := range []byte("\x00\x05abc") {
		e.send(string(b))
	}
	e.want("\x00\x35framed POST lines.example /in/x?y text/x-line 3 ABC")
}

// A client that sends one line through a pipe closes its side at once, and
// still waits for the answer.
func TestServerHalfClosed(t *testing.T) {
	e := newEdge(t, upper)
	e.send("abc\n")
	e.nc.(*net.TCPConn).CloseWrite()
	if rest := e.rest(); !strings.HasSuffix(rest, "ABC\n") {
		t.Errorf("got %q", rest)
	}
}

func TestServerLarge(t *testing.T) {
	content := strings.Repeat("0123456789", 100_000)
	e := newEdge(t, stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		defer req.Body.Close()
		b, _ := io.ReadAll(req.Body)
		return &stream.Response{Status: 200, Body: &slowBody{pieces: []string{string(b[:7]), string(b[7:])}, err: io.EOF}, Length: -1}, nil
	}), func(cfg *ServerConfig) { cfg.Framed.Framing.Max = 1 << 20 })
	go io.WriteString(e.nc, content+"\n"+content+"\n")
	e.want(content + "\n" + content + "\n")
}

// What is no success becomes the error frame, in which two words are replaced,
// once, and nothing of the peers.
func TestServerErrors(t *testing.T) {
	for _, c := range []struct {
		name, send string
		service    func(req *stream.Request) (*stream.Response, error)
		want       string
		kind       stream.Kind
		goesOn     bool
	}{
		{"a status", "{status}\n", func(*stream.Request) (*stream.Response, error) { return text(404, "{reason}"), nil }, "ERR 404 status 404\n", 0, true},
		{"an interim status", "x\n", func(*stream.Request) (*stream.Response, error) { return text(103, ""), nil }, "ERR 103 status 103\n", 0, true},
		{"a fault that a stage has answered", "x\n", func(req *stream.Request) (*stream.Response, error) {
			req.Exchange.Fault = &stream.Fault{Kind: stream.UpstreamTimeout}
			return text(504, ""), nil
		}, "ERR 504 upstream_timeout 504\n", stream.UpstreamTimeout, true},
		{"a fault", "x\n", func(*stream.Request) (*stream.Response, error) { return nil, &stream.Fault{Kind: stream.NoRoute} }, "ERR 502 no_route 502\n", stream.NoRoute, true},
		{"an error that is none", "x\n", func(*stream.Request) (*stream.Response, error) { return nil, errors.New("x") }, "ERR 500 internal 500\n", stream.Internal, true},
		{"a body that breaks off", "x\n", func(*stream.Request) (*stream.Response, error) {
			return &stream.Response{Status: 200, Length: -1, Body: &slowBody{pieces: []string{"a"}, err: &stream.Fault{Kind: stream.ResponseTruncated}}}, nil
		}, "ERR 502 response_truncated 502\n", stream.ResponseTruncated, true},
		{"a body that gives nothing", "x\n", func(*stream.Request) (*stream.Response, error) {
			return &stream.Response{Status: 200, Length: -1, Body: &slowBody{}}, nil
		}, "ERR 500 internal 500\n", stream.Internal, true},
		{"a body too large", "x\n", func(*stream.Request) (*stream.Response, error) { return text(200, strings.Repeat("a", 101)), nil }, "ERR 502 response_too_large 502\n", stream.ResponseTooLarge, true},
		{"a body too large by its length", "x\n", func(*stream.Request) (*stream.Response, error) {
			return &stream.Response{Status: 200, Length: 101, Body: &slowBody{err: io.EOF}}, nil
		}, "ERR 502 response_too_large 502\n", stream.ResponseTooLarge, true},
		{"a slow body too large", "x\n", func(*stream.Request) (*stream.Response, error) {
			return &stream.Response{Status: 200, Length: -1, Body: &slowBody{pieces: []string{"a", strings.Repeat("a", 100)}, err: io.EOF}}, nil
		}, "ERR 502 response_too_large 502\n", stream.ResponseTooLarge, true},
		{"a body with the delimiter", "x\n", func(*stream.Request) (*stream.Response, error) { return text(200, "a\nERR"), nil }, "ERR 502 response_malformed 502\n", stream.ResponseMalformed, true},
		{"a frame too large", strings.Repeat("a", 101), nil, "ERR 413 body_too_large 413\n", stream.BodyTooLarge, false},
		{"a panic", "x\n", func(*stream.Request) (*stream.Response, error) { panic("on purpose") }, "ERR 500 internal 500\n", stream.Internal, false},
	} {
		for _, silent := range []bool{false, true} {
			t.Run(c.name, func(t *testing.T) {
				service := stream.ServiceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
					b, _ := req.Body.(stream.Whole).Bytes()
					req.Body.Close()
					if string(b) == "ping" {
						return text(200, "pong"), nil
					}
					return c.service(req)
				})
				e := newEdge(t, service, func(cfg *ServerConfig) {
					if silent {
						cfg.Framed.Error = ""
					}
				})
				e.send(c.send)
				if !silent {
					e.want(c.want)
				}
				if c.goesOn && !silent {
					e.send("ping\n")
					e.want("pong\n")
				} else if rest := e.rest(); rest != "" {
					t.Errorf("%q behind it", rest)
				}
				for e.Stats.Errors.Load() == 0 || len(e.exchanges()) == 0 {
					<-e.over
				}
				ex := e.exchanges()[0]
				if (ex.Fault == nil) != (c.kind == 0 && c.name != "an error that is none" && c.name != "a panic" && c.name != "a body that gives nothing") {
					t.Errorf("fault %v", ex.Fault)
				}
				if ex.Fault != nil && ex.Fault.Kind != c.kind {
					t.Errorf("fault %v, want %v", ex.Fault, c.kind)
				}
				if silent == (ex.Status != 0) {
					t.Errorf("status %d", ex.Status)
				}
			})
		}
	}
}

// The words of the error frame may be ones that a line cannot hold.
func TestServerErrorFrameThatIsNone(t *testing.T) {
	cfg := ServerConfig{Framed: config.ListenerFramed{Framing: lines("o", 100), Method: "POST", Path: "/", Error: "no"}, Dog: nil}
	if _, err := NewServer(cfg); err == nil {
		t.Error("an error with the delimiter is taken")
	}
	cfg.Framed.Error, cfg.Framed.Path = "", "x"
	if _, err := NewServer(cfg); err == nil {
		t.Error("a path without a slash is taken")
	}
	cfg.Framed.Path, cfg.Framed.Framing.Type = "/", ""
	if _, err := NewServer(cfg); err == nil {
		t.Error("a framing without type is taken")
	}
	e := newEdge(t, stream.ServiceFunc(func(context.Context, *stream.Request) (*stream.Response, error) {
		return nil, &stream.Fault{Kind: stream.NoRoute}
	}), func(cfg *ServerConfig) { cfg.Framed.Framing, cfg.Framed.Error = lines("_r", 100), "{reason}" })
	e.send("x_r")
	if rest := e.rest(); rest != "" {
		t.Errorf("got %q", rest)
	}
}

func TestServerEnds(t *testing.T) {
	t.Run("in the middle of a frame", func(t *testing.T) {
		e := newEdge(t, upper)
		e.send("abc")
		e.nc.(*net.TCPConn).CloseWrite()
		if rest := e.rest(); rest != "" {
			t.Errorf("got %q", rest)
		}
		if done := e.exchanges(); len(done) != 1 || done[0].Fault == nil || done[0].Fault.Kind != stream.ClientGone || done[0].BytesIn != 3 {
			t.Errorf("%+v", done)
		}
	})
	t.Run("after its share", func(t *testing.T) {
		e := newEdge(t, upper, func(cfg *ServerConfig) { cfg.MaxRequests = 2 })
		e.send("a\nb\nc\n")
		if rest := e.rest(); strings.Count(rest, "\n") != 2 {
			t.Errorf("got %q", rest)
		}
	})
	t.Run("when it is retired", func(t *testing.T) {
		e := newEdge(t, upper)
		e.send("a\n")
		e.want("framed POST lines.example /in/x?y text/x-line 1 A\n")
		e.Retire()
		e.send("b\n")
		if rest := e.rest(); strings.Count(rest, "\n") != 1 {
			t.Errorf("got %q", rest)
		}
		if ex := e.exchanges()[1]; !ex.Draining {
			t.Error("the exchange does not say that the connection was told to end")
		}
	})
	t.Run("when it is drained", func(t *testing.T) {
		e := newEdge(t, upper)
		e.send("a\n")
		e.want("framed POST lines.example /in/x?y text/x-line 1 A\n")
		for idle := false; !idle; {
			e.Connections(func(s ConnState) bool { idle = s.Phase == stream.PhaseIdle && s.Requests == 1; return true })
		}
		e.Drain()
		if rest := e.rest(); rest != "" || e.Stats.Drained.Load() != 1 {
			t.Errorf("got %q, %d drained", rest, e.Stats.Drained.Load())
		}
	})
}

// A client that resets while its frame is served ends the exchange; one that
// closes does not.
func TestServerClientGone(t *testing.T) {
	e := newEdge(t, stream.ServiceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
		<-ctx.Done()
		return nil, &stream.Fault{Kind: stream.ClientGone}
	}))
	e.send("a\n")
	e.nc.(*net.TCPConn).SetLinger(0)
	e.nc.Close()
	<-e.over
	if done := e.exchanges(); len(done) != 1 || done[0].Fault == nil || done[0].Fault.Kind != stream.ClientGone || done[0].Status != 0 {
		t.Errorf("%+v", done)
	}
}

// Every phase ends.
func TestServerPhases(t *testing.T) {
	for _, c := range []struct {
		phase  stream.Phase
		client func(nc net.Conn)
		answer string
	}{
		{stream.PhaseIdle, func(net.Conn) {}, ""},
		{stream.PhaseHead, func(nc net.Conn) {
			for {
				if _, err := nc.Write([]byte("a")); err != nil {
					return
				}
				time.Sleep(10 * time.Second)
			}
		}, "ERR 408 head_timeout 408\n"},
		{stream.PhaseWait, func(nc net.Conn) { nc.Write([]byte("wait\n")) }, strings.Repeat("a", 50) + "\n"},
		{stream.PhaseWrite, func(nc net.Conn) { nc.Write([]byte("large\n")); time.Sleep(24 * time.Hour) }, "?"},
	} {
		t.Run(c.phase.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				start := time.Now()
				var served time.Duration
				e := edgeOn(t, near, far, stream.ServiceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
					if b, _ := req.Body.(stream.Whole).Bytes(); string(b) == "wait" {
						<-ctx.Done()
					}
					return text(200, strings.Repeat("a", 50)), nil
				}), func(cfg *ServerConfig) { cfg.Phases[c.phase] = stream.PhaseLimit{Ceiling: time.Minute} })
				gone := make(chan struct{})
				go func() { defer close(gone); c.client(far) }()
				got := make(chan string, 1)
				go func() {
					if c.answer == "?" {
						<-e.over
					}
					b := make([]byte, 100)
					n, _ := io.ReadFull(e.r, b)
					got <- string(b[:n])
				}()
				<-e.over
				served = time.Since(start)
				far.Close()
				if answer := <-got; c.answer != "?" && answer != c.answer {
					t.Errorf("got %q", answer)
				}
				if served < time.Minute || served > time.Minute+3*time.Second {
					t.Errorf("it took %v", served)
				}
				<-gone
			})
		})
	}
}
