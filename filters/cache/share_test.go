package cache

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/stream"
)

// crowd asks for a URL n times at once; results come when all have one.
func (w *world) crowd(n int, url string, fields ...string) func() []got {
	results := make([]got, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { results[i] = w.get(url, fields...) })
	}
	return func() []got { all.Wait(); return results }
}

// gated is an origin whose heads come when the test says so.
func gated(o *origin) (gate chan struct{}) {
	gate = make(chan struct{})
	inner := o.answer
	o.answer = func(n int, ctx context.Context, req *stream.Request) (*stream.Response, error) {
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, &stream.Fault{Kind: stream.ClientGone}
		}
		return inner(n, ctx, req)
	}
	return gate
}

func TestCoalescing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := says(200, "page #", fresh)
		gate := gated(o)
		w := cached(t, "", o)
		results := w.crowd(20, "http://h/")
		synctest.Wait()
		close(gate)
		for _, g := range results() {
			if g.body != "page 0" || g.status != 200 {
				t.Errorf("%d %q, %v", g.status, g.body, g.err)
			}
		}
		if w.origin.count() != 1 || w.counted("miss") != 1 || w.counted("coalesced") != 19 {
			t.Errorf("%d requests, %d misses, %d coalesced", w.origin.count(), w.counted("miss"), w.counted("coalesced"))
		}
	})
}

// Who waited for a response that is not to be shared goes to the upstream, all
// of them at once; and the next ones do not wait at all.
func TestUncacheableIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var together, most atomic.Int64
		o := &origin{answer: func(n int, _ context.Context, _ *stream.Request) (*stream.Response, error) {
			most.Store(max(most.Load(), together.Add(1)))
			time.Sleep(time.Second)
			together.Add(-1)
			return filtertest.Response(200, fmt.Sprint("for ", n), "Cache-Control: private"), nil
		}}
		w := cached(t, "", o)
		start := time.Now()
		seen := map[string]bool{}
		for _, g := range w.crowd(10, "http://h/")() {
			if seen[g.body] {
				t.Errorf("two got %q", g.body)
			}
			seen[g.body] = true
		}
		if took := time.Since(start); took != 2*time.Second || most.Load() != 9 {
			t.Errorf("%v, %d at a time: they waited for each other", took, most.Load())
		}
		start = time.Now()
		w.crowd(10, "http://h/")()
		if took := time.Since(start); took != time.Second || w.counted("uncacheable") != 19 {
			t.Errorf("the next ones took %v; %d", took, w.counted("uncacheable"))
		}
	})
}

// The deadline of each is its own.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := says(200, "page #", fresh)
		inner := o.answer
		o.answer = func(n int, ctx context.Context, req *stream.Request) (*stream.Response, error) {
			if n == 0 {
				time.Sleep(time.Minute)
			}
			return inner(n, ctx, req)
		}
		w := cached(t, "wait: 2s", o)
		first := w.crowd(1, "http://h/")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if g := w.askAs(ctx, filtertest.Request("GET", "http://h/")); g.err == nil || stream.AsFault(g.err).Kind != stream.ClientGone {
			t.Errorf("one that leaves: %d %v", g.status, g.err)
		}
		start := time.Now()
		g := w.get("http://h/")
		if took := time.Since(start); g.body != "page 1" || took != 2*time.Second {
			t.Errorf("%q after %v", g.body, took)
		}
		first()
	})
}

func TestNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := says(200, "page", fresh)
		gate := gated(o)
		w := cached(t, "wait: 0s", o)
		results := w.crowd(5, "http://h/")
		synctest.Wait()
		if w.origin.count() != 5 {
			t.Errorf("%d requests", w.origin.count())
		}
		close(gate)
		results()
		w.want("stored", w.get("http://h/"), "page", "hit")
	})
}

// The client of the leader leaves before the head: the fetch goes on for the
// others. When all have left, it ends.
func TestLeaderLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := says(200, "page #", fresh)
		gate := gated(o)
		w := cached(t, "", o)
		ctx, leave := context.WithCancel(t.Context())
		var leader sync.WaitGroup
		leader.Go(func() { w.askAs(ctx, filtertest.Request("GET", "http://h/")) })
		synctest.Wait()
		others := w.crowd(3, "http://h/")
		synctest.Wait()
		leave()
		synctest.Wait()
		close(gate)
		for _, g := range others() {
			if g.body != "page 0" {
				t.Errorf("%q, %v", g.body, g.err)
			}
		}
		leader.Wait()
		if w.origin.count() != 1 {
			t.Errorf("%d requests", w.origin.count())
		}
	})
	synctest.Test(t, func(t *testing.T) {
		o := says(200, "page #", fresh)
		gated(o) // nobody opens it: the fetch has to be given up
		w := cached(t, "", o)
		ctx, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() { w.askAs(ctx, filtertest.Request("GET", "http://h/")) })
		}
		synctest.Wait()
		leave()
		all.Wait()
	})
}

func TestLeaderPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := says(200, "page #", fresh)
		gate := make(chan struct{})
		inner := o.answer
		o.answer = func(n int, ctx context.Context, req *stream.Request) (*stream.Response, error) {
			if n == 0 {
				<-gate
				panic("a filter behind")
			}
			return inner(n, ctx, req)
		}
		w := cached(t, "", o)
		var leader sync.WaitGroup
		leader.Go(func() {
			defer func() { recover() }()
			w.get("http://h/")
		})
		synctest.Wait()
		others := w.crowd(3, "http://h/")
		synctest.Wait()
		close(gate)
		for _, g := range others() {
			if g.err != nil || g.status != 200 {
				t.Errorf("%d, %v", g.status, g.err)
			}
		}
		leader.Wait()
	})
}

func TestFaultIsEachOnesOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := each(fault(stream.UpstreamReset), response(200, "page", fresh))
		gate := gated(o)
		w := cached(t, "", o)
		results := w.crowd(4, "http://h/")
		synctest.Wait()
		close(gate)
		failed := 0
		for _, g := range results() {
			if g.err != nil {
				failed++
			} else if g.body != "page" {
				t.Errorf("%q", g.body)
			}
		}
		if failed != 1 {
			t.Errorf("%d failed by the fault of one", failed)
		}
	})
}

// Those who wait for the response to another look again.
func TestWaitersThatVary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answer: func(_ int, _ context.Context, req *stream.Request) (*stream.Response, error) {
			time.Sleep(time.Second)
			language, _ := req.Header.Get("Accept-Language")
			return filtertest.Response(200, "in "+language, fresh, "Vary: Accept-Language"), nil
		}}
		w := cached(t, "", o)
		var all sync.WaitGroup
		for i := range 12 {
			all.Go(func() {
				language := []string{"de", "fr", "it"}[i%3]
				if g := w.get("http://h/", "Accept-Language: "+language); g.body != "in "+language {
					t.Errorf("%s: %q", language, g.body)
				}
			})
		}
		all.Wait()
		if n := w.origin.count(); n != 3 {
			t.Errorf("%d requests for three languages", n)
		}
	})
}

// Users with credentials never wait for those without, nor get what is theirs.
func TestWaitersOfAnotherKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answer: func(n int, _ context.Context, req *stream.Request) (*stream.Response, error) {
			time.Sleep(time.Second)
			who, _ := req.Header.Get("Authorization")
			return filtertest.Response(200, "for "+who, fresh), nil
		}}
		w := cached(t, "", o)
		var all sync.WaitGroup
		for _, who := range []string{"anna", "", "bob", "", "anna"} {
			synctest.Wait() // the one before is on its way
			all.Go(func() {
				var fields []string
				if who != "" {
					fields = []string{"Authorization: " + who}
				}
				start := time.Now()
				if g := w.get("http://h/", fields...); g.body != "for "+who {
					t.Errorf("%s: %q", who, g.body)
				}
				if took := time.Since(start); who == "" && took != time.Second {
					t.Errorf("nobody in particular waited %v for somebody", took)
				}
			})
		}
		all.Wait()
		if g := w.get("http://h/"); g.body != "for " {
			t.Errorf("stored: %q", g.body)
		}
	})
}

// streaming is an origin whose content the test feeds.
func streaming(length int64, fields ...string) (*origin, chan *feed) {
	feeds := make(chan *feed, 10)
	return &origin{answer: func(_ int, ctx context.Context, _ *stream.Request) (*stream.Response, error) {
		f := newFeed(ctx)
		feeds <- f
		return &stream.Response{Status: 200, Header: filtertest.Header(fields...), Body: f, Length: length}, nil
	}}, feeds
}

// open is a response that is being read.
func (w *world) open(ctx context.Context, url string) *stream.Response {
	resp, err := w.service.Serve(ctx, filtertest.Request("GET", url))
	if err != nil {
		w.t.Fatalf("%s: %v", url, err)
	}
	return resp
}

