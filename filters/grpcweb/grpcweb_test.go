package grpcweb

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// call is a request of a browser.
func call(contentType, content string, fields ...string) *stream.Request {
	req := filtertest.Request("POST", "http://h/shop.Orders/Get", append(fields, "Content-Type: "+contentType)...)
	req.GRPC = stream.GRPCOf(req.Method, &req.Header)
	return filtertest.WithBody(req, content)
}

// messages is a response body of gRPC that comes in pieces.
type messages struct {
	pieces  []string
	trailer stream.Header
	fault   error // instead of the end
	awaited int
	closed  bool
}

func (m *messages) Read(p []byte) (int, error) {
	if len(m.pieces) == 0 {
		if m.fault != nil {
			return 0, m.fault
		}
		return 0, io.EOF
	}
	n := copy(p, m.pieces[0])
	if m.pieces[0] = m.pieces[0][n:]; m.pieces[0] == "" {
		m.pieces = m.pieces[1:]
	}
	return n, nil
}

func (m *messages) Close() error            { m.closed = true; return nil }
func (m *messages) Trailer() *stream.Header { return &m.trailer }
func (m *messages) Await() error            { m.awaited++; return nil }

func grpcResponse(body stream.Body, fields ...string) *stream.Response {
	return &stream.Response{Status: 200, Header: filtertest.Header(append(fields, "Content-Type: application/grpc+proto")...), Body: body, Length: -1}
}

func answering(resp *stream.Response) *filtertest.Next {
	return &filtertest.Next{Answer: func(*stream.Request) (*stream.Response, error) { return resp, nil }}
}

