package compress

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var page = strings.Repeat("<p>all work and no play makes jack a dull boy</p>\n", 200)

func TestResponses(t *testing.T) {
	const html = "Content-Type: text/html; charset=utf-8"
	for _, c := range []struct {
		name, settings string
		request        []string
		status         int
		body           string
		response       []string
		want           string // the header, "|" between its fields
	}{
		{"compressed", "", []string{"Accept-Encoding: gzip"}, 200, page,
			[]string{html, `ETag: "a"`, "Accept-Ranges: bytes", "Vary: Origin"},
			html + `|ETag: W/"a"|Vary: Origin|Vary: Accept-Encoding|Content-Encoding: gzip`},
		{"an error page too", "", []string{"Accept-Encoding: br"}, 500, page, []string{html},
			html + "|Vary: Accept-Encoding|Content-Encoding: br"},
		{"the order decides among equals", "responses: {encodings: [br, zstd]}", []string{"Accept-Encoding: gzip, zstd, br"}, 200, page,
			[]string{html}, html + "|Vary: Accept-Encoding|Content-Encoding: br"},
		{"weak stays weak, Vary stays one", "", []string{"Accept-Encoding: zstd"}, 200, page, []string{html, `ETag: W/"a"`, "Vary: accept-encoding, Origin"},
			html + `|ETag: W/"a"|Vary: accept-encoding, Origin|Content-Encoding: zstd`},
		{"nothing accepted: Vary all the same", "", nil, 200, page, []string{html, `ETag: "a"`}, html + `|ETag: "a"|Vary: Accept-Encoding`},
		{"identity is liked better", "", []string{"Accept-Encoding: gzip;q=0.5, identity"}, 200, page, []string{html}, html + "|Vary: Accept-Encoding"},
		{"Range", "", []string{"Accept-Encoding: gzip", "Range: bytes=0-9"}, 200, page, []string{html}, html + "|Vary: Accept-Encoding"},
		{"a part", "", []string{"Accept-Encoding: gzip"}, 206, page, []string{html, "Content-Range: bytes 0-9/10"}, html + "|Content-Range: bytes 0-9/10"},
		{"short", "", []string{"Accept-Encoding: gzip"}, 200, page[:1000], []string{html}, html},
		{"short by another measure", "responses: {min_length: 20KiB}", []string{"Accept-Encoding: gzip"}, 200, page, []string{html}, html},
		{"another type", "", []string{"Accept-Encoding: gzip"}, 200, page, []string{"Content-Type: image/png"}, "Content-Type: image/png"},
		{"no type", "", []string{"Accept-Encoding: gzip"}, 200, page, nil, ""},
		{"encoded already", "", []string{"Accept-Encoding: gzip"}, 200, page, []string{html, "Content-Encoding: br"}, html + "|Content-Encoding: br"},
		{"no-transform of the upstream", "", []string{"Accept-Encoding: gzip"}, 200, page, []string{html, "Cache-Control: public, No-Transform"},
			html + "|Cache-Control: public, No-Transform"},
		{"no-transform of the client", "", []string{"Accept-Encoding: gzip", "Cache-Control: no-transform"}, 200, page, []string{html}, html},
		{"a digest", "", []string{"Accept-Encoding: gzip"}, 200, page, []string{html, "content-digest: sha-256=:a:"}, html + "|content-digest: sha-256=:a:"},
		{"events", "", []string{"Accept-Encoding: gzip"}, 200, page, []string{"Content-Type: text/event-stream"}, "Content-Type: text/event-stream"},
		{"events when wanted", "responses: {event_streams: true}", []string{"Accept-Encoding: gzip"}, 200, page, []string{"Content-Type: text/event-stream"},
			"Content-Type: text/event-stream|Vary: Accept-Encoding|Content-Encoding: gzip"},
		{"off", "{responses: {encodings: []}, requests: {decode: true}}", []string{"Accept-Encoding: gzip"}, 200, page, []string{html}, html},
		{"gRPC-Web text", "responses: {content_types: ['application/*']}", []string{"Accept-Encoding: gzip"}, 200, page,
			[]string{"Content-Type: application/grpc-web-text"}, "Content-Type: application/grpc-web-text"},
		{"304 of what was weakened", "", []string{"Accept-Encoding: gzip", `If-None-Match: "b", W/"a"`}, 304, "", []string{`ETag: "a"`},
			`ETag: W/"a"|Vary: Accept-Encoding`},
		{"304 of what was not", "", []string{"Accept-Encoding: gzip", `If-None-Match: "a"`}, 304, "", []string{`ETag: "a"`}, `ETag: "a"`},
		{"204", "", []string{"Accept-Encoding: gzip"}, 204, "", []string{html}, html},
	} {
		req := filtertest.Request("GET", "http://h/", c.request...)
		out := filtertest.Run(t, Definition(), c.settings, req, filtertest.Answer(c.status, c.body, c.response...))
		if got := strings.Join(filtertest.Lines(&out.Header), "|"); got != c.want || out.Status != c.status {
			t.Errorf("%s: %d %q, want %q", c.name, out.Status, got, c.want)
		}
		if coded, _ := out.Header.Get("Content-Encoding"); strings.Contains(c.want, "Vary") && coded != "" {
			if len(out.Body) >= len(c.body) || plain(t, coded, out.Body) != c.body {
				t.Errorf("%s: %d bytes, which are not the content", c.name, len(out.Body))
			}
		} else if out.Body != c.body {
			t.Errorf("%s: the content is changed", c.name)
		}
	}
}

