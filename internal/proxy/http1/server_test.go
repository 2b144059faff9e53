package http1

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirproxy/weir/stream"
)

const when = "Mon, 02 Jan 2006 15:04:05 GMT"

// reader is a body of unknown or known length that gives its pieces one by one.
type pieces struct {
	rest    []string
	err     error // behind the pieces; nil: io.EOF
	trailer *stream.Header
	closed  bool
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		if p.err != nil {
			return 0, p.err
		}
		return 0, io.EOF
	}
	n := copy(b, p.rest[0])
	if p.rest[0] = p.rest[0][n:]; p.rest[0] == "" {
		p.rest = p.rest[1:]
	}
	return n, nil
}

func (p *pieces) Close() error            { p.closed = true; return nil }
func (p *pieces) Trailer() *stream.Header { return p.trailer }

// fixed answers every request with what make returns, and a fixed Date.
func fixed(make func(req *stream.Request) *stream.Response) stream.Service {
	return stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		req.Body.Close()
		resp := make(req)
		resp.Header.AddID(stream.Date, when)
		return resp, nil
	})
}

// The framing of responses, RFC 9112 section 6 and 9.3.
func TestResponseFraming(t *testing.T) {
	const date = "Date: " + when + "\r\n"
	trailer := new(stream.Header)
	trailer.Add("X-Sum", "9")
	for _, c := range []struct {
		name, send string
		resp       func() *stream.Response
		want       string
		closes     bool
	}{
		{"length", get + "\r\n", func() *stream.Response { return text(200, "abc") },
			"HTTP/1.1 200 OK\r\n" + date + "Content-Length: 3\r\n\r\nabc", false},
		{"length, streamed", get + "\r\n", func() *stream.Response {
			return &stream.Response{Status: 200, Length: 6, Body: &pieces{rest: []string{"abc", "def"}}}
		}, "HTTP/1.1 200 OK\r\n" + date + "Content-Length: 6\r\n\r\nabcdef", false},
		{"unknown length", get + "\r\n", func() *stream.Response {
			return &stream.Response{Status: 200, Length: -1, Body: &pieces{rest: []string{"abc", "0123456789abcdef"}}}
		}, "HTTP/1.1 200 OK\r\n" + date + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n", false},
		{"unknown length in memory", get + "\r\n", func() *stream.Response {
			return &stream.Response{Status: 200, Length: -1, Body: stream.BytesBody([]byte("abc"))}
		}, "HTTP/1.1 200 OK\r\n" + date + "Content-Length: 3\r\n\r\nabc", false},
		{"trailers", get + "\r\n", func() *stream.Response {
			return &stream.Response{Status: 200, Length: -1, Body: &pieces{rest: []string{"abc"}, trailer: trailer}}
		}, "HTTP/1.1 200 OK\r\n" + date + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 9\r\n\r\n", false},
		{"unknown length to 1.0", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", func() *stream.Response {
			return &stream.Response{Status: 200, Length: -1, Body: &pieces{rest: []string{"abc", "def"}}}
		}, "HTTP/1.1 200 OK\r\n" + date + "Connection: close\r\n\r\nabcdef", true},
		{"1.0", "GET / HTTP/1.0\r\n\r\n", func() *stream.Response { return text(200, "abc") },
			"HTTP/1.1 200 OK\r\n" + date + "Content-Length: 3\r\nConnection: close\r\n\r\nabc", true},
		{"1.0 with keep-alive", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", func() *stream.Response { return text(200, "abc") },
			"HTTP/1.1 200 OK\r\n" + date + "Content-Length: 3\r\nConnection: keep-alive\r\n\r\nabc", false},
		{"close", get + "Connection: close\r\n\r\n", func() *stream.Response { return text(200, "abc") },
			"HTTP/1.1 200 OK\r\n" + date + "Content-Length: 3\r\nConnection: close\r\n\r\nabc", true},
		{"HEAD", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", func() *stream.Response {
			return &stream.Response{Status: 200, Length: 1234, Body: stream.NoBody}
		}, "HTTP/1.1 200 OK\r\n" + date + "Content-Length: 1234\r\n\r\n", false},
		{"HEAD without length", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", func() *stream.Response {
			return &stream.Response{Status: 200, Length: -1, Body: stream.NoBody}
		}, "HTTP/1.1 200 OK\r\n" + date + "\r\n", false},
		{"HEAD with a body all the same", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", func() *stream.Response { return text(200, "abc") },
			"HTTP/1.1 200 OK\r\n" + date + "Content-Length: 3\r\n\r\n", false},
		{"204", get + "\r\n", func() *stream.Response { return &stream.Response{Status: 204, Body: stream.NoBody} },
			"HTTP/1.1 204 No Content\r\n" + date + "\r\n", false},
		{"304", get + "\r\n", func() *stream.Response { return &stream.Response{Status: 304, Length: 55, Body: stream.NoBody} },
			"HTTP/1.1 304 Not Modified\r\n" + date + "Content-Length: 55\r\n\r\n", false},
		{"304 without length", get + "\r\n", func() *stream.Response { return &stream.Response{Status: 304, Length: -1, Body: stream.NoBody} },
			"HTTP/1.1 304 Not Modified\r\n" + date + "\r\n", false},
		{"own status", get + "\r\n", func() *stream.Response { return text(299, "") },
			"HTTP/1.1 299 \r\n" + date + "Content-Length: 0\r\n\r\n", false},
		{"owned fields are not written", get + "\r\n", func() *stream.Response {
			r := text(200, "abc")
			r.Header.Add("content-length", "7")
			r.Header.Add("Transfer-Encoding", "chunked")
			r.Header.Add("Connection", "X-Kept")
			r.Header.Add("X-Kept", "1")
			return r
		}, "HTTP/1.1 200 OK\r\nX-Kept: 1\r\n" + date + "Content-Length: 3\r\n\r\nabc", false},
		{"body longer than its length", get + "\r\n", func() *stream.Response {
			return &stream.Response{Status: 200, Length: 4, Body: &pieces{rest: []string{"abc", "def"}}}
		}, "HTTP/1.1 200 OK\r\n" + date + "Content-Length: 4\r\n\r\nabcd", true},
		{"body shorter than its length", get + "\r\n", func() *stream.Response {
			return &stream.Response{Status: 200, Length: 4, Body: &pieces{rest: []string{"abc"}}}
		}, "HTTP/1.1 200 OK\r\n" + date + "Content-Length: 4\r\n\r\nabc", true},
		{"chunked body that breaks off", get + "\r\n", func() *stream.Response {
			return &stream.Response{Status: 200, Length: -1, Body: &pieces{rest: []string{"abc"}, err: &stream.Fault{Kind: stream.ResponseTruncated}}}
		}, "HTTP/1.1 200 OK\r\n" + date + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEdge(t, fixed(func(*stream.Request) *stream.Response { return c.resp() }))
			p := e.dial()
			p.send(c.send)
			if got := p.read(len(c.want)); got != c.want {
				t.Fatal(cmp.Diff(c.want, got))
			}
			if c.closes {
				if rest := p.rest(); rest != "" {
					t.Errorf("%q behind the response", rest)
				}
				return
			}
			e.exchange(0)
			p.send(c.send)
			if got := p.read(len(c.want)); got != c.want {
				t.Fatal(cmp.Diff(c.want, got))
			}
		})
	}
}

