package http2

import (
	"context"
	"io"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/weirproxy/weir/stream"
)

// answered is one request against a script: what it gets.
type answered struct {
	resp *stream.Response
	err  error
}

// ask serves req in a goroutine of its own.
func ask(t testing.TB, c *Client, ctx context.Context, req *stream.Request) <-chan answered {
	t.Helper()
	if !c.Reserve() {
		t.Fatal("no place")
	}
	got := make(chan answered, 1)
	go func() {
		resp, err := c.Serve(ctx, req)
		got <- answered{resp, err}
	}()
	return got
}

func TestClientRequestHead(t *testing.T) {
	u := newClientSetup(t)
	c, up := newFakeUpstream(t, u)
	req := clientRequest("POST", "/a/b", stream.BytesBody([]byte("hi")), 2)
	req.Target.Port, req.Target.Query, req.Target.HasQuery, req.Target.Scheme = "8443", "q=1", true, "https"
	req.GRPC = stream.GRPCCall
	req.Header.Add("X-Up", "V")
	req.Header.Add("TE", "gzip")
	req.Header.Add("Connection", "close")
	req.Header.Add("Expect", "100-continue")
	got := ask(t, c, t.Context(), req)
	h := up.expect(http2.FrameHeaders)
	want := map[string]string{
		":method": "POST", ":scheme": "https", ":authority": "example.com:8443", ":path": "/a/b?q=1",
		"x-up": "V", "te": "trailers", "content-length": "2",
	}
	if len(h.fields) != len(want) || h.Flags.Has(http2.FlagHeadersEndStream) {
		t.Errorf("fields %v, flags %v", h.fields, h.Flags)
	}
	for name, value := range want {
		if h.fields[name] != value {
			t.Errorf("%s: %q, want %q", name, h.fields[name], value)
		}
	}
	if d := up.expect(http2.FrameData); d.data != "hi" || !d.Flags.Has(http2.FlagDataEndStream) {
		t.Errorf("content %q, flags %v", d.data, d.Flags)
	}
	up.headers(1, false, ":status", "200", "x-a", "b")
	up.data(1, false, "payload")
	up.headers(1, true, "grpc-status", "5", "x-t", "u", "content-type", "x")
	a := <-got
	if a.err != nil {
		t.Fatal(a.err)
	}
	if body := readAll(t, a.resp); body != "payload" || a.resp.Length != -1 || req.Exchange.GRPCStatus != 6 {
		t.Errorf("body %q, length %d, status %d", body, a.resp.Length, req.Exchange.GRPCStatus)
	}
	if trailer := a.resp.Body.Trailer(); trailer.Len() != 2 {
		t.Errorf("trailer %v, want two fields: the third says how to read content", trailer.Fields())
	}
	a.resp.Body.Close()
}

