package cache

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/filters/cache/rule"
	"github.com/weirproxy/weir/stream"
)

const kib = 1 << 10

// film is content in which every byte says where it stands.
func film(length int) string {
	var b strings.Builder
	for i := 0; b.Len() < length; i += 8 {
		fmt.Fprintf(&b, "%07d ", i)
	}
	return b.String()[:length]
}

// ranges is an origin of content that knows ranges; change may spoil its answers.
func ranges(content string, change func(n int, resp *stream.Response)) *origin {
	return &origin{answer: func(n int, _ context.Context, req *stream.Request) (*stream.Response, error) {
		field, _ := req.Header.GetID(stream.Range)
		part, wanted := rule.RangeOf(field, int64(len(content)))
		resp := filtertest.Response(200, content, "Cache-Control: max-age=60", `ETag: "1"`)
		switch wanted {
		case rule.OnePart:
			resp = filtertest.Response(206, content[part.Start:part.End], "Cache-Control: max-age=60", `ETag: "1"`,
				fmt.Sprintf("Content-Range: bytes %d-%d/%d", part.Start, part.End-1, len(content)))
		case rule.Unsatisfied:
			resp = filtertest.Response(416, "", fmt.Sprintf("Content-Range: bytes */%d", len(content)))
		}
		if change != nil {
			change(n, resp)
		}
		return resp, nil
	}}
}

const sliced = "{slice: 64KiB, max_object: 128KiB}"

// TestSlices: a range of what is not stored is put together of slices, which are
// fetched once, whoever asks for what of them; and nothing else is.
func TestSlices(t *testing.T) {
	whole := film(200 * kib)
	o := ranges(whole, nil)
	w := cached(t, sliced, o)
	for _, c := range []struct {
		name, field string
		status      int
		from, to    int // of the content
		how         string
		fetched     string // the slices that the origin is asked for, in KiB
	}{
		{"cold", "bytes=70000-70009", 206, 70000, 70010, "fwd=uri-miss", "64-128"},
		{"of the same slice", "bytes=65536-131071", 206, 65536, 131072, "hit", ""},
		{"over a border", "bytes=131000-131100", 206, 131000, 131101, "hit", "128-192"},
		{"to the end", "bytes=190000-", 206, 190000, 200 * kib, "hit", "192-256"},
		{"the last byte", "bytes=204799-204799", 206, 204799, 204800, "hit", ""},
		{"beyond the end", "bytes=204790-999999", 206, 204790, 204800, "hit", ""},
		{"behind the end, in the last slice", "bytes=204800-", 416, 0, 0, "hit", ""},
		{"all of it", "bytes=0-", 206, 0, 200 * kib, "fwd=uri-miss", "0-64"},
		{"all of it again", "bytes=0-204799", 206, 0, 200 * kib, "hit", ""},
		{"behind the end, elsewhere", "bytes=400000-", 416, 0, 0, "fwd=uri-miss", "384-448"},
	} {
		before := o.count()
		g := w.get("/film", "Range: "+c.field)
		if g.err != nil || g.status != c.status || g.body != whole[c.from:c.to] || !strings.HasPrefix(g.field("Cache-Status"), "weir; "+c.how) {
			t.Errorf("%s: %d, %d bytes (%v), %q", c.name, g.status, len(g.body), g.err, g.field("Cache-Status"))
		}
		if want := fmt.Sprintf("bytes %d-%d/204800", c.from, c.to-1); c.status == 206 && (g.field("Content-Range") != want || g.length != int64(c.to-c.from) || g.header.Count("Content-Range") != 1) {
			t.Errorf("%s: %q, length %d, want %q", c.name, g.field("Content-Range"), g.length, want)
		}
		if c.status == 416 && g.field("Content-Range") != "bytes */204800" {
			t.Errorf("%s: %q", c.name, g.field("Content-Range"))
		}
		fetched := ""
		for _, line := range o.asked[before:] {
			var first, last int
			if _, err := fmt.Sscanf(line, "GET /film Range=bytes=%d-%d", &first, &last); err != nil {
				t.Errorf("%s: the origin is asked %q", c.name, line)
			}
			fetched += fmt.Sprintf("%d-%d", first/kib, (last+1)/kib)
		}
		if fetched != c.fetched {
			t.Errorf("%s: fetched %q, want %q", c.name, fetched, c.fetched)
		}
	}
	if n := w.Counted(`weir_cache_stored_total`); n != 4 {
		t.Errorf("%d slices are stored, want 4", n)
	}
}