// What must not leave us becomes a 500 of ours.
func TestResponseNotWritable(t *testing.T) {
	for _, c := range []struct {
		name string
		resp func() *stream.Response
	}{
		{"CRLF in a value", func() *stream.Response { r := text(200, ""); r.Header.Add("X", "a\r\nSet-Cookie: b"); return r }},
		{"NUL in a value", func() *stream.Response { r := text(200, ""); r.Header.Add("X", "a\x00"); return r }},
		{"colon in a name", func() *stream.Response { r := text(200, ""); r.Header.Add("X:Y", "a"); return r }},
		{"empty name", func() *stream.Response { r := text(200, ""); r.Header.Add("", "a"); return r }},
		{"status 0", func() *stream.Response { return text(0, "") }},
		{"status 100", func() *stream.Response { return text(100, "") }},
		{"101 nobody asked for", func() *stream.Response { return text(101, "") }},
		{"whole body that is not its length", func() *stream.Response { r := text(200, "abc"); r.Length = 4; return r }},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEdge(t, fixed(func(*stream.Request) *stream.Response { return c.resp() }))
			p := e.dial()
			p.send(get + "\r\n")
			first, _ := p.head()
			if first != "HTTP/1.1 500 Internal Server Error" {
				t.Errorf("got %q", first)
			}
			if f := e.exchange(0).Fault; f == nil || f.Kind != stream.Internal {
				t.Errorf("the exchange has fault %v", f)
			}
		})
	}
}