func TestLeftAlone(t *testing.T) {
	for name, change := range map[string]func(*stream.Request){
		"gRPC":     func(r *stream.Request) { r.GRPC = stream.GRPCCall },
		"gRPC-Web": func(r *stream.Request) { r.GRPC = stream.GRPCWebText },
		"upgrade":  func(r *stream.Request) { r.Upgrade = "websocket" },
		"CONNECT":  func(r *stream.Request) { r.Method = "CONNECT" },
		"TCP":      func(r *stream.Request) { r.Proto = stream.TCP },
	} {
		req := filtertest.WithBody(filtertest.Request("POST", "http://h/", "Accept-Encoding: gzip", "Content-Encoding: gzip"), "raw")
		change(req)
		out := filtertest.Run(t, Definition(), "requests: {decode: true}", req, filtertest.Answer(200, page, "Content-Type: text/html"))
		if out.Body != page || out.Header.Len() != 1 || out.Sent.Body != "raw" || out.Sent.Header.Len() != 2 {
			t.Errorf("%s: touched: %v", name, filtertest.Lines(&out.Header))
		}
	}
}

func TestUpstreamSeesAcceptEncoding(t *testing.T) {
	for settings, want := range map[string]string{"": "Accept: */*|Accept-Encoding: br", "responses: {upstream: strip}": "Accept: */*"} {
		req := filtertest.Request("GET", "http://h/", "Accept: */*", "Accept-Encoding: br")
		out := filtertest.Run(t, Definition(), settings, req, filtertest.Answer(200, page, "Content-Type: text/html"))
		coded, _ := out.Header.Get("Content-Encoding")
		if got := strings.Join(filtertest.Lines(&out.Sent.Header), "|"); got != want || coded != "br" {
			t.Errorf("%q: sent %q, answered with %q", settings, got, coded)
		}
	}
}

func TestHead(t *testing.T) {
	for length, want := range map[int64]string{
		9000: "Vary: Accept-Encoding|Content-Encoding: gzip", -1: "Vary: Accept-Encoding|Content-Encoding: gzip", 1000: "",
	} {
		next := stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
			req.Body.Close()
			return &stream.Response{Status: 200, Header: filtertest.Header("Content-Type: text/html"), Body: stream.NoBody, Length: length}, nil
		})
		resp, err := filtertest.Build(t, Definition(), "", next).Serve(t.Context(), filtertest.Request("HEAD", "http://h/", "Accept-Encoding: gzip"))
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(filtertest.Lines(&resp.Header)[1:], "|")
		if got != want || want != "" && resp.Length != -1 || want == "" && resp.Length != length || resp.Body != stream.NoBody {
			t.Errorf("length %d: %q, length %d", length, got, resp.Length)
		}
	}
}

// feed is a body of unknown length whose reads are given one by one.
type feed struct {
	reads   []string
	last    error // io.EOF when nil
	trailer *stream.Header
	names   string
	waits   int
	closes  int
}