const (
	message      = "\x00\x00\x00\x00\x03abc"
	trailerFrame = "\x80\x00\x00\x00\x10grpc-status: 0\r\n"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// debase64 decodes one padded piece after the other, as clients do.
func debase64(t testing.TB, s string) string {
	t.Helper()
	var out []byte
	for ; len(s) >= 4; s = s[4:] {
		group, err := base64.StdEncoding.DecodeString(s[:4])
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		out = append(out, group...)
	}
	if s != "" {
		t.Fatalf("a group is torn: %q", s)
	}
	return string(out)
}

func TestTypes(t *testing.T) {
	for _, c := range []struct{ asked, accept, sent, answered string }{
		{"application/grpc-web", "", "application/grpc", "application/grpc-web+proto"},
		{"application/grpc-web+proto", "*/*", "application/grpc+proto", "application/grpc-web+proto"},
		{"application/grpc-web+proto; charset=x", "", "application/grpc+proto", "application/grpc-web+proto"},
		{"application/grpc-web-text", "", "application/grpc", "application/grpc-web-text+proto"},
		{"Application/Grpc-Web-Text+Json", "", "application/grpc+Json", "application/grpc-web-text+proto"},
		{"application/grpc-web-text", "application/grpc-web", "application/grpc", "application/grpc-web+proto"},
		{"application/grpc-web", "text/plain, application/grpc-web-text+proto;q=1", "application/grpc", "application/grpc-web-text+proto"},
		{"application/grpc-web-text", "application/grpc-websomething", "application/grpc", "application/grpc-web-text+proto"},
	} {
		body := &messages{pieces: []string{message}, trailer: filtertest.Header("grpc-status: 0")}
		next := answering(grpcResponse(body))
		fields := []string{"X-Grpc-Web: 1"}
		if c.accept != "" {
			fields = append(fields, "Accept: "+c.accept)
		}
		content := message
		text := strings.Contains(strings.ToLower(c.asked), "text")
		if text {
			content = b64(message)
		}
		req := call(c.asked, content, fields...)
		out := filtertest.Run(t, Definition(), "", req, next)
		if out.Fault != nil || out.Sent == nil {
			t.Fatalf("%s: %v", c.asked, out.Fault)
		}
		if got, _ := out.Sent.Header.GetID(stream.ContentType); got != c.sent || out.Sent.Body != message || req.GRPC != stream.GRPCCall {
			t.Errorf("%s: sent as %s, kind %d: %q", c.asked, got, req.GRPC, out.Sent.Body)
		}
		if out.Sent.Header.Count("x-grpc-web")+out.Sent.Header.Count("Accept") != 0 {
			t.Errorf("%s: sent %q", c.asked, filtertest.Lines(&out.Sent.Header))
		}
		answered := out.Body
		if strings.Contains(c.answered, "text") {
			answered = debase64(t, answered)
		}
		if got, _ := out.Header.GetID(stream.ContentType); got != c.answered || answered != message+trailerFrame {
			t.Errorf("%s, Accept %s: answered as %s: %q", c.asked, c.accept, got, answered)
		}
		if req.Exchange.GRPCStatus != 1 || !body.closed {
			t.Errorf("%s: status %d, closed %v", c.asked, req.Exchange.GRPCStatus, body.closed)
		}
	}
}

// TestPasses: what is no gRPC-Web is not touched.
func TestPasses(t *testing.T) {
	for _, contentType := range []string{"application/grpc", "application/json", "application/grpc-webx"} {
		body := &messages{trailer: filtertest.Header("grpc-status: 0")}
		want := grpcResponse(body)
		req := call(contentType, "=not base64=")
		kind := req.GRPC
		got, err := filtertest.Build(t, Definition(), "{}", answering(want)).Serve(context.Background(), req)
		if err != nil || got.Body != body || got.Length != -1 || req.GRPC != kind || req.Header.Count("Content-Type") != 1 {
			t.Errorf("%s: %+v, %v", contentType, got, err)
		}
	}
	page := filtertest.Answer(503, "<html>", "Content-Type: text/html")
	if out := filtertest.Run(t, Definition(), "", call("application/grpc-web", message), page); out.Status != 503 || out.Body != "<html>" {
		t.Errorf("a page of another proxy: %+v", out)
	}
}

// TestTrailersOnly: the status in the header stays there.
func TestTrailersOnly(t *testing.T) {
	for _, contentType := range []string{"application/grpc-web", "application/grpc-web-text"} {
		resp := grpcResponse(stream.NoBody, "grpc-status: 5", "grpc-message: no%20such")
		resp.Length = 0
		out := filtertest.Run(t, Definition(), "", call(contentType, ""), answering(resp))
		status, _ := out.Header.Get("grpc-status")
		if got, _ := out.Header.GetID(stream.ContentType); got != contentType+"+proto" || out.Body != "" || status != "5" {
			t.Errorf("%s: %q, %q", contentType, filtertest.Lines(&out.Header), out.Body)
		}
	}
}

// TestFault: the answer is made for the client, so the request says again what
// the client asked for.
func TestFault(t *testing.T) {
	req := call("application/grpc-web-text+proto", b64(message))
	out := filtertest.Run(t, Definition(), "", req, filtertest.Fail(stream.NoEndpoint))
	if got, _ := req.Header.GetID(stream.ContentType); out.Fault == nil || got != "application/grpc-web-text+proto" || req.GRPC != stream.GRPCWebText {
		t.Errorf("%v, kind %d, type %s", out.Fault, req.GRPC, got)
	}
}

func TestTrailerFrame(t *testing.T) {
	for _, c := range []struct {
		name    string
		header  []string
		trailer []string
		want    string
		status  uint8
	}{
		{"names in lower case", nil, []string{"Grpc-Status: 0", "X-Trace-Bin: AA"}, "grpc-status: 0\r\nx-trace-bin: AA\r\n", 1},
		{"an error", nil, []string{"grpc-status: 7", "grpc-message: no"}, "grpc-status: 7\r\ngrpc-message: no\r\n", 8},
		{"no status", nil, []string{"x: y"}, "x: y\r\n" + noStatus, 14},
		{"no trailer", nil, nil, noStatus, 14},
		{"a status in the header, and messages", []string{"grpc-status: 0"}, nil, "", 0},
	} {
		body := &messages{pieces: []string{message}, trailer: filtertest.Header(c.trailer...)}
		req := call("application/grpc-web", message)
		out := filtertest.Run(t, Definition(), "", req, answering(grpcResponse(body, c.header...)))
		want := message + "\x80\x00\x00\x00" + string(rune(len(c.want))) + c.want
		if out.Body != want || req.Exchange.GRPCStatus != c.status {
			t.Errorf("%s: %q, status %d; want %q, %d", c.name, out.Body, req.Exchange.GRPCStatus, want, c.status)
		}
	}
}

// TestStreams: each message leaves when it is there, in text, too.
func TestStreams(t *testing.T) {
	for _, contentType := range []string{"application/grpc-web", "application/grpc-web-text"} {
		body := &messages{pieces: []string{"1", "22", "333", "4444"}, trailer: filtertest.Header("grpc-status: 0")}
		req := call(contentType, "")
		resp, err := filtertest.Build(t, Definition(), "", answering(grpcResponse(body))).Serve(context.Background(), req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.(stream.Awaiter).Await(); err != nil || body.awaited != 1 {
			t.Errorf("%s: a wait does not reach the upstream: %v", contentType, err)
		}
		for _, want := range []string{"1", "22", "333", "4444", trailerFrame} {
			p := make([]byte, 64)
			n, err := resp.Body.Read(p)
			got := string(p[:n])
			if resp.Length != -1 || err != nil || contentType == "application/grpc-web-text" && debase64(t, got) != want ||
				contentType == "application/grpc-web" && got != want {
				t.Errorf("%s: read %q, %v; want %q", contentType, got, err, want)
			}
		}
		if n, err := resp.Body.Read(make([]byte, 8)); n != 0 || err != io.EOF {
			t.Errorf("%s: %d, %v at the end", contentType, n, err)
		}
	}
}

// TestBrokenOff: a stream that is cut has no trailer frame, which would make it
// look complete.
func TestBrokenOff(t *testing.T) {
	fault := &stream.Fault{Kind: stream.UpstreamReset}
	for _, contentType := range []string{"application/grpc-web", "application/grpc-web-text"} {
		body := &messages{pieces: []string{"abc"}, fault: fault}
		resp, err := filtertest.Build(t, Definition(), "", answering(grpcResponse(body))).Serve(context.Background(), call(contentType, ""))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(resp.Body); !errors.Is(err, fault) || len(got) > 4 {
			t.Errorf("%s: %q, %v", contentType, got, err)
		}
	}
}

func TestBase64Requests(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"one piece", b64(message), message},
		{"pieces with padding", b64("a") + b64("bc") + b64("def") + b64("g"), "abcdefg"},
		{"long", b64(strings.Repeat("x", 10_000)), strings.Repeat("x", 10_000)},
		{"nothing", "", ""},
	} {
		for _, slowly := range []bool{false, true} {
			d := &decoder{body: reading(c.in, slowly)}
			got, err := io.ReadAll(d)
			if string(got) != c.want || err != nil {
				t.Errorf("%s, slowly %v: %q, %v", c.name, slowly, got, err)
			}
		}
	}
	for _, bad := range []string{
		"QUJ", "QUJD\n", "QUJD QUJD", "Q===", "====", "QUI=QQ", "QUJ=", "QR==", "QQ=Q", "QUJ-", "QUJ_", "\x00\x00\x00\x00", "QUJDQ",
	} {
		d := &decoder{body: reading(bad, false)}
		_, err := io.ReadAll(d)
		if f, ok := err.(*stream.Fault); !ok || f.Kind != stream.ContentUnsupported || f.Retry != stream.RetryNever {
			t.Errorf("%q: %v", bad, err)
		}
		if _, again := d.Read(make([]byte, 100)); !errors.Is(again, err) {
			t.Errorf("%q: then %v", bad, again)
		}
	}
	broken := &stream.Fault{Kind: stream.ClientGone}
	if _, err := io.ReadAll(&decoder{body: &messages{pieces: []string{"QUJDQ"}, fault: broken}}); !errors.Is(err, broken) {
		t.Errorf("a client that leaves within a group: %v", err)
	}
}