// What is no response, or not all of one, and what the upstream is told.
func TestClientResponseRefused(t *testing.T) {
	big := strings.Repeat("x", 60<<10)
	for _, tc := range []struct {
		name   string
		method string
		send   func(up *fakeUpstream)
		kind   stream.Kind
		code   http2.ErrCode
	}{
		{"no status", "GET", func(up *fakeUpstream) { up.headers(1, true, "a", "b") }, stream.ResponseMalformed, http2.ErrCodeProtocol},
		{"status behind a field", "GET", func(up *fakeUpstream) { up.headers(1, true, "a", "b", ":status", "200") }, stream.ResponseMalformed, http2.ErrCodeProtocol},
		{"status twice", "GET", func(up *fakeUpstream) { up.headers(1, true, ":status", "200", ":status", "200") }, stream.ResponseMalformed, http2.ErrCodeProtocol},
		{"status 99", "GET", func(up *fakeUpstream) { up.headers(1, true, ":status", "099") }, stream.ResponseMalformed, http2.ErrCodeProtocol},
		{"status of four digits", "GET", func(up *fakeUpstream) { up.headers(1, true, ":status", "2000") }, stream.ResponseMalformed, http2.ErrCodeProtocol},
		{"switch", "GET", func(up *fakeUpstream) { up.headers(1, false, ":status", "101") }, stream.ResponseMalformed, http2.ErrCodeProtocol},
		{"pseudo-header field of a request", "GET", func(up *fakeUpstream) { up.headers(1, true, ":status", "200", ":path", "/") }, stream.ResponseMalformed, http2.ErrCodeProtocol},
		{"capitals", "GET", func(up *fakeUpstream) { up.headers(1, true, ":status", "200", "X-A", "b") }, stream.ResponseMalformed, http2.ErrCodeProtocol},
		{"line break", "GET", func(up *fakeUpstream) { up.headers(1, true, ":status", "200", "x", "a\r\nb: c") }, stream.ResponseMalformed, http2.ErrCodeProtocol},
		{"connection field", "GET", func(up *fakeUpstream) { up.headers(1, true, ":status", "200", "connection", "close") }, stream.ResponseMalformed, http2.ErrCodeProtocol},
		{"transfer coding", "GET", func(up *fakeUpstream) { up.headers(1, true, ":status", "200", "transfer-encoding", "chunked") }, stream.ResponseMalformed, http2.ErrCodeProtocol},
		{"length twice", "GET", func(up *fakeUpstream) {
			up.headers(1, true, ":status", "200", "content-length", "0", "content-length", "0")
		}, stream.ResponseMalformed, http2.ErrCodeProtocol},
		{"length signed", "GET", func(up *fakeUpstream) { up.headers(1, true, ":status", "200", "content-length", "+0") }, stream.ResponseMalformed, http2.ErrCodeProtocol},
		{"length without content", "GET", func(up *fakeUpstream) { up.headers(1, true, ":status", "200", "content-length", "5") }, stream.ResponseTruncated, http2.ErrCodeProtocol},
		{"content before the head", "GET", func(up *fakeUpstream) { up.data(1, false, "x") }, stream.ResponseMalformed, http2.ErrCodeProtocol},
		{"too many fields", "GET", func(up *fakeUpstream) {
			fields := []string{":status", "200"}
			for range 100 {
				fields = append(fields, "a", "b")
			}
			up.headers(1, true, fields...)
		}, stream.ResponseTooLarge, http2.ErrCodeEnhanceYourCalm},
		{"fields too large", "GET", func(up *fakeUpstream) {
			block := up.block(":status", "200", "a", big, "b", big)
			up.write(func(fr *http2.Framer) error {
				fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:16<<10], EndStream: true})
				for block = block[16<<10:]; len(block) > 16<<10; block = block[16<<10:] {
					fr.WriteContinuation(1, false, block[:16<<10])
				}
				return fr.WriteContinuation(1, true, block)
			})
		}, stream.ResponseTooLarge, http2.ErrCodeEnhanceYourCalm},
		{"interim that ends", "GET", func(up *fakeUpstream) { up.headers(1, true, ":status", "103") }, stream.ResponseMalformed, http2.ErrCodeProtocol},
		{"nine interim", "GET", func(up *fakeUpstream) {
			for range 9 {
				up.headers(1, false, ":status", "103")
			}
		}, stream.ResponseMalformed, http2.ErrCodeProtocol},
		{"large interim", "GET", func(up *fakeUpstream) {
			for range 8 {
				up.headers(1, false, ":status", "103", "link", strings.Repeat("x", 9<<10))
			}
		}, stream.ResponseTooLarge, http2.ErrCodeEnhanceYourCalm},
		{"window update of nothing", "GET", func(up *fakeUpstream) {
			up.raw(rawFrame(frameWindowUpdate, 0, 1, u32(0)))
		}, stream.ResponseMalformed, http2.ErrCodeProtocol},
		{"window too large", "GET", func(up *fakeUpstream) {
			up.raw(rawFrame(frameWindowUpdate, 0, 1, u32(maxWindow)))
		}, stream.ResponseMalformed, http2.ErrCodeFlowControl},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u := newClientSetup(t)
			c, up := newFakeUpstream(t, u)
			got := ask(t, c, t.Context(), clientRequest(tc.method, "/", nil, 0))
			up.expect(http2.FrameHeaders)
			tc.send(up)
			a := <-got
			expectFault(t, a.err, tc.kind, stream.RetryNever)
			if r := up.expect(http2.FrameRSTStream); r.code != tc.code {
				t.Errorf("reset with %v, want %v", r.code, tc.code)
			}
			// The connection is as good as before, its tables in step.
			got = ask(t, c, t.Context(), clientRequest("GET", "/", nil, 0))
			up.expect(http2.FrameHeaders)
			up.headers(3, true, ":status", "204", "x-a", "b")
			if a = <-got; a.err != nil {
				t.Fatal(a.err)
			}
			if v, _ := a.resp.Header.Get("x-a"); v != "b" || a.resp.Length != 0 {
				t.Errorf("x-a is %q, length %d", v, a.resp.Length)
			}
			a.resp.Body.Close()
			if c.places.Load() != 0 || streamsOf(c) != 0 {
				t.Errorf("%d places, %d streams", c.places.Load(), streamsOf(c))
			}
		})
	}
}

