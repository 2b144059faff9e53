package transcode

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/stream"
)

func TestServerStreaming(t *testing.T) {
	two := []string{`{"pages":1}`, `{"pages":2}`}
	for _, c := range []struct {
		accept    string
		reply     []string
		status    int
		mediaType string
		want      string
	}{
		{"", two, 0, "application/json", `[{"pages":1},{"pages":2}]`},
		{"*/*", []string{}, 0, "application/json", `[]`},
		{"application/x-ndjson", two, 0, "application/x-ndjson", "{\"pages\":1}\n{\"pages\":2}\n"},
		{"text/event-stream", two, 0, "text/event-stream", "data: {\"pages\":1}\n\ndata: {\"pages\":2}\n\n"},
		{"text/event-stream;q=0, application/json", two, 0, "application/json", `[{"pages":1},{"pages":2}]`},
		{"text/html, application/jsonl;q=0.5", two, 0, "application/x-ndjson", "{\"pages\":1}\n{\"pages\":2}\n"},
		{"", two[:1], 13, "application/json", `[{"pages":1},{"error":{"code":13,"message":"gone","details":[]}}]`},
		{"", []string{}, 13, "application/json", `[{"error":{"code":13,"message":"gone","details":[]}}]`},
		{"application/x-ndjson", two[:1], 13, "application/x-ndjson", "{\"pages\":1}\n{\"error\":{\"code\":13,\"message\":\"gone\",\"details\":[]}}\n"},
		{"text/event-stream", two[:1], 13, "text/event-stream", "data: {\"pages\":1}\n\nevent: error\ndata: {\"error\":{\"code\":13,\"message\":\"gone\",\"details\":[]}}\n\n"},
	} {
		next := newUpstream(t)
		next.reply, next.status, next.message = c.reply, c.status, "gone"
		out := do(t, filtertest.Build(t, Definition(), settingsFor(t, ""), next), request("GET", "http://h/v1/watch/a", "", "Accept: "+c.accept))
		mediaType, _ := out.header.Get("Content-Type")
		if out.status != 200 || out.body != c.want || out.err != nil || mediaType != c.mediaType {
			t.Errorf("%q: %v of type %s, want %s", c.accept, out, mediaType, c.want)
		}
		if !slices.Equal(next.got, []string{"POST /lib.Library/Watch", `{"name":"a"}`}) {
			t.Errorf("upstream has %q", next.got)
		}
	}
	next := newUpstream(t) // Trailers-Only: nothing was sent yet, so the status can be told
	next.status, next.early, next.reply = 5, true, []string{}
	if out := do(t, filtertest.Build(t, Definition(), settingsFor(t, ""), next), request("GET", "http://h/v1/watch/a", "")); out.status != 404 {
		t.Errorf("%v", out)
	}
}

// A message is there for the client as soon as the upstream has sent it, and a
// stream that breaks off is not one that ends.
func TestServerStreamingIsLive(t *testing.T) {
	fault := &stream.Fault{Kind: stream.UpstreamReset}
	source := &wire{reads: []string{"\x00\x00\x00\x00\x02\x30\x01\x00\x00", "\x00\x00\x02\x30", "\x02"}, last: fault}
	next := newUpstream(t)
	next.change = func(r *stream.Response) { r.Body = source }
	service := filtertest.Build(t, Definition(), settingsFor(t, ""), next)
	resp, err := service.Serve(t.Context(), request("GET", "http://h/v1/watch/a", "", "Accept: application/x-ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 1000)
	for i, want := range []string{"{\"pages\":1}\n", "{\"pages\":2}\n"} {
		resp.Body.(stream.Awaiter).Await()
		n, err := resp.Body.Read(buffer)
		if string(buffer[:n]) != want || err != nil || source.waits != i+1 {
			t.Errorf("%q, %v, %d waits", buffer[:n], err, source.waits)
		}
	}
	if _, err := resp.Body.Read(buffer); !errors.Is(err, fault) {
		t.Errorf("the end is %v", err)
	}
	resp.Body.Close()
	if source.closes != 1 || resp.Body.Trailer() != nil {
		t.Errorf("%d closes, trailer %v", source.closes, resp.Body.Trailer())
	}
}

func TestClientStreaming(t *testing.T) {
	for _, c := range []struct{ name, url, body, want, fault string }{
		{"array", "upload/x", `[{"pages":1},{"pages":2}]`, `{"author":{"name":"x"},"pages":1} {"pages":2}`, ""},
		{"array with blanks", "upload/x", " [ {\"pages\":1} ,\r\n\t{\"title\":\"] , \\\" }\"} ] \n", `{"author":{"name":"x"},"pages":1} {"display_name":"] , \" }"}`, ""},
		{"lines", "upload/x", "{\"pages\":1}\n{\"pages\":2}\n", `{"author":{"name":"x"},"pages":1} {"pages":2}`, ""},
		{"lines without end", "upload/x", `{"pages":1}{"pages":2}`, `{"author":{"name":"x"},"pages":1} {"pages":2}`, ""},
		{"one object", "upload/x", `{"parts":[{"pages":1}]}`, `{"author":{"name":"x"},"parts":[{"pages":1}]}`, ""},
		{"empty array", "upload/x", `[]`, `{"author":{"name":"x"}}`, ""},
		{"nothing to say", "chat", `[]`, ``, ""},
		{"not closed", "chat", `[{"pages":1}`, "", "ends too early"},
		{"only opened", "chat", `[`, "", "ends too early"},
		{"cut inside", "chat", `[{"pages":`, "", "ends too early"},
		{"cut in a text", "chat", `{"title":"`, "", "ends too early"},
		{"no comma", "chat", `[{} {}]`, "", "is missing"},
		{"two commas", "chat", `[{},,{}]`, "", "value is missing"},
		{"comma at the end", "chat", `[{},]`, "", "value is missing"},
		{"comma first", "chat", `[,{}]`, "", "value is missing"},
		{"more behind", "chat", `[{}] {}`, "", "follows the end"},
		{"closing only", "chat", `}`, "", "value is missing"},
		{"scalar", "chat", `5`, "", "unexpected token 5"},
		{"unknown field", "chat", `[{"nope":1}]`, "", "unknown field"},
		{"too large", "chat", `[{"title":"` + strings.Repeat("x", 300) + `"}]`, "", "transcode.max_message"},
	} {
		for _, step := range []int{1, 5, 1000} {
			next := newUpstream(t)
			next.reply = []string{"{}"}
			req := request("POST", "http://h/v1/"+c.url, "")
			req.Body, req.Length = &wire{reads: cutUp(c.body, step)}, -1
			out := do(t, filtertest.Build(t, Definition(), settingsFor(t, ", max_message: 256"), next), req)
			if c.fault != "" {
				if out.fault == nil || !strings.Contains(out.fault.Error(), c.fault) || out.fault.Kind != stream.RequestMalformed && out.fault.Kind != stream.BodyTooLarge {
					t.Errorf("%s, %d: %v, want %q", c.name, step, out, c.fault)
				}
				continue
			}
			if got := strings.Join(next.got[1:], " "); got != c.want || out.fault != nil {
				t.Errorf("%s, %d: upstream has %s, want %s (%v)", c.name, step, got, c.want, out)
			}
		}
	}
}

func cutUp(s string, step int) (reads []string) {
	for len(s) > step {
		reads, s = append(reads, s[:step]), s[step:]
	}
	return append(reads, s)
}

// The memory of an upload is that of a message, however long it lasts.
func TestClientStreamingIsBounded(t *testing.T) {
	const messages = 20_000
	source := &endless{left: messages}
	var peak int
	next := stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		defer req.Body.Close()
		own := req.Body.(*upload)
		buffer := make([]byte, 512)
		count := 0
		for {
			n, err := own.Read(buffer)
			count += n
			peak = max(peak, cap(own.out)+cap(own.values.buf))
			if err == io.EOF {
				break
			}
			if err != nil {
				return nil, stream.AsFault(err)
			}
		}
		if count != messages*(frameHead+2) {
			t.Errorf("%d bytes for %d messages", count, messages)
		}
		return filtertest.Response(503, ""), nil
	})
	req := request("POST", "http://h/v1/chat", "")
	req.Body, req.Length = source, -1
	do(t, filtertest.Build(t, Definition(), settingsFor(t, ""), next), req)
	if peak > 32<<10 || source.closed == 0 {
		t.Errorf("%d bytes held, closed %d times", peak, source.closed)
	}
}

