package cache

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/stream"
)

// origin is an upstream that many ask at once.
type origin struct {
	mu     sync.Mutex
	asked  []string // method, URI and conditions of each request
	answer func(n int, ctx context.Context, req *stream.Request) (*stream.Response, error)
}

func (o *origin) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	defer req.Body.Close()
	o.mu.Lock()
	n := len(o.asked)
	line := req.Method + " " + req.Target.RequestURI()
	for _, name := range []string{"If-None-Match", "If-Modified-Since", "Range"} {
		if value, ok := req.Header.Get(name); ok {
			line += " " + name + "=" + value
		}
	}
	o.asked = append(o.asked, line)
	o.mu.Unlock()
	return o.answer(n, ctx, req)
}

func (o *origin) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.asked)
}

// says is an origin that always answers the same, with the number of the
// request in the place of "#" in the body.
func says(status int, body string, fields ...string) *origin {
	return &origin{answer: func(n int, _ context.Context, _ *stream.Request) (*stream.Response, error) {
		return filtertest.Response(status, strings.ReplaceAll(body, "#", fmt.Sprint(n)), fields...), nil
	}}
}

// each is an origin that gives its answers one after the other, the last one
// forever.
func each(answers ...func() (*stream.Response, error)) *origin {
	return &origin{answer: func(n int, _ context.Context, _ *stream.Request) (*stream.Response, error) {
		return answers[min(n, len(answers)-1)]()
	}}
}

func response(status int, body string, fields ...string) func() (*stream.Response, error) {
	return func() (*stream.Response, error) { return filtertest.Response(status, body, fields...), nil }
}

func fault(kind stream.Kind) func() (*stream.Response, error) {
	return func() (*stream.Response, error) { return nil, &stream.Fault{Kind: kind} }
}

// world is a cache in a house, with what is behind it.
type world struct {
	t testing.TB
	*filtertest.House
	origin  *origin
	service stream.Service
}

func cached(t testing.TB, settings string, o *origin) *world {
	w := &world{t: t, House: &filtertest.House{}, origin: o}
	w.reload(settings)
	return w
}

func (w *world) reload(settings string) {
	w.service = filtertest.BuildIn(w.t, w.House, Definition(), settings, w.origin)
}

// got is what a client got.
type got struct {
	status int
	header stream.Header
	body   string
	length int64
	err    error
}

func (g got) field(name string) string {
	value, _ := g.header.Get(name)
	return value
}

func (w *world) ask(method, url string, fields ...string) got {
	return w.askAs(w.t.Context(), filtertest.Request(method, url, fields...))
}

func (w *world) get(url string, fields ...string) got { return w.ask("GET", url, fields...) }

func (w *world) askAs(ctx context.Context, req *stream.Request) got {
	resp, err := w.service.Serve(ctx, req)
	if (resp == nil) == (err == nil) {
		w.t.Fatalf("%s %s: response %v, error %v", req.Method, req.Target.Path, resp, err)
	}
	if err != nil {
		return got{err: err}
	}
	content, err := io.ReadAll(resp.Body)
	g := got{resp.Status, resp.Header.Clone(), string(content), resp.Length, err}
	resp.Body.Close()
	return g
}

// want wants a body, and the way it came as Cache-Status says.
func (w *world) want(what string, g got, body, status string) {
	w.t.Helper()
	if g.err != nil || g.body != body || !strings.HasPrefix(g.field("Cache-Status"), "weir; "+status) {
		w.t.Errorf("%s: %d %q %q (%v), want %q %q", what, g.status, g.body, g.field("Cache-Status"), g.err, body, status)
	}
}

func (w *world) counted(result string) int64 {
	return w.Counted(`weir_cache_requests_total{result="` + result + `"}`)
}

// feed is content that comes when the test says so.
type feed struct {
	ctx    context.Context
	pieces chan string // closed: the end
	rest   string
	fault  *stream.Fault
	tail   *stream.Header
	closed bool
}

func newFeed(ctx context.Context) *feed { return &feed{ctx: ctx, pieces: make(chan string)} }

func (f *feed) Read(p []byte) (int, error) {
	if f.rest == "" {
		select {
		case piece, more := <-f.pieces:
			if !more {
				if f.fault != nil {
					return 0, f.fault
				}
				return 0, io.EOF
			}
			f.rest = piece
		case <-f.ctx.Done():
			return 0, &stream.Fault{Kind: stream.UpstreamClosed}
		}
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

func (f *feed) Close() error            { f.closed = true; return nil }
func (f *feed) Trailer() *stream.Header { return f.tail }