func piece(t *testing.T, resp *stream.Response, want string) {
	t.Helper()
	buf := make([]byte, len(want))
	if n, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != want {
		t.Errorf("%q, %v, want %q", buf[:n], err, want)
	}
}

// Everybody reads what is there, at once, and whoever needs more gets it for
// all.
func TestStreaming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, feeds := streaming(9, fresh)
		w := cached(t, "", o)
		a := w.open(t.Context(), "http://h/")
		f := <-feeds
		go func() { f.pieces <- "abc" }()
		piece(t, a, "abc")
		b := w.open(t.Context(), "http://h/")
		piece(t, b, "abc")
		go func() { f.pieces <- "def" }()
		piece(t, b, "def") // the second drives, while the first does not read
		a.Body.Close()     // and the first leaves
		go func() { f.pieces <- "ghi"; close(f.pieces) }()
		piece(t, b, "ghi")
		if _, err := b.Body.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the end: %v", err)
		}
		b.Body.Close()
		w.want("stored", w.get("http://h/"), "abcdefghi", "hit")
		if o.count() != 1 || !f.closed {
			t.Errorf("%d requests; closed %v", o.count(), f.closed)
		}
		if n, _ := w.Gauged("weir_cache_filling_bytes"); n != 0 {
			t.Errorf("%v bytes are still taken", n)
		}
	})
}

// Who writes a response of known length does not read its end: it is stored all
// the same, unless a trailer follows.
func TestNobodyReadsTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, trailer := range []bool{false, true} {
			o, feeds := streaming(3, fresh)
			w := cached(t, "", o)
			a := w.open(t.Context(), "http://h/")
			f := <-feeds
			if trailer {
				tail := filtertest.Header("X-Sum: 1")
				f.tail = &tail
			}
			go func() { f.pieces <- "abc"; close(f.pieces) }()
			piece(t, a, "abc")
			a.Body.Close()
			if n := w.Shown().(view).Objects; (n == 0) != trailer || !f.closed {
				t.Errorf("trailer %v: %d objects", trailer, n)
			}
		}
	})
	// Where the end is known already, nothing waits for the last reader.
	w := cached(t, "", &origin{answer: func(int, context.Context, *stream.Request) (*stream.Response, error) {
		return &stream.Response{Status: 200, Header: filtertest.Header(fresh), Body: &known{slowly{rest: "abc"}}, Length: 3}, nil
	}})
	a := w.open(t.Context(), "http://h/")
	piece(t, a, "abc")
	if n := w.Shown().(view).Objects; n != 1 {
		t.Errorf("%d objects", n)
	}
	a.Body.Close()
}

// known knows its end.
type known struct{ slowly }

func (k *known) Bytes() ([]byte, bool) { return nil, k.rest == "" }

// The leader has the head and leaves at once: those who waited for the head have
// their places in the content already.
func TestLeaderLeavesWithTheHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, feeds := streaming(3, fresh)
		gate := gated(o)
		w := cached(t, "", o)
		var leader sync.WaitGroup
		leader.Go(func() { w.open(t.Context(), "http://h/").Body.Close() })
		synctest.Wait()
		others := w.crowd(3, "http://h/")
		synctest.Wait()
		close(gate)
		leader.Wait()
		f := <-feeds
		f.pieces <- "abc"
		close(f.pieces)
		for _, g := range others() {
			if g.body != "abc" || g.err != nil {
				t.Errorf("%q, %v", g.body, g.err)
			}
		}
		w.want("stored", w.get("http://h/"), "abc", "hit")
		if o.count() != 1 || !f.closed {
			t.Errorf("%d requests; closed %v", o.count(), f.closed)
		}
	})
}

// Content that breaks off is not stored, and nobody takes it for whole.
func TestBreaksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, length := range []int64{9, -1} {
			o, feeds := streaming(length, fresh)
			w := cached(t, "", o)
			a := w.open(t.Context(), "http://h/")
			f := <-feeds
			f.fault = &stream.Fault{Kind: stream.UpstreamReset}
			go func() { f.pieces <- "abc"; close(f.pieces) }()
			_, err := io.ReadAll(a.Body)
			if fault, ok := err.(*stream.Fault); !ok || fault.Kind != stream.UpstreamReset {
				t.Errorf("length %d: %v", length, err)
			}
			a.Body.Close()
			again := w.open(t.Context(), "http://h/")
			again.Body.Close()
			if w.origin.count() != 2 {
				t.Errorf("length %d: half a response is stored", length)
			}
			if n, _ := w.Gauged("weir_cache_filling_bytes"); n != 0 {
				t.Errorf("length %d: %v bytes are still taken", length, n)
			}
		}
	})
}

