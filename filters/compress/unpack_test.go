package compress

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/stream"
)

const decode = "requests: {decode: true}"

func TestRequests(t *testing.T) {
	gzipped := packed(t, "gzip", page)
	for _, c := range []struct {
		name, settings string
		fields         []string
		body           string
		want           string // of the upstream; "" when refused
		left           string // Content-Encoding there
		kind           stream.Kind
		limit          string
	}{
		{name: "gzip", fields: []string{"gzip"}, body: gzipped, want: page},
		{name: "x-gzip", fields: []string{"X-GZIP"}, body: gzipped, want: page},
		{name: "br", fields: []string{"br"}, body: packed(t, "br", page), want: page},
		{name: "zstd", fields: []string{"zstd"}, body: packed(t, "zstd", page), want: page},
		{name: "two gzip members", fields: []string{"gzip"}, body: gzipped + gzipped, want: page + page},
		{name: "identity", fields: []string{"identity"}, body: "abc", want: "abc"},
		{name: "identity and gzip", fields: []string{"identity, gzip"}, body: gzipped, want: page},
		{name: "plain", body: "abc", want: "abc"},
		{name: "not wanted", settings: "requests: {decode: false}", fields: []string{"gzip"}, body: gzipped, want: gzipped, left: "gzip"},
		{name: "deflate", fields: []string{"deflate"}, body: "abc", kind: stream.ContentUnsupported},
		{name: "two codings", fields: []string{"gzip, br"}, body: gzipped, kind: stream.ContentUnsupported},
		{name: "two fields", fields: []string{"gzip", "gzip"}, body: gzipped, kind: stream.ContentUnsupported},
		{name: "exactly max_bytes", settings: "requests: {decode: true, max_bytes: 10000}", fields: []string{"gzip"}, body: gzipped, want: page},
		{name: "garbage", fields: []string{"gzip"}, body: "not gzip at all", want: "-", kind: stream.ContentUnsupported},
		{name: "garbage br", fields: []string{"br"}, body: "not brotli at all", want: "-", kind: stream.ContentUnsupported},
		{name: "garbage zstd", fields: []string{"zstd"}, body: "not zstd at all", want: "-", kind: stream.ContentUnsupported},
		{name: "cut gzip", fields: []string{"gzip"}, body: gzipped[:len(gzipped)-4], want: "-", kind: stream.ContentUnsupported},
		{name: "cut br", fields: []string{"br"}, body: cut(packed(t, "br", page)), want: "-", kind: stream.ContentUnsupported},
		{name: "cut zstd", fields: []string{"zstd"}, body: cut(packed(t, "zstd", page)), want: "-", kind: stream.ContentUnsupported},
		{name: "more behind gzip", fields: []string{"gzip"}, body: gzipped + "more of it", want: "-", kind: stream.ContentUnsupported},
		{name: "more behind br", fields: []string{"br"}, body: packed(t, "br", page) + "more", want: "-", kind: stream.ContentUnsupported},
		{name: "more behind zstd", fields: []string{"zstd"}, body: packed(t, "zstd", page) + "more", want: "-", kind: stream.ContentUnsupported},
		{name: "one byte too many", settings: "requests: {decode: true, max_bytes: 9999}", fields: []string{"gzip"}, body: gzipped,
			want: "-", kind: stream.BodyTooLarge, limit: "compress.requests.max_bytes"},
		{name: "br window of 16 MiB", fields: []string{"br"}, body: "\x0f\x00", want: "-", kind: stream.BodyTooLarge, limit: "compress.requests.max_window"},
		{name: "zstd window of 1 GiB", fields: []string{"zstd"}, body: "\x28\xb5\x2f\xfd\x00\xa0\x01\x00\x00", want: "-",
			kind: stream.BodyTooLarge, limit: "compress.requests.max_window"},
	} {
		if c.settings == "" {
			c.settings = decode
		}
		fields := []string{"Content-Type: text/plain"}
		for _, f := range c.fields {
			fields = append(fields, "Content-Encoding: "+f)
		}
		req := filtertest.WithBody(filtertest.Request("POST", "http://h/", fields...), c.body)
		out := filtertest.Run(t, Definition(), c.settings, req, nil)
		if c.kind != 0 {
			fault := out.Fault
			if c.want != "" {
				fault = stream.AsFault(out.Sent.BodyErr)
			}
			if fault == nil || fault.Kind != c.kind || fault.Limit != c.limit || (out.Sent != nil) != (c.want != "") {
				t.Errorf("%s: fault %v, want %s %s", c.name, fault, c.kind, c.limit)
			}
			continue
		}
		if out.Sent == nil || out.Sent.BodyErr != nil || out.Sent.Body != c.want {
			t.Errorf("%s: %+v", c.name, out)
			continue
		}
		if left, _ := out.Sent.Header.Get("Content-Encoding"); left != c.left {
			t.Errorf("%s: the upstream sees Content-Encoding %q", c.name, left)
		}
	}
}