// What breaks off behind the head.
func TestClientBodyRefused(t *testing.T) {
	for _, tc := range []struct {
		name, method, length string
		status               string
		send                 func(up *fakeUpstream)
		kind                 stream.Kind
	}{
		{"more than its length", "GET", "3", "200", func(up *fakeUpstream) { up.data(1, true, "xxxx") }, stream.ResponseMalformed},
		{"less than its length", "GET", "5", "200", func(up *fakeUpstream) { up.data(1, true, "xxxx") }, stream.ResponseTruncated},
		{"less, with a trailer", "GET", "5", "200", func(up *fakeUpstream) { up.headers(1, true, "a", "b") }, stream.ResponseTruncated},
		{"content for HEAD", "HEAD", "4", "200", func(up *fakeUpstream) { up.data(1, true, "xxxx") }, stream.ResponseMalformed},
		{"content of 304", "GET", "4", "304", func(up *fakeUpstream) { up.data(1, true, "xxxx") }, stream.ResponseMalformed},
		{"content of 204", "GET", "", "204", func(up *fakeUpstream) { up.data(1, true, "xxxx") }, stream.ResponseMalformed},
		{"a second head", "GET", "", "200", func(up *fakeUpstream) { up.headers(1, false, ":status", "200") }, stream.ResponseMalformed},
		{"trailer that does not end", "GET", "", "200", func(up *fakeUpstream) { up.headers(1, false, "a", "b") }, stream.ResponseMalformed},
		{"status in the trailer", "GET", "", "200", func(up *fakeUpstream) { up.headers(1, true, ":status", "200") }, stream.ResponseMalformed},
		{"length in the trailer", "GET", "", "200", func(up *fakeUpstream) { up.headers(1, true, "content-length", "0") }, stream.ResponseMalformed},
		{"reset", "GET", "", "200", func(up *fakeUpstream) { up.reset(1, http2.ErrCodeInternal) }, stream.UpstreamReset},
		{"close", "GET", "", "200", func(up *fakeUpstream) { up.nc.Close() }, stream.ResponseTruncated},
		{"too large a trailer", "GET", "", "200", func(up *fakeUpstream) {
			for range 5 {
				up.data(1, false, "x")
			}
			fields := []string{}
			for range 100 {
				fields = append(fields, "a", "b")
			}
			up.headers(1, true, fields...)
		}, stream.ResponseTooLarge},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u := newClientSetup(t)
			c, up := newFakeUpstream(t, u)
			got := ask(t, c, t.Context(), clientRequest(tc.method, "/", nil, 0))
			up.expect(http2.FrameHeaders)
			if tc.length == "" {
				up.headers(1, false, ":status", tc.status)
			} else {
				up.headers(1, false, ":status", tc.status, "content-length", tc.length)
			}
			a := <-got
			if a.err != nil {
				t.Fatal(a.err)
			}
			tc.send(up)
			_, err := io.ReadAll(a.resp.Body)
			expectFault(t, err, tc.kind, stream.AsFault(err).Retry)
			a.resp.Body.Close()
			if u.ended.Load() != 1 || c.places.Load()&(retired-1) != 0 {
				t.Errorf("%d ended, %d places", u.ended.Load(), c.places.Load())
			}
		})
	}
}