// Shorter than declared is broken off, whatever the source says.
func TestShorterThanDeclared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for text, kind := range map[string]stream.Kind{"short": stream.ResponseTruncated, "much too long": stream.ResponseMalformed} {
			o, feeds := streaming(9, fresh)
			w := cached(t, "", o)
			a := w.open(t.Context(), "http://h/")
			f := <-feeds
			go func() { f.pieces <- text; close(f.pieces) }()
			_, err := io.ReadAll(a.Body)
			if fault, ok := err.(*stream.Fault); !ok || fault.Kind != kind {
				t.Errorf("%q: %v", text, err)
			}
			a.Body.Close()
			if n := w.Shown().(view).Objects; n != 0 {
				t.Errorf("%q: %d objects", text, n)
			}
		}
	})
}

// A filter in front panics behind the call of this one: what it held is closed by
// who recovers, through the exchange, and the upstream is let go.
func TestPanicInFront(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, fields := range []string{fresh, "Cache-Control: private"} {
			o, feeds := streaming(3, fields)
			w := cached(t, "", o)
			req := filtertest.Request("GET", "http://h/")
			if _, err := w.service.Serve(t.Context(), req); err != nil {
				t.Fatal(err)
			}
			f := <-feeds
			req.Exchange.Content.Close()
			if f.ctx.Err() == nil || !f.closed {
				t.Errorf("%s: the exchange with the upstream goes on", fields)
			}
		}
	})
}

// Nobody is left: the exchange ends, even while somebody was reading.
func TestEverybodyLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, reading := range []bool{false, true} {
			o, feeds := streaming(9, fresh)
			w := cached(t, "", o)
			ctx, leave := context.WithCancel(t.Context())
			a := w.open(ctx, "http://h/")
			f := <-feeds
			var reads sync.WaitGroup
			if reading {
				reads.Go(func() { io.ReadAll(a.Body) })
				synctest.Wait()
			}
			leave()
			reads.Wait()
			a.Body.Close()
			synctest.Wait()
			if f.ctx.Err() == nil || !f.closed {
				t.Errorf("reading %v: the exchange with the upstream goes on", reading)
			}
			if n := w.Shown().(view).Fetching; n != 0 {
				t.Errorf("%d fetches", n)
			}
		}
	})
}

// Content of unknown length is shared when it is whole, because it may turn out
// too large; then it is passed on to the one who came first, through a window.
func TestUnknownLength(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct{ content, waiters string }{{strings.Repeat("x", 500), ""}, {strings.Repeat("x", 5000), "alone"}} {
			o, feeds := streaming(-1, fresh)
			w := cached(t, "max_object: 1KiB", o)
			a := w.open(t.Context(), "http://h/")
			f := <-feeds
			others := w.crowd(3, "http://h/")
			synctest.Wait()
			go func() {
				for rest := c.content; rest != ""; rest = rest[100:] {
					f.pieces <- rest[:100]
				}
				close(f.pieces)
			}()
			if c.waiters == "alone" {
				go func() {
					for range 3 {
						own := <-feeds
						go func() { own.pieces <- c.content; close(own.pieces) }()
					}
				}()
			}
			content, err := io.ReadAll(a.Body)
			a.Body.Close()
			if string(content) != c.content || err != nil {
				t.Errorf("%d of %d bytes, %v", len(content), len(c.content), err)
			}
			for _, g := range others() {
				if g.body != c.content {
					t.Errorf("another: %d of %d bytes, %v", len(g.body), len(c.content), g.err)
				}
			}
			if want := map[string]int{"": 1, "alone": 4}[c.waiters]; o.count() != want {
				t.Errorf("%d bytes: %d requests", len(c.content), o.count())
			}
			if n, _ := w.Gauged("weir_cache_filling_bytes"); n != 0 {
				t.Errorf("%v bytes are still taken", n)
			}
		}
	})
}

// The leader of content of unknown length leaves: who waits fetches the rest.
func TestUnknownLengthIsHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, feeds := streaming(-1, fresh)
		w := cached(t, "", o)
		a := w.open(t.Context(), "http://h/")
		f := <-feeds
		others := w.crowd(3, "http://h/")
		synctest.Wait()
		a.Body.Close()
		f.pieces <- "abc"
		close(f.pieces)
		for _, g := range others() {
			if g.body != "abc" {
				t.Errorf("%q, %v", g.body, g.err)
			}
		}
		if o.count() != 1 {
			t.Errorf("%d requests", o.count())
		}
	})
}