func TestDateIsAdded(t *testing.T) {
	e := newEdge(t, stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		return text(200, ""), nil
	}))
	p := e.dial()
	p.send(get + "\r\n")
	_, fields := p.head()
	var at time.Time
	for _, f := range fields {
		if v, ok := strings.CutPrefix(f, "Date: "); ok {
			at, _ = time.Parse(time.RFC1123, v)
		}
	}
	if age := time.Since(at); age < -time.Second || age > 5*time.Second {
		t.Errorf("the Date is %v old; fields %q", age, fields)
	}
}

func TestPipelining(t *testing.T) {
	e := newEdge(t, echo)
	p := e.dial()
	var send, want strings.Builder
	for i := range 50 {
		path := strings.Repeat("x", i)
		send.WriteString("POST /" + path + " HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
		want.WriteString("POST a /" + path + ` HTTP/1.1 body "hi"`)
	}
	p.send(send.String())
	var got strings.Builder
	for range 50 {
		_, fields := p.head()
		got.WriteString(p.read(lengthOf(fields)))
	}
	if got.String() != want.String() {
		t.Error(cmp.Diff(want.String(), got.String()))
	}
}

func lengthOf(fields []string) (n int) {
	for _, f := range fields {
		if v, ok := strings.CutPrefix(f, "Content-Length: "); ok {
			for _, d := range v {
				n = 10*n + int(d-'0')
			}
		}
	}
	return n
}

// ignore answers without a look at the body.
var ignore = stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
	req.Body.Close()
	return text(200, "ok"), nil
})

// What is left of a request body is never taken for the next request.
func TestUnreadBody(t *testing.T) {
	const next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
	for _, c := range []struct {
		name, head, body string
		keeps            bool
	}{
		{"small, with the head", post + "Content-Length: 50\r\n\r\n", next + strings.Repeat(".", 50-len(next)), true},
		{"larger than a page", post + "Content-Length: 100000\r\n\r\n", next + strings.Repeat(".", 100000-len(next)), true},
		{"too large to be read away", post + "Content-Length: 10000000\r\n\r\n", next, false},
		{"chunked", chunked, "3\r\nabc\r\n0\r\n\r\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEdge(t, ignore)
			p := e.dial()
			p.send(c.head + c.body + next)
			_, fields := p.head()
			p.want("ok")
			if closes := strings.Contains(strings.Join(fields, "\n"), "Connection: close"); closes == c.keeps {
				t.Errorf("Connection: close is %v", closes)
			}
			if c.keeps {
				p.head()
				p.want("ok")
				return
			}
			closeWrite(p.nc)
			if rest := p.rest(); rest != "" {
				t.Errorf("%q behind the response", rest)
			}
			if n := e.Requests(); n != 1 {
				t.Errorf("%d requests were read, want 1", n)
			}
		})
	}
}