func (f *feed) Read(p []byte) (int, error) {
	if len(f.reads) == 0 {
		if f.last != nil {
			return 0, f.last
		}
		return 0, io.EOF
	}
	n := copy(p, f.reads[0])
	if f.reads[0] = f.reads[0][n:]; f.reads[0] == "" {
		f.reads = f.reads[1:]
	}
	return n, nil
}
func (f *feed) Close() error            { f.closes++; return nil }
func (f *feed) Trailer() *stream.Header { return f.trailer }
func (f *feed) Announced() string       { return f.names }
func (f *feed) Await() error            { f.waits++; return nil }

func serve(t testing.TB, settings string, body stream.Body, length int64, fields ...string) *stream.Response {
	t.Helper()
	next := stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		req.Body.Close()
		return &stream.Response{Status: 200, Header: filtertest.Header("Content-Type: text/plain"), Body: body, Length: length}, nil
	})
	resp, err := filtertest.Build(t, Definition(), settings, next).Serve(context.Background(), filtertest.Request("GET", "http://h/", fields...))
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// Each part that the upstream sends can be decoded as soon as it was read.
func TestStreamsStayLive(t *testing.T) {
	for _, name := range codingNames {
		trailer := filtertest.Header("X-End: 1", "Content-Digest: x")
		source := &feed{reads: []string{"one\n", "two\n", strings.Repeat("three", 20<<10)}, trailer: &trailer, names: "X-End"}
		resp := serve(t, "", source, -1, "Accept-Encoding: "+name)
		if resp.Length != -1 {
			t.Errorf("%s: length %d", name, resp.Length)
		}
		var wire bytes.Buffer
		buffer := make([]byte, 32<<10)
		for i, want := range []string{"one\n", "one\ntwo\n"} {
			resp.Body.(stream.Awaiter).Await()
			n, err := resp.Body.Read(buffer)
			if err != nil {
				t.Fatal(err)
			}
			wire.Write(buffer[:n])
			if got := soFar(name, wire.Bytes()); got != want {
				t.Errorf("%s: after read %d the client has %q, want %q", name, i+1, got, want)
			}
		}
		if source.waits != 2 {
			t.Errorf("%s: %d waits reached the source, want 2", name, source.waits)
		}
		rest, err := io.ReadAll(resp.Body)
		wire.Write(rest)
		if err != nil || plain(t, name, wire.String()) != "one\ntwo\n"+strings.Repeat("three", 20<<10) {
			t.Errorf("%s: the content is changed (%v)", name, err)
		}
		if got := filtertest.Lines(resp.Body.Trailer()); len(got) != 1 || got[0] != "X-End: 1" {
			t.Errorf("%s: trailer %q", name, got)
		}
		if resp.Body.(stream.Announcer).Announced() != "X-End" {
			t.Errorf("%s: the trailer is not announced", name)
		}
		resp.Body.Close()
		if resp.Body.Close(); source.closes != 2 {
			t.Errorf("%s: source closed %d times", name, source.closes)
		}
		if _, err := resp.Body.Read(buffer); err == nil || err == io.EOF {
			t.Errorf("%s: reading after Close gives %v", name, err)
		}
	}
}

func TestSmallContentStaysWhole(t *testing.T) {
	resp := serve(t, "", stream.BytesBody([]byte(page)), int64(len(page)), "Accept-Encoding: gzip")
	content, ok := resp.Body.(stream.Whole).Bytes()
	if !ok || int64(len(content)) != resp.Length || plain(t, "gzip", string(content)) != page {
		t.Errorf("whole %v, %d bytes of %d", ok, len(content), resp.Length)
	}
	resp.Body.Close()
}

func TestWhatDoesNotShrinkIsSentAsItIs(t *testing.T) {
	noise := make([]byte, 4<<10)
	for i, x := 0, uint32(1); i < len(noise); i++ {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		noise[i] = byte(x)
	}
	resp := serve(t, "", stream.BytesBody(noise), int64(len(noise)), "Accept-Encoding: gzip")
	got, err := io.ReadAll(resp.Body)
	if _, coded := resp.Header.Get("Content-Encoding"); coded || err != nil || !bytes.Equal(got, noise) || resp.Length != int64(len(noise)) {
		t.Errorf("%v, %d bytes, length %d", filtertest.Lines(&resp.Header), len(got), resp.Length)
	}
}