func TestTooLarge(t *testing.T) {
	w := cached(t, "max_object: 1KiB", says(200, strings.Repeat("x", 2000), fresh))
	w.get("http://h/")
	w.want("again", w.get("http://h/"), strings.Repeat("x", 2000), "fwd=bypass; detail=known_uncacheable")
}

// A trailer is part of a response, and is not stored: so neither is the rest.
func TestTrailer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, feeds := streaming(3, fresh)
		w := cached(t, "", o)
		a := w.open(t.Context(), "http://h/")
		f := <-feeds
		tail := filtertest.Header("X-Sum: 1")
		f.tail = &tail
		go func() { f.pieces <- "abc"; close(f.pieces) }()
		io.ReadAll(a.Body)
		if trailer := a.Body.Trailer(); trailer == nil || trailer.Len() != 1 {
			t.Error("the trailer is lost")
		}
		a.Body.Close()
		if n := w.Shown().(view).Objects; n != 0 {
			t.Error("it is stored without its trailer")
		}
	})
}

// What is on its way while its URL is purged is not stored, and nobody joins it.
func TestPurgeWhileFetching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, order := range []map[string]any{{"url": "http://h/"}, {"prefix": "http://h/"}, {"tag": "x"}, {"all": true}} {
			o, feeds := streaming(3, fresh, "Surrogate-Key: x")
			w := cached(t, "", o)
			a := w.open(t.Context(), "http://h/")
			f := <-feeds
			if _, err := w.Operate(t.Context(), "purge", order); err != nil {
				t.Fatal(err)
			}
			b := w.open(t.Context(), "http://h/")
			if b.Body.Close(); o.count() != 2 {
				t.Errorf("%v: what was asked for before the purge is given to one who asks behind it", order)
			}
			<-feeds
			go func() { f.pieces <- "abc"; close(f.pieces) }()
			io.ReadAll(a.Body)
			a.Body.Close()
			if n := w.Shown().(view).Objects; n != 0 {
				t.Errorf("%v: %d objects", order, n)
			}
		}
	})
}

// Reloads, purges, leavers and readers meet; run with the race detector.
func TestAllAtOnce(t *testing.T) {
	o := &origin{answer: func(n int, _ context.Context, req *stream.Request) (*stream.Response, error) {
		body := strings.Repeat(req.Target.Path, 100)
		fields := []string{fresh, "Surrogate-Key: x", "Vary: A"}
		if n%5 == 0 {
			fields[0] = "Cache-Control: private"
		}
		resp := filtertest.Response(200, body, fields...)
		if n%3 == 0 {
			resp.Length = -1
		}
		if n%2 == 0 {
			resp.Body = &slowly{rest: body}
		}
		return resp, nil
	}}
	w := cached(t, "{size: 64KiB, max_object: 1KiB}", o)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 300 {
				ctx, cancel := context.WithCancel(t.Context())
				path := fmt.Sprint("/", (n+i)%7)
				resp, err := w.service.Serve(ctx, filtertest.Request("GET", "http://h"+path, fmt.Sprint("A: ", n%3)))
				if err != nil {
					t.Errorf("%v", err)
				} else if n%4 == 0 {
					resp.Body.Read(make([]byte, 3))
					if n%8 == 0 {
						cancel()
					}
					resp.Body.Close()
				} else if content, err := io.ReadAll(resp.Body); err != nil || string(content) != strings.Repeat(path, 100) {
					t.Errorf("%s: %d bytes, %v", path, len(content), err)
				} else {
					resp.Body.Close()
				}
				cancel()
				if n%50 == 0 {
					w.Operate(t.Context(), "purge", map[string]string{"tag": "x"})
				}
			}
		})
	}
	all.Wait()
	if v := w.Shown().(view); v.Fetching != 0 || v.Bytes > 64<<10 {
		t.Errorf("%+v", v)
	}
	if n, _ := w.Gauged("weir_cache_filling_bytes"); n != 0 {
		t.Errorf("%v bytes are still taken", n)
	}
}

// slowly gives its content in small reads.
type slowly struct{ rest string }

func (s *slowly) Read(p []byte) (int, error) {
	if s.rest == "" {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), 7)], s.rest)
	s.rest = s.rest[n:]
	return n, nil
}
func (s *slowly) Close() error            { return nil }
func (s *slowly) Trailer() *stream.Header { return nil }
