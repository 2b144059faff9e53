package http2

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	xhttp2 "golang.org/x/net/http2"

	"github.com/weirproxy/weir/stream"
)

// echo answers with what it understood and with the body.
var echo = serviceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	resp := textResponse(200, req.Method+" "+req.Target.Authority()+req.Target.RequestURI()+" "+string(body))
	for _, f := range req.Header.Fields() {
		resp.Header.Add("Echo-"+f.Name, f.Value)
	}
	if a, ok := req.Body.(stream.Announcer); ok {
		resp.Header.Add("Announced", a.Announced())
	}
	if trailer := req.Body.Trailer(); trailer != nil {
		for _, f := range trailer.Fields() {
			resp.Header.Add("Trailer-"+f.Name, f.Value)
		}
	}
	return resp, nil
})

func TestRequest(t *testing.T) {
	e := newEdge(t, echo)
	c := e.dial()
	c.headers(1, true, head(getHead, "cookie", "a=1", "x-y", "z", "cookie", "b=2", "te", "trailers", "authorization", "s")...)
	a := c.response(1)
	if a.status != "200" || a.body != "GET example.com/ " {
		t.Errorf("response %+v", a)
	}
	for name, want := range map[string]string{"echo-cookie": "a=1; b=2", "echo-x-y": "z", "echo-te": "", "content-length": "17"} {
		if a.fields[name] != want {
			t.Errorf("%s is %q, want %q", name, a.fields[name], want)
		}
	}
	if a.fields["date"] == "" {
		t.Error("no date")
	}
	c.headers(3, false, head(postHead, "content-length", "5", "trailer", "x-sum")...)
	c.check(c.fr.WriteData(3, false, []byte("he")))
	c.check(c.fr.WriteData(3, false, []byte("llo")))
	c.headers(3, true, "x-sum", "1", "x-forwarded-for", "6.6.6.6")
	a = c.response(3)
	if a.body != "POST example.com/ hello" || a.fields["trailer-x-sum"] != "1" || a.fields["trailer-x-forwarded-for"] != "" || a.fields["announced"] != "x-sum" {
		t.Errorf("response %+v", a)
	}
	ex := e.exchange(1)
	if ex.Status != 200 || ex.BytesIn != 5 || ex.BytesOut != int64(len(a.body)) || ex.Fault != nil || ex.HeadersIn == 0 {
		t.Errorf("exchange %+v", ex)
	}
}