func TestEmptyContent(t *testing.T) {
	out := filtertest.Run(t, Definition(), decode, filtertest.Request("GET", "http://h/", "Content-Encoding: gzip"), nil)
	if out.Sent == nil || out.Sent.BodyErr != nil || out.Sent.Header.Len() != 0 {
		t.Errorf("no content: %+v", out)
	}
	for _, name := range codingNames { // content of unknown length that turns out to be none
		req := filtertest.WithBody(filtertest.Request("POST", "http://h/", "Content-Encoding: "+name), "")
		req.Length = -1
		out := filtertest.Run(t, Definition(), decode, req, nil)
		if stream.AsFault(out.Sent.BodyErr).Kind != stream.ContentUnsupported {
			t.Errorf("%s: %v", name, out.Sent.BodyErr)
		}
	}
}

// Threats, "Bodies read whole": a bomb for each decoder. It ends at the limit,
// and the memory that it took is that of a decoder.
func TestBombs(t *testing.T) {
	const size = 64 << 20
	for _, name := range codingNames {
		bomb := packed(t, name, strings.Repeat("\x00", size))
		for settings, want := range map[string]string{
			"requests: {decode: true, max_bytes: 1MiB, max_ratio: 1000000}": "compress.requests.max_bytes",
			"requests: {decode: true, max_bytes: 1GiB}":                     "compress.requests.max_ratio",
		} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			read, fault := drain(t, settings, name, bomb)
			runtime.ReadMemStats(&after)
			if fault == nil || fault.Kind != stream.BodyTooLarge || fault.Limit != want {
				t.Errorf("%s, %s: fault %v", name, settings, fault)
			}
			if read > 1<<20 {
				t.Errorf("%s, %s: %d bytes reached the upstream", name, settings, read)
			}
			if took := after.TotalAlloc - before.TotalAlloc; took > 20<<20 {
				t.Errorf("%s, %s: %d bytes allocated", name, settings, took)
			}
		}
	}
}

// An ordinary page of zeros is no bomb.
func TestRatioIsNotJudgedAtOnce(t *testing.T) {
	for _, name := range codingNames {
		if n, fault := drain(t, decode, name, packed(t, name, strings.Repeat("\x00", unjudged))); fault != nil || n != unjudged {
			t.Errorf("%s: %d bytes, %v", name, n, fault)
		}
	}
}

// drain reads a request without keeping it.
func drain(t *testing.T, settings, name, body string) (int64, *stream.Fault) {
	t.Helper()
	var n int64
	var fault *stream.Fault
	next := stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		defer req.Body.Close()
		var err error
		if n, err = io.Copy(io.Discard, struct{ io.Reader }{req.Body}); err != nil {
			fault = stream.AsFault(err)
			if _, again := req.Body.Read(make([]byte, 1)); !errors.Is(again, err) {
				t.Errorf("%s: a later Read returns %v", name, again)
			}
		}
		return filtertest.Response(200, ""), nil
	})
	req := filtertest.WithBody(filtertest.Request("POST", "http://h/", "Content-Encoding: "+name), body)
	if _, err := filtertest.Build(t, Definition(), settings, next).Serve(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	return n, fault
}

func TestDecodedBody(t *testing.T) {
	trailer := filtertest.Header("X-End: 1")
	source := &feed{reads: []string{packed(t, "gzip", page)}, trailer: &trailer, names: "X-End"}
	req := filtertest.Request("POST", "http://h/", "Content-Encoding: gzip", "Content-Digest: x")
	req.Body, req.Length = source, -1
	next := stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		body := req.Body
		if req.Length != -1 || req.Header.Len() != 0 || body.(stream.Announcer).Announced() != "X-End" {
			t.Errorf("length %d, header %q", req.Length, filtertest.Lines(&req.Header))
		}
		body.(stream.Awaiter).Await()
		got, err := io.ReadAll(body)
		if err != nil || string(got) != page || body.Trailer() != &trailer || source.waits != 1 {
			t.Errorf("%d bytes, %v, trailer %v, %d waits", len(got), err, body.Trailer(), source.waits)
		}
		body.Close()
		return filtertest.Response(200, ""), nil
	})
	if _, err := filtertest.Build(t, Definition(), decode, next).Serve(t.Context(), req); err != nil {
		t.Fatal(err)
	}
}

