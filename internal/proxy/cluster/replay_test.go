package cluster

import (
	"context"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/stream"
)

// slowToCome is a body that takes its time to get into memory.
type slowToCome struct{ stream.Prefetcher }

func (s slowToCome) Prefetch(max int) error {
	time.Sleep(time.Second)
	return s.Prefetcher.Prefetch(max)
}

// TestBodyComesTooLate: no endpoint is asked, and none is to blame.
func TestBodyComesTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(1, nil)
		req := request("POST")
		req.Body = slowToCome{stream.BytesBody([]byte("x")).(stream.Prefetcher)}
		p := retries(2, "timeout")
		p.Timeout = 500 * time.Millisecond
		_, err := f.ForRoute(p).Serve(t.Context(), req)
		if outcome(nil, err) != "request_timeout" || req.Exchange.Attempts != 0 || f.up[0].ep.Status(time.Now()).Failures != 0 {
			t.Errorf("%v after %d attempts", err, req.Exchange.Attempts)
		}
		f.quiet(t)
	})
}

func TestBodies(t *testing.T) {
	const content = "0123456789"
	bodies := map[string]func() stream.Body{
		"in memory": func() stream.Body { return stream.BytesBody([]byte(content)) },
		"streamed":  func() stream.Body { return newStreamed(content) },
	}
	for name, body := range bodies {
		for _, read := range []string{"nothing", "half", "all"} {
			t.Run(name+", read "+read, func(t *testing.T) {
				f := newFixture(2, nil)
				f.up[0].serve = func(_ context.Context, req *stream.Request) (*stream.Response, error) {
					switch read {
					case "half":
						io.ReadFull(req.Body, make([]byte, 5))
					case "all":
						io.ReadAll(req.Body)
					}
					return nil, &stream.Fault{Kind: stream.UpstreamReset, Retry: stream.RetryIdempotent}
				}
				f.up[1].serve = func(_ context.Context, req *stream.Request) (*stream.Response, error) {
					if w, ok := req.Body.(stream.Whole); name == "in memory" {
						if b, whole := w.Bytes(); !ok || !whole || string(b) != content {
							t.Errorf("not in memory any more: %q", b)
						}
					}
					return f.up[1].respond(200), f.up[1].read(req)
				}
				req, b := request("PUT"), body()
				req.Body = b
				got := outcome(f.ForRoute(retries(2, "reset")).Serve(t.Context(), req))
				if got != "200" || len(f.up[1].bodies) != 1 || f.up[1].bodies[0] != content {
					t.Errorf("%s, second attempt read %q", got, f.up[1].bodies)
				}
				if s, ok := b.(*streamed); ok && !s.closed {
					t.Error("the body was not closed")
				}
				f.quiet(t)
			})
		}
	}
}

// blocking is a body whose Read waits until it is closed.
type blocking struct {
	stream.Body
	in, done chan struct{}
	once     sync.Once
	err      error // of the Read
}

func (b *blocking) Read(p []byte) (int, error) {
	close(b.in)
	<-b.done
	return copy(p, "x"), b.err
}

func (b *blocking) Close() error { b.once.Do(func() { close(b.done) }); return nil }

// TestUploadUnderWay: an attempt that ends while its upload waits for the
// client breaks the upload off, and nothing is sent again.
func TestUploadUnderWay(t *testing.T) {
	for _, end := range []error{nil, &stream.Fault{Kind: stream.ClientGone}} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(2, nil)
			body := &blocking{Body: stream.NoBody, in: make(chan struct{}), done: make(chan struct{}), err: end}
			f.up[0].serve = func(_ context.Context, req *stream.Request) (*stream.Response, error) {
				var upload sync.WaitGroup
				upload.Go(func() { req.Body.Read(make([]byte, 10)) })
				<-body.in
				req.Body.Close()
				upload.Wait()
				return nil, &stream.Fault{Kind: stream.UpstreamReset, Retry: stream.RetryIdempotent}
			}
			req := request("PUT")
			req.Body = body
			got := outcome(f.ForRoute(retries(2, "reset")).Serve(t.Context(), req))
			if got != "upstream_reset" || req.Exchange.RetryRefused != "body" {
				t.Errorf("%s, refused %q", got, req.Exchange.RetryRefused)
			}
			f.quiet(t)
		})
	}
}

// TestOvertakenView: what an earlier attempt left running cannot read the body
// of the later one.
func TestOvertakenView(t *testing.T) {
	for _, body := range []stream.Body{stream.BytesBody([]byte("0123456789")), newStreamed("0123456789")} {
		r := newReplay(body, 100)
		first := r.view()
		if _, err := io.ReadFull(first, make([]byte, 3)); err != nil {
			t.Fatal(err)
		}
		if !r.rewind() {
			t.Fatal("three bytes are kept")
		}
		if n, err := first.Read(make([]byte, 3)); n != 0 || err == nil || err == io.EOF {
			t.Errorf("the first view read %d bytes, %v", n, err)
		}
		if _, ok := first.(stream.Whole).Bytes(); ok {
			t.Error("the first view still shows the content")
		}
		first.Close()
		if content, err := io.ReadAll(r.view()); string(content) != "0123456789" || err != nil {
			t.Errorf("the second view read %q, %v", content, err)
		}
	}
}

// TestEarlyResponse: the response is there while the upload goes on; the body
// stays readable until the exchange is over, and is closed then.
func TestEarlyResponse(t *testing.T) {
	f := newFixture(1, nil)
	var upload stream.Body
	f.up[0].ep.Transport = transportFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		upload = req.Body
		return f.up[0].respond(200), nil
	})
	req, body := request("POST"), newStreamed("0123456789")
	req.Body = body
	resp, err := f.ForRoute(retries(2)).Serve(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if content, err := io.ReadAll(upload); string(content) != "0123456789" || err != nil {
		t.Errorf("read %q, %v after the head of the response", content, err)
	}
	if body.closed {
		t.Error("closed too early")
	}
	upload.Close()
	resp.Body.Close()
	if !body.closed {
		t.Error("the body was not closed at the end")
	}
	f.quiet(t)
}

// transportFunc leaves req.Body to the function.
type transportFunc func(ctx context.Context, req *stream.Request) (*stream.Response, error)

func (t transportFunc) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	return t(ctx, req)
}
func (transportFunc) Drain()                        {}
func (transportFunc) Connections() (open, idle int) { return 0, 0 }