// Malformed requests are reset, and recorded; what is merely refused is answered.
func TestRefused(t *testing.T) {
	e := newEdge(t, echo, func(cfg *ServerConfig) { cfg.Limits.MaxBodyBytes = 1000; cfg.MaxAbuse = 100000 })
	for _, test := range []struct {
		name   string
		fields []string
		want   string // a status, or "reset"
	}{
		{"no method", []string{":scheme", "http", ":path", "/"}, "reset"},
		{"no scheme", []string{":method", "GET", ":path", "/"}, "reset"},
		{"empty path", []string{":method", "GET", ":scheme", "http", ":path", ""}, "reset"},
		{"twice", head(getHead, ":path", "/x"), "reset"},
		{"behind a field", append([]string{"a", "b"}, getHead...), "reset"},
		{"status", head(getHead, ":status", "200"), "reset"},
		{"capitals", head(getHead, "X-Y", "z"), "reset"},
		{"value", head(getHead, "x", "a\nb"), "reset"},
		{"colon (nginx CVE-2026-42926)", head(getHead, "x: y\r\nz", "a"), "reset"},
		{"connection", head(getHead, "connection", "close"), "reset"},
		{"upgrade", head(getHead, "upgrade", "h2c"), "reset"},
		{"transfer-encoding", head(getHead, "transfer-encoding", "chunked"), "reset"},
		{"te", head(getHead, "te", "gzip"), "reset"},
		{"length without content", head(getHead, "content-length", "1"), "reset"},
		{"two lengths", head(getHead, "content-length", "0", "content-length", "0"), "reset"},
		{"protocol without connect", head(getHead, ":protocol", "websocket"), "reset"},
		{"connect with path", []string{":method", "CONNECT", ":authority", "a:1", ":path", "/"}, "reset"},
		{"host differs", head(getHead, "host", "other.example"), "400"},
		{"no host", []string{":method", "GET", ":scheme", "http", ":path", "/"}, "400"},
		{"asterisk", []string{":method", "GET", ":scheme", "http", ":authority", "h", ":path", "*"}, "400"},
		{"options asterisk", []string{":method", "OPTIONS", ":scheme", "http", ":authority", "h", ":path", "*"}, "200"},
		{"no slash (grpc-go CVE-2026-33186)", []string{":method", "GET", ":scheme", "http", ":authority", "h", ":path", "a"}, "400"},
		{"absolute", []string{":method", "GET", ":scheme", "http", ":authority", "h", ":path", "http://h/"}, "400"},
		{"method case", []string{":method", "get", ":scheme", "http", ":authority", "h", ":path", "/"}, "400"},
		{"trace", []string{":method", "TRACE", ":scheme", "http", ":authority", "h", ":path", "/"}, "501"},
		{"long path", []string{":method", "GET", ":scheme", "http", ":authority", "h", ":path", "/" + strings.Repeat("a", 8<<10)}, "414"},
		{"expectation", head(getHead, "expect", "a-miracle"), "417"},
		{"large field", head(getHead, "x", strings.Repeat("a", 70<<10)), "431"},
		{"host only", []string{":method", "GET", ":scheme", "http", ":path", "/", "host", "h"}, "200"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := e.dial()
			c.t = t
			block := c.fields(test.fields...)
			c.check(c.fr.WriteHeaders(xhttp2.HeadersFrameParam{
				StreamID: 1, BlockFragment: block[:min(len(block), 16000)], EndStream: true, EndHeaders: len(block) <= 16000}))
			for rest := block[min(len(block), 16000):]; len(rest) > 0; {
				n := min(len(rest), 16000)
				c.check(c.fr.WriteContinuation(1, n == len(rest), rest[:n]))
				rest = rest[n:]
			}
			a := c.response(1)
			if got := a.status; got != test.want && (!a.wasCut || test.want != "reset" || a.reset != xhttp2.ErrCodeProtocol || got != "") {
				t.Errorf("answer %+v, want %s", a, test.want)
			}
			// The connection and its table are as they should be.
			c.headers(3, true, getHead...)
			if a := c.response(3); a.status != "200" {
				t.Errorf("behind it: %+v", a)
			}
		})
	}
	if e.Stats.Refused[stream.RequestMalformed].Load() < 20 {
		t.Errorf("%d counted as malformed", e.Stats.Refused[stream.RequestMalformed].Load())
	}
}

// The limit of fields holds at limit and limit + 1, cookie crumbs and
// pseudo-header fields included (Envoy CVE-2026-47774).
func TestHeaderCount(t *testing.T) {
	e := newEdge(t, echo)
	c := e.dial()
	fields := getHead
	for range serverLimits.MaxHeaderCount - len(getHead)/2 {
		fields = head(fields, "cookie", "a=b")
	}
	c.headers(1, true, fields...)
	if a := c.response(1); a.status != "200" {
		t.Errorf("at the limit: %+v", a)
	}
	c.headers(3, true, head(fields, "cookie", "a=b")...)
	if a := c.response(3); a.status != "431" {
		t.Errorf("beyond it: %+v", a)
	}
}

func TestContentLengthLies(t *testing.T) {
	e := newEdge(t, echo)
	c := e.dial()
	for i, test := range []struct {
		content string
		end     bool
	}{{"abc", true}, {"abcdef", true}, {"abcdef", false}} {
		id := uint32(2*i + 1)
		c.headers(id, false, head(postHead, "content-length", "5")...)
		c.check(c.fr.WriteData(id, test.end, []byte(test.content)))
		if a := c.response(id); a.reset != xhttp2.ErrCodeProtocol {
			t.Errorf("%q: %+v", test.content, a)
		}
	}
}

func TestMaxBodyBytes(t *testing.T) {
	e := newEdge(t, echo, func(cfg *ServerConfig) { cfg.Limits.MaxBodyBytes = 1000 })
	c := e.dial()
	c.headers(1, false, head(postHead, "content-length", "1001")...)
	if a := c.response(1); a.status != "413" {
		t.Errorf("declared: %+v", a)
	}
	c.headers(3, false, postHead...)
	c.check(c.fr.WriteData(3, false, make([]byte, 1001)))
	if a := c.response(3); a.status != "413" {
		t.Errorf("as it comes: %+v", a)
	}
	if ex := e.exchange(1); ex.Fault == nil || ex.Fault.Kind != stream.BodyTooLarge {
		t.Errorf("exchange %+v", ex)
	}
}