func TestExpectContinue(t *testing.T) {
	const head = post + "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"
	t.Run("asked for", func(t *testing.T) {
		p := newEdge(t, echo).dial()
		for range 2 {
			p.send(head)
			p.want(continueHead)
			p.send("abc")
			_, fields := p.head()
			p.want(`POST a / HTTP/1.1 body "abc"`)
			if strings.Contains(strings.Join(fields, "\n"), "close") {
				t.Error("the connection closes")
			}
		}
	})
	t.Run("not asked for", func(t *testing.T) {
		e := newEdge(t, ignore)
		p := e.dial()
		p.send(head)
		first, fields := p.head()
		if first != "HTTP/1.1 200 OK" || !strings.Contains(strings.Join(fields, "\n"), "Connection: close") {
			t.Errorf("got %q %q, want a final response that closes", first, fields)
		}
		p.want("ok")
		p.send("GET /in-the-body HTTP/1.1\r\nHost: a\r\n\r\n")
		closeWrite(p.nc)
		if rest := p.rest(); rest != "" || e.Requests() != 1 {
			t.Errorf("%q behind the response, %d requests", rest, e.Requests())
		}
	})
	t.Run("sent without waiting", func(t *testing.T) {
		p := newEdge(t, echo).dial()
		p.send(head + "abc" + get + "\r\n")
		p.head()
		p.want(`POST a / HTTP/1.1 body "abc"`)
		p.head()
		p.want(`GET a / HTTP/1.1 body ""`)
	})
	t.Run("1.0", func(t *testing.T) {
		p := newEdge(t, echo).dial()
		p.send("POST / HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
		p.send("abc")
		first, _ := p.head()
		if first != "HTTP/1.1 200 OK" {
			t.Errorf("got %q", first)
		}
	})
}

func TestInterimDownstream(t *testing.T) {
	hints := stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		if req.Interim == nil {
			return text(200, "none"), nil
		}
		h := new(stream.Header)
		h.Add("Link", "</a.css>")
		for range maxInterim + 5 {
			if err := req.Interim(103, h); err != nil {
				return nil, err
			}
		}
		if req.Interim(101, h) == nil || req.Interim(200, h) == nil {
			return text(500, "Interim takes what is no interim status"), nil
		}
		return text(200, "hinted"), nil
	})
	p := newEdge(t, hints).dial()
	for range 2 {
		p.send(get + "\r\n")
		for range maxInterim {
			p.want("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
		}
		first, _ := p.head()
		p.want("hinted")
		if first != "HTTP/1.1 200 OK" {
			t.Errorf("got %q", first)
		}
	}
	p.send("GET / HTTP/1.0\r\n\r\n")
	p.head()
	p.want("none")
}

func TestMaxRequests(t *testing.T) {
	e := newEdge(t, ignore, func(cfg *ServerConfig) { cfg.MaxRequests = 2 })
	p := e.dial()
	p.send(get + "\r\n" + get + "\r\n" + get + "\r\n")
	for i := range 2 {
		_, fields := p.head()
		p.want("ok")
		if closes := strings.Contains(strings.Join(fields, "\n"), "close"); closes != (i == 1) {
			t.Errorf("response %d closes: %v", i, closes)
		}
	}
	closeWrite(p.nc)
	if rest := p.rest(); rest != "" || e.Requests() != 2 {
		t.Errorf("%q behind the last response, %d requests", rest, e.Requests())
	}
}

