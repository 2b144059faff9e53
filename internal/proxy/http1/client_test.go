package http1

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirproxy/weir/internal/peek"
	"github.com/weirproxy/weir/stream"
)

// newGet is a request as a stage would hand it over.
func newGet(path string) *stream.Request {
	return &stream.Request{
		Method: "GET", Proto: stream.HTTP11, Body: stream.NoBody, Conn: &stream.Conn{},
		Target: stream.Target{Scheme: "http", Host: "a", Path: path},
	}
}

func newPost(body stream.Body, length int64) *stream.Request {
	req := newGet("/")
	req.Method, req.Body, req.Length = "POST", body, length
	return req
}

// readAll reads a response to its end and closes it.
func readAll(resp *stream.Response) (string, *stream.Fault) {
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return string(b), stream.AsFault(err)
	}
	return string(b), nil
}

func TestRequestOnTheWire(t *testing.T) {
	header := func(req *stream.Request) *stream.Request {
		req.Header.Add("x-B", "1")
		req.Header.Add("Connection", "X-A")
		req.Header.Add("Content-Length", "7")
		req.Header.Add("transfer-encoding", "chunked")
		req.Header.Add("Host", "evil")
		req.Header.Add("Expect", "100-continue")
		req.Header.Add("X-A", "2")
		return req
	}
	trailer := new(stream.Header)
	trailer.Add("X-Sum", "9")
	for _, c := range []struct {
		name string
		req  *stream.Request
		want string
	}{
		{"get", newGet("/a"), "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"query and port", func() *stream.Request {
			r := newGet("/a")
			r.Target.Port, r.Target.Query, r.Target.HasQuery = "81", "x=y", true
			return r
		}(), "GET /a?x=y HTTP/1.1\r\nHost: a:81\r\n\r\n"},
		{"OPTIONS *", func() *stream.Request { r := newGet("*"); r.Method = "OPTIONS"; return r }(), "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"owned fields are not written", header(newGet("/")), "GET / HTTP/1.1\r\nHost: a\r\nx-B: 1\r\nX-A: 2\r\n\r\n"},
		{"upgrade", func() *stream.Request { r := newGet("/"); r.Upgrade = "tls/1.2"; return r }(),
			"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: tls/1.2\r\n\r\n"},
		{"post without content", newPost(stream.NoBody, 0), "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"},
		{"content in memory", newPost(stream.BytesBody([]byte("abc")), 3), "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"},
		{"content in memory, length not known", newPost(stream.BytesBody([]byte("abc")), -1), "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"},
		{"content that streams", newPost(&pieces{rest: []string{"abc", "def"}}, 6), "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabcdef"},
		{"length not known", newPost(&pieces{rest: []string{"abc", strings.Repeat("x", 16)}, trailer: trailer}, -1),
			"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n10\r\nxxxxxxxxxxxxxxxx\r\n0\r\nX-Sum: 9\r\n\r\n"},
		{"large content in memory", newPost(stream.BytesBody(bytes.Repeat([]byte("x"), 100000)), 100000),
			"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100000)},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOrigin(t)
			p := newPool(t, o)
			got := make(chan string, 1)
			go func() {
				up := o.accept()
				got <- up.read(len(c.want))
				up.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}()
			resp, err := p.Serve(context.Background(), c.req)
			if err != nil {
				t.Fatal(err)
			}
			if body, f := readAll(resp); f != nil || body != "ok" {
				t.Errorf("the response is %q, %v", body, f)
			}
			if g := <-got; g != c.want {
				t.Error(cmp.Diff(c.want, g))
			}
			p.wantFreed(true)
		})
	}
}

// What must not leave us stops the request, and the connection is as it was.
func TestRequestNotWritable(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*stream.Request)
	}{
		{"CRLF in a value", func(r *stream.Request) { r.Header.Add("X", "a\r\nY: b") }},
		{"space in a name", func(r *stream.Request) { r.Header.Add("X Y", "a") }},
		{"space in the path", func(r *stream.Request) { r.Target.Path = "/ HTTP/1.1\r\nX: " }},
		{"CRLF in the query", func(r *stream.Request) { r.Target.Query, r.Target.HasQuery = "\r\n", true }},
		{"CRLF in the host", func(r *stream.Request) { r.Target.Host = "a\r\nX: b" }},
		{"space in the method", func(r *stream.Request) { r.Method = "GET /x" }},
		{"comma in the upgrade", func(r *stream.Request) { r.Upgrade = "a, b" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOrigin(t)
			p := newPool(t, o)
			req := newGet("/")
			c.change(req)
			if _, err := p.Serve(context.Background(), req); err == nil || stream.AsFault(err).Kind != stream.Internal {
				t.Errorf("got %v", err)
			}
			p.wantFreed(true)
			up := o.accept()
			p.mu.Lock()
			p.idle[0].nc.(*net.TCPConn).CloseWrite()
			p.mu.Unlock()
			if got := up.rest(); got != "" {
				t.Errorf("%q was sent", got)
			}
		})
	}
}