// pieces is a body that comes in pieces.
type pieces struct {
	list    []string
	err     error
	trailer *stream.Header
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.list) == 0 {
		if p.err != nil {
			return 0, p.err
		}
		return 0, io.EOF
	}
	n := copy(b, p.list[0])
	if p.list[0] = p.list[0][n:]; p.list[0] == "" {
		p.list = p.list[1:]
	}
	return n, nil
}
func (p *pieces) Close() error            { return nil }
func (p *pieces) Trailer() *stream.Header { return p.trailer }

func TestResponses(t *testing.T) {
	trailer := new(stream.Header)
	trailer.Add("Grpc-Status", "3")
	e := newEdge(t, serviceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		resp := &stream.Response{Status: 200, Length: -1}
		switch req.Target.Path {
		case "/trailer":
			resp.Body = &pieces{list: []string{"ab", "c"}, trailer: trailer}
		case "/cut":
			resp.Body = &pieces{list: []string{"ab"}, err: &stream.Fault{Kind: stream.UpstreamReset}}
		case "/short":
			resp.Body, resp.Length = &pieces{list: []string{"ab"}}, 3
		case "/long":
			resp.Body, resp.Length = &pieces{list: []string{"abcd"}}, 3
		case "/big":
			resp.Body = &pieces{list: []string{strings.Repeat("x", 300<<10)}}
		case "/whole":
			return textResponse(200, strings.Repeat("x", 300<<10)), nil
		case "/304":
			return &stream.Response{Status: 304, Body: stream.NoBody, Length: 7}, nil
		case "/panic":
			panic("a defect")
		case "/fault":
			return nil, &stream.Fault{Kind: stream.Internal}
		case "/badfield":
			resp = textResponse(200, "x")
			resp.Header.Add("a b", "c")
		case "/interim":
			h := new(stream.Header)
			h.Add("Link", "</a>")
			if err := req.Interim(103, h); err != nil {
				return nil, stream.AsFault(err)
			}
			return textResponse(200, "x"), nil
		}
		if req.Method == "HEAD" {
			resp = &stream.Response{Status: 200, Body: stream.NoBody, Length: 9}
		}
		return resp, nil
	}))
	for _, test := range []struct {
		method, path, status string
		size                 int
		reset                bool
	}{
		{"GET", "/trailer", "200", 3, false}, {"GET", "/cut", "200", 2, true}, {"GET", "/short", "200", -1, true},
		{"GET", "/long", "200", 0, true}, {"GET", "/big", "200", 300 << 10, false}, {"GET", "/whole", "200", 300 << 10, false},
		{"GET", "/304", "304", 0, false}, {"HEAD", "/", "200", 0, false}, {"GET", "/panic", "", 0, true},
		{"GET", "/fault", "500", 9, false}, {"GET", "/badfield", "500", 9, false}, {"GET", "/interim", "200", 1, false},
	} {
		t.Run(test.method+test.path, func(t *testing.T) {
			c := e.dial(xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 1 << 20})
			c.t = t
			c.check(c.fr.WriteWindowUpdate(0, 1<<20))
			c.headers(1, true, ":method", test.method, ":scheme", "http", ":authority", "h", ":path", test.path)
			a := c.response(1)
			if a.status != test.status || a.wasCut != test.reset || test.size >= 0 && len(a.body) != test.size {
				t.Errorf("status %s, %d bytes, cut %v %v", a.status, len(a.body), a.wasCut, a.reset)
			}
			switch test.path {
			case "/trailer":
				if a.trailer["grpc-status"] != "3" {
					t.Errorf("trailer %v", a.trailer)
				}
			case "/304":
				if a.fields["content-length"] != "7" {
					t.Errorf("fields %v", a.fields)
				}
			}
		})
	}
	if n := e.Stats.Panics.Load(); n != 1 {
		t.Errorf("%d panics counted, want 1", n)
	}
	if ex := e.exchange(0); ex.GRPCStatus != 4 {
		t.Errorf("exchange %+v", ex)
	}
}

func TestExpectContinue(t *testing.T) {
	e := newEdge(t, echo)
	c := e.dial()
	c.headers(1, false, head(postHead, "expect", "100-continue")...)
	f, err := c.next()
	c.check(err)
	if h, ok := f.(*xhttp2.MetaHeadersFrame); !ok || h.PseudoValue("status") != "100" {
		t.Fatalf("got %v, want 100", f)
	}
	c.check(c.fr.WriteData(1, true, []byte("x")))
	if a := c.response(1); a.body != "POST example.com/ x" {
		t.Errorf("answer %+v", a)
	}
}