// reading is a body with that content, byte by byte if slowly.
func reading(content string, slowly bool) stream.Body {
	body := stream.BytesBody([]byte(content))
	if slowly {
		return slowBody{body, iotest.OneByteReader(body)}
	}
	return body
}

type slowBody struct {
	stream.Body
	slow io.Reader
}

func (s slowBody) Read(p []byte) (int, error) { return s.slow.Read(p) }

// FuzzDecoder: what is decoded is what the standard library makes of each
// group, however it is cut, and what it refuses is refused.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte("QUJDQQ==QUI="), uint8(3))
	f.Add([]byte("QUJ"), uint8(1))
	f.Add([]byte("QR=="), uint8(64))
	f.Fuzz(func(t *testing.T, in []byte, room uint8) {
		var want []byte
		valid := len(in)%4 == 0
		for at := 0; at+4 <= len(in); at += 4 {
			group, err := base64.StdEncoding.Strict().DecodeString(string(in[at : at+4]))
			if err != nil || bytes.ContainsAny(in[at:at+4], "\r\n") {
				valid = false
				break
			}
			want = append(want, group...)
		}
		d := &decoder{body: stream.BytesBody(slices.Clone(in))}
		var got []byte
		p := make([]byte, int(room)+1)
		var err error
		for err == nil {
			var n int
			n, err = d.Read(p)
			got = append(got, p[:n]...)
		}
		if (err == io.EOF) != valid || !bytes.Equal(got, want) {
			t.Fatalf("%q is %q (%v), want %q, valid %v", in, got, err, want, valid)
		}
	})
}

// FuzzEncoder: whatever room a reader has, what it gets decodes to the content.
func FuzzEncoder(f *testing.F) {
	f.Add("some messages", uint8(3), uint8(5))
	f.Add("", uint8(0), uint8(0))
	f.Fuzz(func(t *testing.T, content string, piece, room uint8) {
		body := &messages{trailer: filtertest.Header("grpc-status: 0")}
		for rest := content; rest != ""; {
			n := min(int(piece)+1, len(rest))
			body.pieces = append(body.pieces, rest[:n])
			rest = rest[n:]
		}
		e := &encoder{body: &webBody{Body: body, exchange: new(stream.Exchange)}}
		var got []byte
		p := make([]byte, int(room)+1)
		var err error
		for err == nil {
			var n int
			n, err = e.Read(p)
			got = append(got, p[:n]...)
		}
		if plain := debase64(t, string(got)); err != io.EOF || plain != content+trailerFrame {
			t.Fatalf("%q (%v), want %q", plain, err, content)
		}
	})
}

func BenchmarkText(b *testing.B) {
	b.ReportAllocs()
	p := make([]byte, 8<<10)
	for b.Loop() {
		body := &messages{pieces: []string{message}, trailer: filtertest.Header("grpc-status: 0")}
		e := &encoder{body: &webBody{Body: body, exchange: new(stream.Exchange)}}
		for {
			if _, err := e.Read(p); err != nil {
				break
			}
		}
	}
}