// The fault of the client's connection is not taken for broken content.
func TestFaultOfTheClientPasses(t *testing.T) {
	for _, name := range codingNames {
		gone := &stream.Fault{Kind: stream.ClientGone}
		u := newUnpacker(&Requests{MaxBytes: 1 << 20, MaxRatio: 100, MaxWindow: 8 << 20})
		c, _ := codingOf(name)
		body := &decoded{unpacker: u, coding: c, source: source{body: &feed{reads: []string{cut(packed(t, name, page))}, last: gone}}}
		if _, err := io.ReadAll(body); !errors.Is(err, gone) {
			t.Errorf("%s: %v", name, err)
		}
		body.Close()
	}
}

// blocking is a body whose Read waits for Close.
type blocking struct {
	feed
	reading, closed chan struct{}
	once            sync.Once
}

func (b *blocking) Read(p []byte) (int, error) {
	if len(b.reads) > 0 {
		return b.feed.Read(p)
	}
	close(b.reading)
	<-b.closed
	return 0, &stream.Fault{Kind: stream.ClientGone}
}

func (b *blocking) Close() error {
	b.once.Do(func() { close(b.closed) })
	return nil
}

func TestCloseEndsARead(t *testing.T) {
	u := newUnpacker(&Requests{MaxBytes: 1 << 20, MaxRatio: 100, MaxWindow: 8 << 20})
	origin := &blocking{feed: feed{reads: []string{cut(packed(t, "gzip", page))}}, reading: make(chan struct{}), closed: make(chan struct{})}
	body := &decoded{unpacker: u, coding: gzipCoding, source: source{body: origin}}
	done := make(chan error)
	go func() {
		_, err := io.ReadAll(body)
		done <- err
	}()
	<-origin.reading
	body.Close()
	body.Close()
	if err := <-done; stream.AsFault(err).Kind != stream.ClientGone {
		t.Errorf("the Read returned %v", err)
	}
	if _, err := body.Read(make([]byte, 1)); err == nil {
		t.Error("a Read after Close succeeds")
	}
}

// Requests share decoders, one after another, also after a broken one.
func TestDecodersAreUsedAgain(t *testing.T) {
	for _, name := range codingNames {
		own := filtertest.Build(t, Definition(), decode, &filtertest.Next{}).(*service)
		for i := range 20 {
			body := packed(t, name, page[i:])
			if i%4 == 3 {
				body = cut(body)
			}
			next := &filtertest.Next{}
			own.next = next
			resp, err := own.Serve(t.Context(), filtertest.WithBody(filtertest.Request("POST", "http://h/", "Content-Encoding: "+name), body))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if broken := i%4 == 3; (next.Got[0].BodyErr != nil) != broken || !broken && next.Got[0].Body != page[i:] {
				t.Errorf("%s, request %d: %d bytes, %v", name, i, len(next.Got[0].Body), next.Got[0].BodyErr)
			}
		}
	}
}

func FuzzDecoders(f *testing.F) {
	for c, name := range codingNames {
		f.Add(uint8(c), []byte(packed(f, name, page)))
		f.Add(uint8(c), []byte(cut(packed(f, name, strings.Repeat("x", 5000)))))
	}
	u := newUnpacker(&Requests{MaxBytes: 64 << 10, MaxRatio: 100, MaxWindow: 1 << 20})
	f.Fuzz(func(t *testing.T, c uint8, content []byte) {
		body := &decoded{unpacker: u, coding: coding(c) % numCodings, source: source{body: stream.BytesBody(content)}}
		n, err := io.Copy(io.Discard, struct{ io.Reader }{body})
		if n > 64<<10 {
			t.Errorf("%d bytes, over the limit", n)
		}
		if _, ok := err.(*stream.Fault); err != nil && !ok {
			t.Errorf("error %v (%T) is no fault", err, err)
		}
		body.Close()
	})
}

func packed(t testing.TB, name, content string) string {
	t.Helper()
	var wire bytes.Buffer
	var w io.WriteCloser
	switch name {
	case "zstd":
		e, err := zstd.NewWriter(&wire, zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		w = e
	case "br":
		w = brotli.NewWriterOptions(&wire, brotli.WriterOptions{Quality: 4})
	default:
		w = gzip.NewWriter(&wire)
	}
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return wire.String()
}

func cut(s string) string { return s[:len(s)-6] }