// A body that nobody reads opens no window; read, it opens both.
func TestReceiveWindow(t *testing.T) {
	read := make(chan struct{})
	e := newEdge(t, serviceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
		select {
		case <-read:
		case <-ctx.Done():
			return nil, &stream.Fault{Kind: stream.ClientGone}
		}
		n, err := io.Copy(io.Discard, req.Body)
		if err != nil {
			return nil, err
		}
		if n != 90000 {
			return nil, &stream.Fault{Kind: stream.Internal, Cause: errors.New("bytes are missing")}
		}
		return textResponse(200, "ok"), nil
	}), func(cfg *ServerConfig) { cfg.StreamWindow, cfg.ConnectionWindow = 65535, 65535 })
	c := e.dial()
	c.headers(1, false, postHead...)
	left := 90000
	for sent := 0; sent < 65535; {
		n := min(16384, 65535-sent)
		c.check(c.fr.WriteData(1, false, make([]byte, n)))
		sent += n
		left -= n
	}
	c.check(c.fr.WritePing(false, [8]byte{1}))
	for ponged := false; !ponged; {
		f, err := c.fr.ReadFrame()
		c.check(err)
		switch f := f.(type) {
		case *xhttp2.WindowUpdateFrame:
			t.Fatalf("a window was opened although nobody reads: %v", f)
		case *xhttp2.PingFrame:
			ponged = f.IsAck()
		}
	}
	read <- struct{}{} // this one, and not the next
	window := map[uint32]int{}
	for window[0] < left || window[1] < left {
		f, err := c.fr.ReadFrame()
		c.check(err)
		if w, ok := f.(*xhttp2.WindowUpdateFrame); ok {
			window[w.StreamID] += int(w.Increment)
		}
	}
	for left > 0 {
		n := min(left, 16384)
		left -= n
		c.check(c.fr.WriteData(1, left == 0, make([]byte, n)))
	}
	if a := c.response(1); a.status != "200" {
		t.Errorf("answer %+v", a)
	}
	// More than the window is an error.
	c.headers(3, false, postHead...)
	for range 5 {
		c.check(c.fr.WriteData(3, false, make([]byte, 16384)))
	}
	if code, _ := c.end(); code != xhttp2.ErrCodeFlowControl {
		t.Errorf("beyond the window: %v", code)
	}
}

// DATA of the response waits for the windows of the client, and no more of the
// body is read meanwhile than one page.
func TestSendWindow(t *testing.T) {
	var source countingBody
	e := newEdge(t, serviceFunc(func(context.Context, *stream.Request) (*stream.Response, error) {
		return &stream.Response{Status: 200, Body: &source, Length: -1}, nil
	}))
	c := e.dial(xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 100})
	c.headers(1, true, getHead...)
	got := 0
	for got < 100 {
		f, err := c.next()
		c.check(err)
		if d, ok := f.(*xhttp2.DataFrame); ok {
			got += len(d.Data())
		}
	}
	c.check(c.fr.WritePing(false, [8]byte{1}))
	f, err := c.fr.ReadFrame()
	c.check(err)
	if p, ok := f.(*xhttp2.PingFrame); !ok || !p.IsAck() || got != 100 {
		t.Fatalf("%v after %d bytes, want the answer to PING", f, got)
	}
	if n := source.read.Load(); n > pageSize {
		t.Errorf("%d bytes of the body were read for a client that took 100", n)
	}
	c.check(c.fr.WriteRSTStream(1, xhttp2.ErrCodeCancel))
	if ex := e.exchange(0); ex.Fault == nil || ex.Fault.Kind != stream.ClientGone || ex.BytesOut != 100 {
		t.Errorf("exchange %+v", ex)
	}
}

// A client that resets a stream ends the wait of its handler.
func TestResetCancels(t *testing.T) {
	e := newEdge(t, serviceFunc(func(ctx context.Context, _ *stream.Request) (*stream.Response, error) {
		child, cancel := context.WithCancel(ctx)
		defer cancel()
		<-child.Done()
		return nil, &stream.Fault{Kind: stream.ClientGone, Cause: child.Err()}
	}))
	c := e.dial()
	c.headers(1, true, getHead...)
	c.check(c.fr.WriteRSTStream(1, xhttp2.ErrCodeCancel))
	if ex := e.exchange(0); ex.Fault == nil || ex.Fault.Kind != stream.ClientGone || ex.Status != 0 {
		t.Errorf("exchange %+v", ex)
	}
	c.headers(3, true, getHead...)
	c.roundTrip()
	c.nc.Close()
	if ex := e.exchange(1); ex.Fault == nil || ex.Fault.Kind != stream.ClientGone {
		t.Errorf("exchange %+v", ex)
	}
}

