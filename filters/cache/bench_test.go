package cache

import (
	"context"
	"strings"
	"testing"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/stream"
)

// browser is a request as browsers send it and entry writes it.
func browser(url string) *stream.Request {
	return filtertest.Request("GET", url,
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Accept: text/html,application/xhtml+xml",
		"Accept-Language: en-US,en;q=0.5", "Accept-Encoding: gzip, deflate, br, zstd", "Sec-Fetch-Dest: document", "Sec-Fetch-Mode: navigate",
		"X-Forwarded-For: 192.0.2.1", "X-Real-Ip: 192.0.2.1", "X-Forwarded-Host: h", "X-Forwarded-Proto: http", "X-Forwarded-Port: 80", "X-Request-Id: 1234567890",
	)
}

func hot(t testing.TB, fields ...string) (*world, *stream.Request) {
	w := cached(t, "", says(200, strings.Repeat("x", 1000), append([]string{"Cache-Control: max-age=6000", "Content-Type: text/html", `ETag: "a"`}, fields...)...))
	req := browser("http://h/a/b?x=1&y=2")
	w.askAs(context.Background(), req)
	return w, req
}

func (w *world) once(req *stream.Request) {
	resp, err := w.service.Serve(context.Background(), req)
	if err != nil || resp.Status != 200 {
		w.t.Fatal(resp, err)
	}
	if whole, ok := resp.Body.(stream.Whole); !ok {
		w.t.Fatal("the body of a hit is not in memory")
	} else if content, ok := whole.Bytes(); !ok || len(content) != 1000 {
		w.t.Fatal("the body of a hit is not in memory")
	}
	resp.Body.Close()
}

// A hit makes the response and the list of its fields; Age and Cache-Status are
// made once a second.
func TestAllocs(t *testing.T) {
	for name, c := range map[string]struct {
		fields []string
		most   float64
	}{"a hit": {nil, 2}, "a hit that varies": {[]string{"Vary: Accept-Encoding"}, 3}} {
		w, req := hot(t, c.fields...)
		if n := testing.AllocsPerRun(1000, func() { w.once(req) }); n > c.most {
			t.Errorf("%s: %v allocations, at most %v", name, n, c.most)
		}
	}
}

func BenchmarkHit(b *testing.B) {
	for name, fields := range map[string][]string{"plain": nil, "vary": {"Vary: Accept-Encoding"}} {
		b.Run(name, func(b *testing.B) {
			w, req := hot(b, fields...)
			b.ReportAllocs()
			for b.Loop() {
				w.once(req)
			}
		})
	}
}

func BenchmarkMiss(b *testing.B) {
	w := cached(b, "{limits: {new_keys: 10000000}}", says(200, strings.Repeat("x", 1000), fresh))
	b.ReportAllocs()
	urls := make([]*stream.Request, 4096)
	for i := range urls {
		urls[i] = browser("http://h/" + strings.Repeat("x", i%64) + "?" + strings.Repeat("y", i/64))
	}
	for i := 0; b.Loop(); i++ {
		w.Operate(context.Background(), "purge", map[string]string{"url": "h/none"})
		resp, err := w.service.Serve(context.Background(), urls[i%len(urls)])
		if err != nil {
			b.Fatal(err)
		}
		resp.Body.Close()
	}
}