func TestFaultOfTheSourcePasses(t *testing.T) {
	fault := &stream.Fault{Kind: stream.ResponseTruncated}
	resp := serve(t, "", &feed{reads: []string{"some"}, last: fault}, 100<<10, "Accept-Encoding: gzip")
	if _, err := io.ReadAll(resp.Body); !errors.Is(err, fault) {
		t.Errorf("error %v", err)
	}
	resp.Body.Close()
	out := filtertest.Run(t, Definition(), "", filtertest.Request("GET", "http://h/"), filtertest.Fail(stream.ConnectRefused))
	if out.Fault == nil || out.Fault.Kind != stream.ConnectRefused {
		t.Errorf("outcome %+v", out)
	}
}

func TestMaxActive(t *testing.T) {
	next := stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		req.Body.Close()
		return filtertest.Response(200, page, "Content-Type: text/html"), nil
	})
	own := filtertest.Build(t, Definition(), "responses: {max_active: 1}", next).(*service)
	var bodies []stream.Body
	for _, want := range []bool{true, false} {
		resp, err := own.Serve(t.Context(), filtertest.Request("GET", "http://h/", "Accept-Encoding: gzip"))
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, resp.Body)
		if _, coded := resp.Header.Get("Content-Encoding"); coded != want {
			t.Errorf("compressed %v, want %v", coded, want)
		}
	}
	for _, b := range bodies {
		b.Close()
		b.Close()
	}
	if n := own.responses.active.Load(); n != 0 {
		t.Errorf("%d encoders in use after the end", n)
	}
}

// guarded is a body that may be closed while it is read.
type guarded struct {
	content *strings.Reader
	closed  atomic.Bool
}

func (g *guarded) Read(p []byte) (int, error) {
	if g.closed.Load() {
		return 0, &stream.Fault{Kind: stream.ClientGone}
	}
	return g.content.Read(p)
}
func (g *guarded) Close() error            { g.closed.Store(true); return nil }
func (g *guarded) Trailer() *stream.Header { return nil }

// Many responses share the pools, and some are closed while they are read.
func TestPoolsKeepContentApart(t *testing.T) {
	next := stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		req.Body.Close()
		resp := filtertest.Response(200, "", "Content-Type: text/html")
		resp.Body, resp.Length = &guarded{content: strings.NewReader(strings.Repeat(req.Target.Path, 4000))}, -1
		return resp, nil
	})
	own := filtertest.Build(t, Definition(), "", next).(*service)
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 30 {
				name := codingNames[(worker+i)%3]
				path := "/" + strings.Repeat(string(rune('a'+worker)), 20)
				resp, err := own.Serve(context.Background(), filtertest.Request("GET", "http://h"+path, "Accept-Encoding: "+name))
				if err != nil {
					t.Error(err)
					return
				}
				if i%3 == 0 {
					all.Go(func() { resp.Body.Close() })
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err == nil && plain(t, name, string(got)) != strings.Repeat(path, 4000) {
					t.Errorf("%s: content of another response", path)
				}
			}
		})
	}
	all.Wait()
	if n := own.responses.active.Load(); n != 0 {
		t.Errorf("%d encoders in use after the end", n)
	}
}

func TestCheck(t *testing.T) {
	for settings, what := range map[string]string{
		"responses: {encodings: [gzip, gzip]}":                                  "gzip stands in the list twice",
		"responses: {encodings: [deflate]}":                                     "deflate",
		"responses: {content_types: [html]}":                                    `"html" is no content type`,
		"responses: {content_types: ['*/*']}":                                   `"*/*" is no content type`,
		"responses: {content_types: ['text/*x*']}":                              "is no content type",
		"responses: {levels: {gzip: 10}}":                                       "gzip",
		"responses: {levels: {br: 11}}":                                         "br",
		"responses: {upstream: remove}":                                         "remove",
		"responses: {max_active: 0}":                                            "max_active",
		"requests: {decode: true, max_ratio: 0}":                                "max_ratio",
		"requests: {decode: true, max_bytes: 0}":                                "max_bytes",
		"requests: {decode: true, max_window: 1GiB}":                            "max_window",
		"responses: {content_types: [" + strings.Repeat("a/b, ", 100) + "a/b]}": "101 content types",
	} {
		problems := filtertest.Check(t, Definition(), settings)
		if problems.Errors() != 1 || !strings.Contains(problems[0].What, what) || problems[0].Fix == "" {
			t.Errorf("%.60s: %v, want %q with a way out", settings, problems, what)
		}
	}
	problems := filtertest.Check(t, Definition(), "responses: {encodings: []}")
	if len(problems) != 1 || problems[0].Severity != config.Warning {
		t.Errorf("a filter that does nothing: %v", problems)
	}
}