// An early answer tells the client to stop sending.
func TestEarlyResponse(t *testing.T) {
	e := newEdge(t, serviceFunc(func(context.Context, *stream.Request) (*stream.Response, error) {
		return textResponse(403, "no"), nil
	}))
	c := e.dial()
	c.headers(1, false, postHead...)
	c.check(c.fr.WriteData(1, false, []byte("x")))
	a := c.response(1)
	if a.status != "403" || a.body != "no" {
		t.Errorf("answer %+v", a)
	}
	f, err := c.next()
	c.check(err)
	if r, ok := f.(*xhttp2.RSTStreamFrame); !ok || r.ErrCode != xhttp2.ErrCodeNo {
		t.Errorf("got %v, want RST_STREAM (NO_ERROR)", f)
	}
	for range 200 { // what was on its way costs nothing
		c.check(c.fr.WriteData(1, false, make([]byte, 1000)))
	}
	c.headers(3, true, getHead...)
	if a := c.response(3); a.status != "403" {
		t.Errorf("behind it: %+v", a)
	}
}

func TestPrefetch(t *testing.T) {
	e := newEdge(t, serviceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		body := req.Body.(stream.Prefetcher)
		if err := body.Prefetch(16 << 10); err != nil {
			return nil, stream.AsFault(err)
		}
		b, ok := body.Bytes()
		if !ok {
			return textResponse(500, "not in memory"), nil
		}
		return textResponse(200, string(bytes.ToUpper(b))), nil
	}))
	c := e.dial()
	c.headers(1, false, head(postHead, "content-length", "6")...)
	c.check(c.fr.WriteData(1, false, []byte("abc")))
	c.check(c.fr.WritePing(false, [8]byte{1}))
	c.check(c.fr.WriteData(1, true, []byte("def")))
	if a := c.response(1); a.body != "ABCDEF" {
		t.Errorf("answer %+v", a)
	}
}

func TestStreamsBeyondTheLimit(t *testing.T) {
	release := make(chan struct{})
	e := newEdge(t, serviceFunc(func(context.Context, *stream.Request) (*stream.Response, error) {
		<-release
		return textResponse(200, "ok"), nil
	}), func(cfg *ServerConfig) { cfg.MaxStreams = 2 })
	c := e.dial()
	for id := uint32(1); id <= 5; id += 2 {
		c.headers(id, true, getHead...)
	}
	if a := c.response(5); a.reset != xhttp2.ErrCodeRefusedStream {
		t.Errorf("answer %+v", a)
	}
	close(release)
	for range 2 {
		for {
			f, err := c.next()
			c.check(err)
			if d, ok := f.(*xhttp2.DataFrame); ok && d.StreamEnded() {
				break
			}
		}
	}
	c.headers(7, true, getHead...)
	if a := c.response(7); a.status != "200" {
		t.Errorf("with room again: %+v", a)
	}
	if n := e.Stats.RefusedStreams.Load(); n != 1 {
		t.Errorf("%d refused streams counted", n)
	}
}

// A client that keeps to the limit exactly is never refused: a stream counts no
// more when its end is on its way.
func TestStreamsAtTheLimit(t *testing.T) {
	e := newEdge(t, echo, func(cfg *ServerConfig) { cfg.MaxStreams = 4 })
	c := e.dial()
	id := uint32(1)
	for ; id < 9; id += 2 {
		c.headers(id, true, getHead...)
	}
	for range 1000 {
		f, err := c.next()
		c.check(err)
		switch f := f.(type) {
		case *xhttp2.DataFrame:
			if f.StreamEnded() {
				c.headers(id, true, getHead...)
				id += 2
			}
		case *xhttp2.RSTStreamFrame:
			t.Fatalf("stream %d is refused: %v", f.StreamID, f.ErrCode)
		}
	}
}

// countingBody never ends.
type countingBody struct{ read atomic.Int64 }

func (b *countingBody) Read(p []byte) (int, error) {
	b.read.Add(int64(len(p)))
	return len(p), nil
}
func (b *countingBody) Close() error            { return nil }
func (b *countingBody) Trailer() *stream.Header { return nil }