// Before the head: what the fault says about trying again.
func TestClientRetry(t *testing.T) {
	for _, tc := range []struct {
		name  string
		send  func(up *fakeUpstream)
		kind  stream.Kind
		retry stream.Retry
		lives bool
	}{
		{"refused", func(up *fakeUpstream) { up.reset(1, http2.ErrCodeRefusedStream) }, stream.UpstreamReset, stream.RetryUnsent, true},
		{"reset", func(up *fakeUpstream) { up.reset(1, http2.ErrCodeInternal) }, stream.UpstreamReset, stream.RetryIdempotent, true},
		{"HTTP/1.1 wanted", func(up *fakeUpstream) { up.reset(1, http2.ErrCodeHTTP11Required) }, stream.UpstreamReset, stream.RetryNever, true},
		{"behind GOAWAY", func(up *fakeUpstream) { up.goAway(0, http2.ErrCodeNo) }, stream.UpstreamClosed, stream.RetryUnsent, false},
		{"closed", func(up *fakeUpstream) { up.nc.Close() }, stream.UpstreamClosed, stream.RetryIdempotent, false},
		{"in front of GOAWAY, closed", func(up *fakeUpstream) { up.goAway(1, http2.ErrCodeNo); up.nc.Close() }, stream.UpstreamClosed, stream.RetryIdempotent, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u := newClientSetup(t)
			c, up := newFakeUpstream(t, u)
			got := ask(t, c, t.Context(), clientRequest("GET", "/", nil, 0))
			up.expect(http2.FrameHeaders)
			tc.send(up)
			a := <-got
			expectFault(t, a.err, tc.kind, tc.retry)
			if !tc.lives {
				<-c.Done()
				if c.Reserve() {
					t.Error("a connection that is over has a place")
				}
				return
			}
			if !c.Reserve() {
				t.Error("the connection is lost")
			}
		})
	}
}

// GOAWAY: what is in front of it is finished, what is behind it tried
// elsewhere, and then the connection goes.
func TestClientGoAway(t *testing.T) {
	u := newClientSetup(t)
	c, up := newFakeUpstream(t, u)
	first := ask(t, c, t.Context(), clientRequest("GET", "/1", nil, 0))
	up.expect(http2.FrameHeaders)
	second := ask(t, c, t.Context(), clientRequest("GET", "/2", nil, 0))
	up.expect(http2.FrameHeaders)
	if !c.Reserve() { // a third has a place, and comes too late
		t.Fatal("no place")
	}
	up.goAway(maxStream, http2.ErrCodeNo)
	up.goAway(1, http2.ErrCodeNo)
	a := <-second
	expectFault(t, a.err, stream.UpstreamClosed, stream.RetryUnsent)
	if c.Reserve() {
		t.Error("a place on a connection that goes")
	}
	_, err := c.Serve(t.Context(), clientRequest("GET", "/3", nil, 0))
	expectFault(t, err, stream.UpstreamClosed, stream.RetryUnsent)
	up.headers(1, false, ":status", "200")
	a = <-first
	if a.err != nil {
		t.Fatal(a.err)
	}
	up.data(1, true, "all")
	if got := readAll(t, a.resp); got != "all" {
		t.Errorf("body %q", got)
	}
	a.resp.Body.Close()
	<-c.Done()
	if n := u.cfg.Stats.Unprocessed.Load(); n != 1 {
		t.Errorf("%d unprocessed, want 1", n)
	}
}

func TestClientInterim(t *testing.T) {
	u := newClientSetup(t)
	c, up := newFakeUpstream(t, u)
	req := clientRequest("GET", "/", nil, 0)
	interims := make(chan string, 10)
	req.Interim = func(status int, h *stream.Header) error {
		link, _ := h.Get("link")
		interims <- link
		return nil
	}
	got := ask(t, c, t.Context(), req)
	up.expect(http2.FrameHeaders)
	up.headers(1, false, ":status", "103", "link", "a")
	if link := <-interims; link != "a" {
		t.Errorf("link %q", link)
	}
	up.headers(1, false, ":status", "100")
	up.headers(1, false, ":status", "103", "link", "b")
	up.headers(1, true, ":status", "200", "content-length", "0")
	a := <-got
	if a.err != nil || len(interims) != 1 || <-interims != "b" {
		t.Fatalf("%v, %d interim responses more", a.err, len(interims))
	}
	a.resp.Body.Close()
}