func TestReadme(t *testing.T) {
	_, rest, _ := strings.Cut(Definition().Readme, "```yaml\n")
	example, _, closed := strings.Cut(rest, "```")
	document, problems := config.Parse("README.md", []byte(example))
	if !closed || len(problems) > 0 || len(document.Routes) != 1 {
		t.Fatalf("the example: %v", problems)
	}
	used := document.Routes[0].Filters[0]
	settings, ok := Definition().Decode(used.Settings, nil, config.NewReport("filter", used.Settings.At, &problems)).(Settings)
	if !ok || len(problems) > 0 || !settings.Requests.Decode || settings.Responses.MinLength != 2<<10 {
		t.Errorf("the example decodes to %+v: %v", settings, problems)
	}
	for _, word := range []string{"encodings", "content_types", "min_length", "event_streams", "levels", "upstream", "max_active",
		"decode", "max_bytes", "max_ratio", "max_window", "BREACH"} {
		if !strings.Contains(Definition().Readme, word) {
			t.Errorf("README.md does not explain %s", word)
		}
	}
}

// untouched is a filter in front of a response that is not its business.
func untouched(t testing.TB) func() {
	resp := filtertest.Response(200, page, "Content-Type: image/png", `ETag: "a"`, "Cache-Control: max-age=60", "Server: x")
	next := stream.ServiceFunc(func(context.Context, *stream.Request) (*stream.Response, error) { return resp, nil })
	service := filtertest.Build(t, Definition(), "requests: {decode: true}", next)
	req := filtertest.Request("GET", "http://h/", "Accept-Encoding: gzip, deflate, br, zstd", "Accept: */*", "User-Agent: x", `If-None-Match: "a"`)
	return func() {
		if _, err := service.Serve(context.Background(), req); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAllocsUntouched(t *testing.T) {
	if n := testing.AllocsPerRun(100, untouched(t)); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkUntouched(b *testing.B) {
	run := untouched(b)
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, name := range codingNames {
		b.Run(name, func(b *testing.B) {
			next := stream.ServiceFunc(func(context.Context, *stream.Request) (*stream.Response, error) {
				return filtertest.Response(200, page, "Content-Type: text/html"), nil
			})
			service := filtertest.Build(b, Definition(), "", next)
			req := filtertest.Request("GET", "http://h/", "Accept-Encoding: "+name)
			b.ReportAllocs()
			b.SetBytes(int64(len(page)))
			for b.Loop() {
				resp, _ := service.Serve(context.Background(), req)
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
}

// BenchmarkEncoderMemory: B/op is what a response holds at a time.
func BenchmarkEncoderMemory(b *testing.B) {
	levels, content := defaults().Responses.Levels, []byte(page)
	for c, name := range codingNames {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				k := &bench{}
				e := newEncoder(coding(c), &levels, k)
				for range 64 {
					e.Write(content)
					e.Flush()
					k.out = k.out[:0]
				}
			}
		})
	}
}

func plain(t testing.TB, name, coded string) string {
	t.Helper()
	got, err := io.ReadAll(reader(name, strings.NewReader(coded)))
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	return string(got)
}

// soFar is what a client has after the first bytes of a response.
func soFar(name string, coded []byte) string {
	got, _ := io.ReadAll(reader(name, bytes.NewReader(coded)))
	return string(got)
}

func reader(name string, from io.Reader) io.Reader {
	switch name {
	case "zstd":
		r, _ := zstd.NewReader(from, zstd.WithDecoderConcurrency(1))
		return r
	case "br":
		return brotli.NewReader(from)
	}
	r, err := gzip.NewReader(from)
	if err != nil {
		return strings.NewReader("")
	}
	return r
}