type endless struct{ left, closed int }

func (e *endless) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	e.left--
	return copy(p, "{\"pages\":1}\n"), nil
}
func (e *endless) Close() error            { e.closed++; return nil }
func (e *endless) Trailer() *stream.Header { return nil }

func TestHTTPBody(t *testing.T) {
	next := newUpstream(t)
	service := filtertest.Build(t, Definition(), settingsFor(t, ""), next)
	out := do(t, service, request("POST", "http://h/v1/raw", "<b>", "Content-Type: text/html"))
	mediaType, _ := out.header.Get("Content-Type")
	if out.body != "<b>" || mediaType != "text/html" || !slices.Equal(next.got, []string{"POST /lib.Library/Raw", `{"content_type":"text/html","data":"PGI+"}`}) {
		t.Errorf("unary: %v of type %s, upstream has %q", out, mediaType, next.got)
	}
	out = do(t, service, request("PUT", "http://h/v1/books/n/content", "<b>", "Content-Type: text/html"))
	if mediaType, _ := out.header.Get("Content-Type"); out.body != "<b>" || mediaType != "text/html" {
		t.Errorf("field: %v of type %s", out, mediaType)
	}
	next.reply = []string{`{"contentType":"text/csv","data":"YQ=="}`, `{"data":"Yg=="}`}
	out = do(t, service, request("GET", "http://h/v1/raw/down", ""))
	if mediaType, _ := out.header.Get("Content-Type"); out.body != "ab" || mediaType != "text/csv" || out.err != nil {
		t.Errorf("down: %v of type %s", out, mediaType)
	}
	next.status = 13
	if out = do(t, service, request("GET", "http://h/v1/raw/down", "")); out.body != "ab" || stream.AsFault(out.err).Kind != stream.UpstreamReset {
		t.Errorf("down, broken off: %v", out)
	}
	next.reply = []string{}
	if out = do(t, service, request("GET", "http://h/v1/raw/down", "")); out.status != 500 || !strings.Contains(out.body, `"code":13`) {
		t.Errorf("down, failed at once: %v", out)
	}
	next.reply, next.status = []string{`{"contentType":"a\r\nSet-Cookie: b"}`}, 0
	if out = do(t, service, request("GET", "http://h/v1/raw/down", "")); out.fault == nil || out.fault.Kind != stream.ResponseMalformed {
		t.Errorf("a content type with a line break: %v", out)
	}
	next.reply = []string{"{}"}
	req := request("POST", "http://h/v1/raw/up", "", "Content-Type: x/y")
	req.Body, req.Length = &wire{reads: []string{"a", "bc"}}, -1
	out = do(t, service, req)
	if !slices.Equal(next.got[1:], []string{`{"content_type":"x/y","data":"YQ=="}`, `{"content_type":"x/y","data":"YmM="}`}) || out.body != "{}" {
		t.Errorf("up: %v, upstream has %q", out, next.got)
	}
}