// Conditions of a client are answered from the first slice.
func TestSlicesAndConditions(t *testing.T) {
	whole := film(100 * kib)
	for _, c := range []struct {
		name   string
		fields []string
		status int
		body   string
		asked  int
	}{
		{"If-Range that holds", []string{`If-Range: "1"`}, 206, whole[:10], 0},
		{"If-Range of another version", []string{`If-Range: "0"`}, 206, whole[:10], 1}, // this origin does not look at it: it is asked
		{"If-None-Match that holds", []string{`If-None-Match: "1"`}, 304, "", 0},
		{"If-None-Match of another version", []string{`If-None-Match: "0"`}, 206, whole[:10], 0},
		{"If-Match", []string{`If-Match: "1"`}, 206, whole[:10], 1},
		{"no-store", []string{"Cache-Control: no-store"}, 206, whole[:10], 1},
	} {
		o := ranges(whole, nil)
		w := cached(t, sliced, o)
		w.get("/film", "Range: bytes=0-9")
		before := o.count()
		g := w.get("/film", append(c.fields, "Range: bytes=0-9")...)
		if g.status != c.status || g.body != c.body || o.count()-before != c.asked {
			t.Errorf("%s: %d %q, asked %d times", c.name, g.status, g.body, o.count()-before)
		}
	}
}

// What is no range for slices goes on as it is.
func TestNoSlices(t *testing.T) {
	for name, c := range map[string]struct{ settings, field string }{
		"not configured":   {"{}", "bytes=0-9"},
		"a suffix":         {sliced, "bytes=-10"},
		"several":          {sliced, "bytes=0-1,5-6"},
		"another unit":     {sliced, "lines=0-9"},
		"not understood":   {sliced, "bytes=9-0"},
		"of too large one": {sliced, "bytes=x-"},
	} {
		o := ranges(film(100*kib), nil)
		w := cached(t, c.settings, o)
		w.get("/film", "Range: "+c.field)
		if want := "GET /film Range=" + c.field; o.count() != 1 || o.asked[0] != want {
			t.Errorf("%s: the origin is asked %q", name, o.asked)
		}
	}
}

// TestLyingSlices: what the origin says of parts is believed only where it is what
// was asked for; else the client gets the origin's answer to its own question,
// and for a while nobody asks for slices.
func TestLyingSlices(t *testing.T) {
	whole := film(200 * kib)
	set := func(name, value string) func(int, *stream.Response) {
		return func(_ int, resp *stream.Response) {
			if resp.Length > 10 {
				resp.Header.Set(name, value)
			}
		}
	}
	for name, change := range map[string]func(int, *stream.Response){
		"another part":          set("Content-Range", "bytes 1-65536/204800"),
		"a longer part":         set("Content-Range", "bytes 0-65536/204800"),
		"a shorter part":        set("Content-Range", "bytes 0-65534/204800"),
		"unknown length":        set("Content-Range", "bytes 0-65535/*"),
		"a length below it":     set("Content-Range", "bytes 0-65535/65535"),
		"a length without end":  set("Content-Range", "bytes 0-65535/99999999999999999999999"),
		"less than nothing":     set("Content-Range", "bytes -1-65535/204800"),
		"another unit":          set("Content-Range", "lines 0-65535/204800"),
		"a weak tag":            set("ETag", `W/"1"`),
		"no tag":                func(_ int, resp *stream.Response) { resp.Header.Del("ETag") },
		"two Content-Range":     func(_ int, resp *stream.Response) { resp.Header.Add("Content-Range", "bytes 0-65535/204800") },
		"no Content-Range":      func(_ int, resp *stream.Response) { resp.Header.Del("Content-Range") },
		"several parts in one":  func(_ int, resp *stream.Response) { resp.Header.Set("Content-Range", "bytes 0-1,5-6/204800") },
		"a length that is open": func(_ int, resp *stream.Response) { resp.Length = -1 },
	} {
		o := ranges(whole, change)
		w := cached(t, sliced, o)
		for range 2 {
			g := w.get("/film", "Range: bytes=0-9")
			if g.status != 206 || g.body != whole[:10] {
				t.Errorf("%s: %d %q", name, g.status, g.body)
			}
		}
		if n := w.Counted(`weir_cache_stored_total`); n != 0 {
			t.Errorf("%s: %d are stored", name, n)
		}
		if last := o.asked[len(o.asked)-1]; o.count() != 3 || last != "GET /film Range=bytes=0-9" {
			t.Errorf("%s: the origin is asked %q", name, o.asked)
		}
		if w.Counted(`weir_cache_refused_total{reason="part"}`) == 0 {
			t.Errorf("%s: it is not counted", name)
		}
	}
}