// A small response that came in one piece is in memory.
func TestClientWhole(t *testing.T) {
	u := newClientSetup(t)
	c, up := newFakeUpstream(t, u)
	got := ask(t, c, t.Context(), clientRequest("GET", "/", nil, 0))
	up.expect(http2.FrameHeaders)
	var out []byte
	block := up.block(":status", "200", "content-length", "5")
	out = append(out, rawFrame(frameHeaders, flagEndHeaders, 1, block)...)
	out = append(out, rawFrame(frameData, flagEndStream, 1, []byte("hello"))...)
	up.raw(out)
	a := <-got
	if a.err != nil {
		t.Fatal(a.err)
	}
	if b, ok := a.resp.Body.(stream.Whole).Bytes(); !ok || string(b) != "hello" || a.resp.Length != 5 {
		t.Errorf("%q, %v, length %d", b, ok, a.resp.Length)
	}
	a.resp.Body.Close()
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if c.window.taken != 5 {
		t.Errorf("%d bytes go back to the window of the connection, want 5", c.window.taken)
	}
}

// A client that does not read holds one window of the stream, and one that
// closes gives back what it held.
func TestClientSlowReader(t *testing.T) {
	u := newClientSetup(t)
	u.cfg.StreamWindow, u.cfg.ConnectionWindow = 64<<10, 128<<10
	c, up := newFakeUpstream(t, u)
	first := up.expect(http2.FrameWindowUpdate)
	got := ask(t, c, t.Context(), clientRequest("GET", "/", nil, 0))
	up.expect(http2.FrameHeaders)
	up.headers(1, false, ":status", "200")
	a := <-got
	for range 4 {
		up.data(1, false, strings.Repeat("x", 16000))
	}
	if first.n != 128<<10-65535 {
		t.Errorf("the window of the connection grows by %d", first.n)
	}
	p := make([]byte, 30000)
	if n, err := io.ReadFull(a.resp.Body, p); err != nil {
		t.Fatal(n, err)
	}
	if w := up.expect(http2.FrameWindowUpdate); w.StreamID != 1 || w.n != 30000 {
		t.Errorf("stream %d opens by %d, want 1 by what was read", w.StreamID, w.n)
	}
	a.resp.Body.Close()
	if r := up.expect(http2.FrameRSTStream); r.code != http2.ErrCodeCancel {
		t.Errorf("reset with %v", r.code)
	}
	up.data(1, false, "still on its way")
	got = ask(t, c, t.Context(), clientRequest("GET", "/", nil, 0))
	up.expect(http2.FrameHeaders)
	up.headers(3, true, ":status", "200")
	a = <-got
	a.resp.Body.Close()
	c.out.mu.Lock()
	if w := c.window; w.left+w.taken != 128<<10 {
		t.Errorf("%d of the window of the connection are lost", 128<<10-w.left-w.taken)
	}
	c.out.mu.Unlock()
}

// An upstream that sends more than it may.
func TestClientWindowOverrun(t *testing.T) {
	u := newClientSetup(t)
	u.cfg.StreamWindow = 64 << 10
	c, up := newFakeUpstream(t, u)
	got := ask(t, c, t.Context(), clientRequest("GET", "/", nil, 0))
	up.expect(http2.FrameHeaders)
	up.headers(1, false, ":status", "200")
	a := <-got
	for range 5 {
		up.data(1, false, strings.Repeat("x", 16000))
	}
	// All of it has come before anything is read, which would open the window.
	up.raw(rawFrame(framePing, 0, 0, make([]byte, 8)))
	up.expect(http2.FramePing)
	n, err := io.Copy(io.Discard, a.resp.Body)
	expectFault(t, err, stream.ResponseMalformed, stream.RetryNever)
	if n != 64000 {
		t.Errorf("%d bytes, want those within the window", n)
	}
	a.resp.Body.Close()
	if r := up.expect(http2.FrameRSTStream); r.code != http2.ErrCodeFlowControl {
		t.Errorf("reset with %v", r.code)
	}
}