// Responses and what becomes of them and of the connection.
func TestResponses(t *testing.T) {
	head := func(r *stream.Request) { r.Method = "HEAD" }
	for _, c := range []struct {
		name, send string
		closes     bool // the upstream closes behind it
		change     func(*stream.Request)
		status     int
		length     int64
		body       string
		fault      string // of the head or of the body
		reusable   bool
	}{
		{name: "length", send: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", status: 200, length: 3, body: "abc", reusable: true},
		{name: "no reason", send: "HTTP/1.1 200\r\nContent-Length: 3\r\n\r\nabc", status: 200, length: 3, body: "abc", reusable: true},
		{name: "chunked", send: "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", status: 200, length: -1, body: "abc", reusable: true},
		{name: "to the close", send: "HTTP/1.1 200 OK\r\n\r\nabc", closes: true, status: 200, length: -1, body: "abc"},
		{name: "close", send: "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc", status: 200, length: 3, body: "abc"},
		{name: "1.0", send: "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", status: 200, length: 3, body: "abc"},
		{name: "1.0 with keep-alive", send: "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 3\r\n\r\nabc", status: 200, length: 3, body: "abc", reusable: true},
		{name: "204", send: "HTTP/1.1 204 No Content\r\n\r\n", status: 204, reusable: true},
		{name: "204 with a length", send: "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc", status: 204},
		{name: "204 with a coding", send: "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", status: 204},
		{name: "304 with a length", send: "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", status: 304, length: 3, reusable: true},
		{name: "304", send: "HTTP/1.1 304 Not Modified\r\n\r\n", status: 304, length: -1, reusable: true},
		{name: "HEAD", send: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", change: head, status: 200, length: 3, reusable: true},
		{name: "HEAD with a body all the same", send: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", change: head, status: 200, length: 3},
		{name: "interim", send: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
			status: 200, length: 3, body: "abc", reusable: true},
		{name: "sends twice", send: strings.Repeat("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", 2), status: 200, length: 3, body: "abc"},
		{name: "says less than it sends", send: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc", status: 200, length: 2, body: "ab"},
		{name: "says more than it sends", send: "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", closes: true, status: 200, length: 4, body: "abc", fault: "response_truncated"},
		{name: "no last chunk", send: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", closes: true, status: 200, length: -1, body: "abc", fault: "response_truncated"},
		{name: "ends inside a chunk", send: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", closes: true, status: 200, length: -1, body: "abc", fault: "response_truncated"},
		{name: "bad chunk", send: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nx\r\n", status: 200, length: -1, body: "abc", fault: "response_malformed"},
		{name: "chunk line with bare LF", send: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", status: 200, length: -1, fault: "response_malformed"},
		{name: "both lengths", send: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", fault: "response_malformed"},
		{name: "two equal lengths", send: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", fault: "response_malformed"},
		{name: "two lengths", send: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", fault: "response_malformed"},
		{name: "length with plus", send: "HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc", fault: "response_malformed"},
		{name: "coding list", send: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", fault: "response_malformed"},
		{name: "coding in 1.0", send: "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", fault: "response_malformed"},
		{name: "bare LF", send: "HTTP/1.1 200 OK\nContent-Length: 3\n\nabc", fault: "response_malformed"},
		{name: "NUL in a value", send: "HTTP/1.1 200 OK\r\nX: a\x00\r\n\r\n", fault: "response_malformed"},
		{name: "obs-fold", send: "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", fault: "response_malformed"},
		{name: "space before the colon", send: "HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\nabc", fault: "response_malformed"},
		{name: "version 2", send: "HTTP/2 200 OK\r\n\r\n", fault: "response_malformed"},
		{name: "two digits of status", send: "HTTP/1.1 20 OK\r\n\r\n", fault: "response_malformed"},
		{name: "four digits of status", send: "HTTP/1.1 2000 OK\r\n\r\n", fault: "response_malformed"},
		{name: "status 099", send: "HTTP/1.1 099 OK\r\n\r\n", fault: "response_malformed"},
		{name: "garbage", send: "SSH-2.0-OpenSSH\r\n", fault: "response_malformed"},
		{name: "TLS alert", send: "\x15\x03\x01\x00\x02\x02\x28", fault: "response_malformed"},
		{name: "endless status line", send: "HTTP/1.1 200 " + strings.Repeat("x", 2000), fault: "response_malformed"},
		{name: "huge head", send: "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 70), fault: "response_too_large (max_header_bytes)"},
		{name: "many fields", send: "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 101), fault: "response_too_large (max_header_count)"},
		{name: "many fields over interims", send: strings.Repeat("HTTP/1.1 103 \r\n"+strings.Repeat("X: y\r\n", 40)+"\r\n", 3), fault: "response_too_large (max_header_count)"},
		{name: "many interims", send: strings.Repeat("HTTP/1.1 103 \r\n\r\n", 9), fault: "response_malformed"},
		{name: "many trailers", send: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("X: y\r\n", 101), status: 200, length: -1, fault: "response_too_large (max_header_count)"},
		{name: "101 not asked for", send: "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", fault: "response_malformed"},
		{name: "101 to another protocol", send: "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
			change: func(r *stream.Request) { r.Upgrade = "websocket" }, fault: "response_malformed"},
		{name: "nothing", closes: true, fault: "upstream_closed"},
		{name: "part of a head", send: "HTTP/1.1 200 OK\r\nX: ", closes: true, fault: "response_truncated"},
	} {
		for _, how := range []string{"at once", "byte by byte"} {
			t.Run(c.name+" "+how, func(t *testing.T) {
				o := newOrigin(t)
				p := newPool(t, o)
				req := newGet("/")
				if c.change != nil {
					c.change(req)
				}
				go func() {
					up := o.accept()
					up.head()
					if how == "at once" {
						up.nc.Write([]byte(c.send))
					} else {
						for i := 0; i < len(c.send) && len(c.send) < 3000; i++ {
							up.nc.Write([]byte(c.send[i : i+1]))
						}
						if len(c.send) >= 3000 {
							up.nc.Write([]byte(c.send))
						}
					}
					if c.closes {
						up.nc.Close()
					}
				}()
				resp, err := p.Serve(context.Background(), req)
				if err != nil {
					if got := faultText(stream.AsFault(err)); c.status != 0 || got != c.fault {
						t.Errorf("no response: %v, want %q", err, c.fault)
					}
					p.wantFreed(false)
					return
				}
				if resp.Status != c.status || resp.Length != c.length {
					t.Errorf("got status %d and length %d, want %d and %d", resp.Status, resp.Length, c.status, c.length)
				}
				body, f := readAll(resp)
				if body != c.body || faultText(f) != c.fault {
					t.Errorf("got body %q and fault %v, want %q and %q", body, f, c.body, c.fault)
				}
				if how == "at once" || c.reusable { // byte by byte, what is behind a response may come later
					p.wantFreed(c.reusable)
				}
			})
		}
	}
}

// faultText is what the client may know of a fault.
func faultText(f *stream.Fault) string {
	if f == nil {
		return ""
	}
	return (&stream.Fault{Kind: f.Kind, Limit: f.Limit}).Error()
}

// What happens to a connection while it is idle in the pool.
func TestStale(t *testing.T) {
	for _, c := range []struct {
		name   string
		harm   func(*peer)
		fault  stream.Kind
		method string
	}{
		{"closed", func(p *peer) { p.nc.Close() }, stream.UpstreamClosed, "POST"},
		{"closed after a 408", func(p *peer) { p.send("HTTP/1.1 408 Request Timeout\r\n\r\n"); p.nc.Close() }, stream.UpstreamClosed, "POST"},
		{"early bytes", func(p *peer) { p.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison") }, stream.UpstreamClosed, "GET"},
		// The look of waitReadable takes the error; what is left is the end.
		{"reset", func(p *peer) { p.nc.(*net.TCPConn).SetLinger(0); p.nc.Close() }, stream.UpstreamClosed, "POST"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOrigin(t)
			p := newPool(t, o)
			harmed := make(chan string)
			go func() {
				up := o.accept()
				up.head()
				up.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				<-harmed
				c.harm(up)
				harmed <- ""
				harmed <- up.rest()
			}()
			resp, err := p.Serve(context.Background(), newGet("/"))
			if err != nil {
				t.Fatal(err)
			}
			readAll(resp)
			p.wantFreed(true)
			harmed <- ""
			<-harmed
			waitReadable(t, p.idle[0])
			req := newPost(stream.BytesBody([]byte("abc")), 3)
			req.Method = c.method
			_, err = p.Serve(context.Background(), req)
			if f := stream.AsFault(err); err == nil || f.Kind != c.fault || f.Retry != stream.RetryUnsent {
				t.Errorf("got %v, want %v that was not sent", err, c.fault)
			}
			p.wantFreed(false)
			if got := <-harmed; got != "" {
				t.Errorf("%q was sent", got)
			}
		})
	}
}

// waitReadable waits until the kernel has what the upstream did.
func waitReadable(t *testing.T, c *Client) {
	t.Helper()
	if err := c.src.raw.Read(func(fd uintptr) bool {
		return !errors.Is(peek.Look(fd), syscall.EAGAIN)
	}); err != nil {
		t.Fatal(err)
	}
}

// The upstream closes a reused connection as the request arrives.
func TestClosedUnderRequest(t *testing.T) {
	o := newOrigin(t)
	p := newPool(t, o)
	go func() {
		up := o.accept()
		up.head()
		up.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		up.head()
		up.nc.Close()
	}()
	resp, err := p.Serve(context.Background(), newGet("/"))
	if err != nil {
		t.Fatal(err)
	}
	readAll(resp)
	p.wantFreed(true)
	_, err = p.Serve(context.Background(), newGet("/"))
	if f := stream.AsFault(err); err == nil || f.Kind != stream.UpstreamClosed || f.Retry != stream.RetryIdempotent {
		t.Errorf("got %v", err)
	}
	p.wantFreed(false)
}

func TestDeadline(t *testing.T) {
	for _, c := range []struct {
		name  string
		after time.Duration
		retry stream.Retry
	}{
		{"past", -time.Second, stream.RetryUnsent},
		{"near", 50 * time.Millisecond, stream.RetryIdempotent},
		{"watched", 2100 * time.Millisecond, stream.RetryIdempotent},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := newOrigin(t)
			p := newPool(t, o)
			req := newGet("/")
			start := time.Now()
			req.Deadline = start.Add(c.after)
			_, err := p.Serve(context.Background(), req)
			took := time.Since(start)
			if f := stream.AsFault(err); err == nil || f.Kind != stream.UpstreamTimeout || f.Retry != c.retry {
				t.Errorf("got %v", err)
			}
			if took < c.after {
				t.Errorf("it took %v", took)
			}
			p.wantFreed(c.retry == stream.RetryUnsent)
		})
	}
}

// A body may have been long in coming: the deadline is held against the time when
// the request would leave, not against the start of the attempt.
func TestDeadlinePassedBehindTheBody(t *testing.T) {
	o := newOrigin(t)
	p := newPool(t, o)
	req := newPost(stream.BytesBody([]byte("abc")), 3)
	now := time.Now()
	req.Exchange.AttemptStart, req.Deadline, req.Exchange.Reused = now.Add(-time.Minute), now.Add(-time.Second), true
	_, err := p.Serve(context.Background(), req)
	if f := stream.AsFault(err); err == nil || f.Kind != stream.UpstreamTimeout || f.Retry != stream.RetryUnsent {
		t.Errorf("got %v", err)
	}
	p.wantFreed(true)
}

// A deadline that was obeyed leaves nothing behind on the connection.
func TestDeadlineIsCleared(t *testing.T) {
	o := newOrigin(t)
	p := newPool(t, o)
	go func() {
		up := o.accept()
		for range 2 {
			up.head()
			up.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	}()
	for i := range 2 {
		req := newGet("/")
		if i == 0 {
			req.Deadline = time.Now().Add(300 * time.Millisecond)
		} else {
			<-time.After(300 * time.Millisecond) // past the deadline of the first
		}
		resp, err := p.Serve(context.Background(), req)
		if err != nil {
			t.Fatal(err)
		}
		if body, f := readAll(resp); f != nil || body != "ok" {
			t.Errorf("got %q, %v", body, f)
		}
		p.wantFreed(true)
	}
}

func TestCanceled(t *testing.T) {
	t.Run("before", func(t *testing.T) {
		o := newOrigin(t)
		p := newPool(t, o)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := p.Serve(ctx, newGet("/"))
		if f := stream.AsFault(err); err == nil || f.Kind != stream.ClientGone {
			t.Errorf("got %v", err)
		}
		p.wantFreed(true)
	})
	t.Run("while waiting", func(t *testing.T) {
		o := newOrigin(t)
		p := newPool(t, o)
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			o.accept().head()
			cancel()
		}()
		_, err := p.Serve(ctx, newGet("/"))
		if f := stream.AsFault(err); err == nil || f.Kind != stream.ClientGone {
			t.Errorf("got %v", err)
		}
		p.wantFreed(false)
	})
	t.Run("inside the body", func(t *testing.T) {
		o := newOrigin(t)
		p := newPool(t, o)
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			up := o.accept()
			up.head()
			up.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok")
		}()
		resp, err := p.Serve(ctx, newGet("/"))
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, f := readAll(resp); f == nil || f.Kind != stream.ClientGone {
			t.Errorf("got %v", f)
		}
		p.wantFreed(false)
	})
}

// A body closed twice, or too late, does not reach the next exchange.
func TestCloseTwice(t *testing.T) {
	o := newOrigin(t)
	p := newPool(t, o)
	go func() {
		up := o.accept()
		for range 2 {
			up.head()
			up.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	}()
	first, err := p.Serve(context.Background(), newGet("/"))
	if err != nil {
		t.Fatal(err)
	}
	body := first.Body
	readAll(first)
	p.wantFreed(true)
	second, err := p.Serve(context.Background(), newGet("/"))
	if err != nil {
		t.Fatal(err)
	}
	body.Close()
	if _, err := body.Read(make([]byte, 1)); err == nil {
		t.Error("a closed body could be read")
	}
	if got, f := readAll(second); got != "ok" || f != nil {
		t.Errorf("got %q, %v", got, f)
	}
	p.wantFreed(true)
	if len(p.freed) != 0 {
		t.Error("released more than once")
	}
}

// An answer that comes before the request body is sent in full.
func TestEarlyResponse(t *testing.T) {
	blocked := &blockedBody{closed: make(chan struct{})}
	o := newOrigin(t)
	p := newPool(t, o)
	go func() {
		up := o.accept()
		up.head()
		up.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
	}()
	resp, err := p.Serve(context.Background(), newPost(blocked, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	if body, f := readAll(resp); resp.Status != 413 || body != "no" || f != nil {
		t.Errorf("got %d %q, %v", resp.Status, body, f)
	}
	p.wantFreed(false)
}

// blockedBody gives nothing until it is closed.
type blockedBody struct{ closed chan struct{} }

func (b *blockedBody) Read([]byte) (int, error) {
	<-b.closed
	return 0, &stream.Fault{Kind: stream.ClientGone}
}

func (b *blockedBody) Close() error {
	select {
	case <-b.closed:
	default:
		close(b.closed)
	}
	return nil
}

func (b *blockedBody) Trailer() *stream.Header { return nil }

// A request body that breaks off is the client's fault.
func TestUploadBreaksOff(t *testing.T) {
	for _, kind := range []stream.Kind{stream.BodyTimeout, stream.ClientGone, stream.BodyTooLarge, stream.RequestMalformed} {
		t.Run(kind.String(), func(t *testing.T) {
			o := newOrigin(t)
			p := newPool(t, o)
			seen := make(chan string, 1)
			go func() {
				up := o.accept()
				up.head()
				seen <- up.rest()
			}()
			_, err := p.Serve(context.Background(), newPost(&pieces{rest: []string{"abc"}, err: &stream.Fault{Kind: kind}}, -1))
			if f := stream.AsFault(err); err == nil || f.Kind != kind {
				t.Errorf("got %v", err)
			}
			p.wantFreed(false)
			if got := <-seen; got != "3\r\nabc\r\n" {
				t.Errorf("the upstream got %q, want a body without its end", got)
			}
		})
	}
}

// The upstream answers and closes while the body is on its way to it.
func TestClosedUnderUpload(t *testing.T) {
	o := newOrigin(t)
	p := newPool(t, o)
	go func() {
		up := o.accept()
		up.head()
		up.nc.Close()
	}()
	_, err := p.Serve(context.Background(), newPost(&endless{}, -1))
	if f := stream.AsFault(err); err == nil || f.Origin() != stream.Upstream || f.Retry != stream.RetryIdempotent {
		t.Errorf("got %v", err)
	}
	p.wantFreed(false)
}

// endless is a body without an end.
type endless struct{}

func (*endless) Read(p []byte) (int, error) { return len(p), nil }
func (*endless) Close() error               { return nil }
func (*endless) Trailer() *stream.Header    { return nil }