func TestDrain(t *testing.T) {
	enter, leave := make(chan struct{}), make(chan struct{})
	e := newEdge(t, stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		if req.Target.Path == "/slow" {
			close(enter)
			<-leave
		}
		return text(200, "ok"), nil
	}))
	idle, busy := e.dial(), e.dial()
	idle.send(get + "\r\n")
	idle.head()
	idle.want("ok")
	busy.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	<-enter
	e.exchange(0)
	e.Drain()
	if rest := idle.rest(); rest != "" {
		t.Errorf("the idle connection got %q", rest)
	}
	close(leave)
	_, fields := busy.head()
	busy.want("ok")
	if !strings.Contains(strings.Join(fields, "\n"), "Connection: close") {
		t.Errorf("the busy connection stays open: %q", fields)
	}
	closeWrite(busy.nc)
	busy.rest()
	if ex := e.exchange(1); !ex.Draining {
		t.Error("the exchange does not say that it was told to close")
	}
	// One that comes late still has its request answered.
	late := e.dial()
	late.send(get + "\r\n")
	_, fields = late.head()
	if !strings.Contains(strings.Join(fields, "\n"), "Connection: close") {
		t.Errorf("the late connection stays open: %q", fields)
	}
}

// A panic ends one connection and nothing else.
func TestPanic(t *testing.T) {
	e := newEdge(t, stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		if req.Target.Path == "/panic" {
			panic("on purpose")
		}
		return text(200, "ok"), nil
	}))
	other, p := e.dial(), e.dial()
	p.send("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n")
	first, _ := p.head()
	p.rest()
	if first != "HTTP/1.1 500 Internal Server Error" || e.Stats.Panics.Load() != 1 {
		t.Errorf("got %q, %d panics", first, e.Stats.Panics.Load())
	}
	other.send(get + "\r\n")
	other.head()
	other.want("ok")
}

func TestServiceError(t *testing.T) {
	e := newEdge(t, stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		return nil, errors.New("against the contract")
	}))
	p := e.dial()
	p.send(get + "\r\n")
	if first, _ := p.head(); first != "HTTP/1.1 500 Internal Server Error" {
		t.Errorf("got %q", first)
	}
}

// The client goes while the service works: its context ends.
func TestClientGone(t *testing.T) {
	enter := make(chan struct{})
	e := newEdge(t, stream.ServiceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
		close(enter)
		<-ctx.Done()
		return nil, &stream.Fault{Kind: stream.ClientGone}
	}))
	p := e.dial()
	p.send(get + "\r\n")
	<-enter
	p.nc.Close()
	if ex := e.exchange(0); ex.Fault == nil || ex.Fault.Kind != stream.ClientGone || ex.Status != 0 {
		t.Errorf("status %d, fault %v", ex.Status, ex.Fault)
	}
}

func TestConnections(t *testing.T) {
	e := newEdge(t, echo)
	p := e.dial()
	p.send(post + "Content-Length: 3\r\n\r\nabc")
	_, fields := p.head()
	n := lengthOf(fields)
	p.read(n)
	e.exchange(0)
	var states []ConnState
	e.Connections(func(s ConnState) bool { states = append(states, s); return true })
	if len(states) != 1 || states[0].Requests != 1 || states[0].BytesIn != 3 || states[0].BytesOut != int64(n) ||
		states[0].Facts.Listener != "test" || states[0].Age <= 0 {
		t.Errorf("got %+v", states)
	}
}

// A body that is closed while another goroutine reads it lets that read go,
// and the connection lives on.
func TestBodyClosedWhileRead(t *testing.T) {
	e := newEdge(t, stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		if req.Length == 0 {
			return text(200, "next"), nil
		}
		started, ended := make(chan struct{}), make(chan error)
		go func() {
			b := make([]byte, 10)
			req.Body.Read(b) // what came with the head
			close(started)
			_, err := req.Body.Read(b)
			ended <- err
		}()
		<-started
		req.Body.Close()
		var f *stream.Fault
		if err := <-ended; !errors.As(err, &f) {
			return text(500, "the read ended without a fault"), nil
		}
		return text(200, "ok"), nil
	}))
	p := e.dial()
	p.send(post + "Content-Length: 6\r\n\r\nabc")
	if first, _ := p.head(); first != "HTTP/1.1 200 OK" {
		t.Fatalf("got %q", first)
	}
	p.want("ok")
	p.send("def" + get + "\r\n")
	p.head()
	p.want("next")
}