// TestChangingSlices: slices of two versions never make one response. The client
// sees that it breaks off, and all slices are forgotten.
func TestChangingSlices(t *testing.T) {
	whole := film(200 * kib)
	later := func(change func(*stream.Response)) func(int, *stream.Response) {
		return func(n int, resp *stream.Response) {
			if n == 1 {
				change(resp)
			}
		}
	}
	for name, change := range map[string]func(*stream.Response){
		"another tag":    func(resp *stream.Response) { resp.Header.Set("ETag", `"2"`) },
		"a weak tag":     func(resp *stream.Response) { resp.Header.Set("ETag", `W/"1"`) },
		"another length": func(resp *stream.Response) { resp.Header.Set("Content-Range", "bytes 65536-131071/204801") },
		"overlapping":    func(resp *stream.Response) { resp.Header.Set("Content-Range", "bytes 65530-131065/204800") },
		"gone":           func(resp *stream.Response) { *resp = *filtertest.Response(404, "") },
		"all of it":      func(resp *stream.Response) { *resp = *filtertest.Response(200, whole, `ETag: "1"`) },
	} {
		o := ranges(whole, later(change))
		w := cached(t, sliced, o)
		g := w.get("/film", "Range: bytes=60000-140000")
		if f := stream.AsFault(g.err); g.status != 206 || g.err == nil || f.Kind != stream.ResponseTruncated || whole[60000:65536] != g.body {
			t.Errorf("%s: %d, %d bytes, %v", name, g.status, len(g.body), g.err)
		}
		g = w.get("/film", "Range: bytes=60000-140000")
		if g.err != nil || g.body != whole[60000:140001] || o.asked[o.count()-1] != "GET /film Range=bytes=60000-140000" {
			t.Errorf("%s: afterwards %d, %d bytes, %v: %q", name, g.status, len(g.body), g.err, o.asked)
		}
	}
}

// TestSlicesOfNoRanges: an upstream that knows no ranges sends all of it, once.
func TestSlicesOfNoRanges(t *testing.T) {
	whole := film(100 * kib)
	o := says(200, whole, "Cache-Control: max-age=60")
	w := cached(t, sliced, o)
	for _, want := range []string{"GET /film Range=bytes=0-65535", "GET /film Range=bytes=0-9"} {
		if g := w.get("/film", "Range: bytes=0-9"); g.status != 200 || g.body != whole {
			t.Errorf("%d, %d bytes", g.status, len(g.body))
		}
		if last := o.asked[o.count()-1]; last != want {
			t.Errorf("the origin is asked %q", last)
		}
	}
}

// TestSlicesForWhom: slices are for whom the whole would be.
func TestSlicesForWhom(t *testing.T) {
	whole := film(100 * kib)
	o := ranges(whole, nil)
	w := cached(t, sliced, o)
	w.get("/film", "Range: bytes=0-9")
	for name, fields := range map[string][]string{"a cookie": {"Cookie: a=b"}, "credentials": {"Authorization: x"}} {
		before := o.count()
		if g := w.get("/film", append(fields, "Range: bytes=0-9")...); g.body != whole[:10] || o.count() == before {
			t.Errorf("%s: %q, asked %d times", name, g.body, o.count()-before)
		}
	}
}

// TestSlicesArePurged, with all that has their URL.
func TestSlicesArePurged(t *testing.T) {
	o := ranges(film(100*kib), nil)
	w := cached(t, sliced, o)
	w.get("/film", "Range: bytes=0-")
	if n := w.Counted(`weir_cache_stored_total`); n != 2 {
		t.Fatalf("%d are stored", n)
	}
	w.ask("POST", "/film")
	before := o.count()
	w.get("/film", "Range: bytes=0-9")
	if o.count() == before {
		t.Error("a slice has outlived a POST")
	}
}

// TestSliceIsFinished: a client that wants the start of a slice has its answer, and
// the rest of the slice comes for the next one; a client that leaves in the midst
// of it ends the fetch.
func TestSliceIsFinished(t *testing.T) {
	for _, leaves := range []bool{false, true} {
		t.Run(fmt.Sprint("leaves: ", leaves), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				whole := film(64 * kib)
				var f *feed
				o := &origin{answer: func(_ int, ctx context.Context, _ *stream.Request) (*stream.Response, error) {
					f = newFeed(ctx)
					resp := filtertest.Response(206, "", "Cache-Control: max-age=60", `ETag: "1"`, "Content-Range: bytes 0-65535/65536")
					resp.Body, resp.Length = f, 64*kib
					return resp, nil
				}}
				w := cached(t, sliced, o)
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan got, 1)
				go func() { done <- w.askAs(ctx, filtertest.Request("GET", "/film", "Range: bytes=0-9")) }()
				synctest.Wait()
				if leaves {
					cancel()
					if g := <-done; g.err == nil {
						t.Errorf("%q", g.body)
					}
					synctest.Wait()
					if !f.closed {
						t.Error("the fetch goes on")
					}
					return
				}
				f.pieces <- whole[:100]
				if g := <-done; g.err != nil || g.body != whole[:10] {
					t.Errorf("%q, %v", g.body, g.err)
				}
				cancel() // the client is gone, too
				f.pieces <- whole[100:]
				close(f.pieces)
				synctest.Wait()
				g := w.get("/film", "Range: bytes=65530-")
				w.want("the rest", g, whole[65530:], "hit")
				time.Sleep(time.Second)
				w.want("later", w.get("/film", "Range: bytes=0-0"), "0", "hit")
			})
		})
	}
}
