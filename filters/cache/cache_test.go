package cache

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/stream"
)

const fresh = "Cache-Control: max-age=60"

func TestHit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := cached(t, "", says(200, "page #", fresh, "X-A: 1", "Surrogate-Key: a b"))
		w.want("first", w.get("http://h/a"), "page 0", "fwd=uri-miss; stored")
		time.Sleep(10 * time.Second)
		g := w.get("http://h/a")
		w.want("second", g, "page 0", "hit; ttl=50")
		if g.field("Age") != "10" || g.field("X-A") != "1" || g.length != 6 || g.field("Date") == "" {
			t.Errorf("%v, length %d", filtertest.Lines(&g.header), g.length)
		}
		if g.field("Surrogate-Key") != "" {
			t.Error("the client sees the tags")
		}
		w.want("HEAD", w.ask("HEAD", "http://h/a"), "", "hit; ttl=50")
		if head := w.ask("HEAD", "http://h/a"); head.length != 6 {
			t.Errorf("HEAD: length %d", head.length)
		}
		w.want("another path", w.get("http://h/b"), "page 1", "fwd=uri-miss; stored")
		w.want("another host", w.get("http://i/a"), "page 2", "fwd=uri-miss; stored")
		w.want("another port", w.get("http://h:81/a"), "page 3", "fwd=uri-miss; stored")
		w.want("another scheme", w.get("https://h/a"), "page 4", "fwd=uri-miss; stored")
		time.Sleep(50 * time.Second)
		w.want("stale", w.get("http://h/a"), "page 5", "fwd=stale; stored")
		if hits, misses := w.counted("hit"), w.counted("miss"); hits != 3 || misses != 6 {
			t.Errorf("%d hits, %d misses", hits, misses)
		}
		if saved := w.Counted("weir_cache_served_bytes_total"); saved != 18 {
			t.Errorf("%d bytes saved", saved)
		}
		if ratio, ok := w.Gauged("weir_cache_hit_ratio"); !ok || ratio != 3.0/9 {
			t.Errorf("hit ratio %v", ratio)
		}
	})
}

// What is changed in a response by a filter in front is not changed in the
// store.
func TestResponsesAreTheirOwn(t *testing.T) {
	w := cached(t, "", says(200, "page", fresh, "X-A: 1"))
	for range 3 {
		resp, err := w.service.Serve(t.Context(), filtertest.Request("GET", "http://h/"))
		if err != nil {
			t.Fatal(err)
		}
		if value, _ := resp.Header.Get("X-A"); value != "1" || resp.Header.Count("X-B") != 0 {
			t.Errorf("%v", filtertest.Lines(&resp.Header))
		}
		resp.Header.Set("X-A", "2")
		resp.Header.Add("X-B", "2")
		resp.Body.Close()
	}
}

func TestNotAnswered(t *testing.T) {
	for name, c := range map[string]struct {
		method string
		change func(*stream.Request)
		field  string
	}{
		"gRPC":            {"POST", func(r *stream.Request) { r.GRPC = stream.GRPCCall }, ""},
		"upgrade":         {"GET", func(r *stream.Request) { r.Upgrade = "websocket" }, ""},
		"TCP":             {"GET", func(r *stream.Request) { r.Proto = stream.TCP }, ""},
		"OPTIONS":         {"OPTIONS", func(*stream.Request) {}, "method"},
		"POST":            {"POST", func(*stream.Request) {}, "method"},
		"GET with a body": {"GET", func(r *stream.Request) { filtertest.WithBody(r, "x") }, "method"},
		"If-Match":        {"GET", func(r *stream.Request) { r.Header.Add("If-Match", `"a"`) }, "request"},
		"no-store":        {"GET", func(r *stream.Request) { r.Header.Add("Cache-Control", "no-store") }, "request"},
		"a part":          {"GET", func(r *stream.Request) { r.Header.Add("Range", "bytes=0-1") }, "partial"},
	} {
		w := cached(t, "", says(200, "page #", fresh, "Cache-Tag: a"))
		for range 2 {
			req := filtertest.Request(c.method, "http://h/a")
			c.change(req)
			g := w.askAs(t.Context(), req)
			if status := g.field("Cache-Status"); (c.field == "") != (status == "") || !strings.Contains(status, c.field) {
				t.Errorf("%s: %q", name, status)
			}
		}
		if w.origin.count() != 2 {
			t.Errorf("%s: the upstream was asked %d times", name, w.origin.count())
		}
	}
}

func TestSharing(t *testing.T) {
	const anna, bob = "Authorization: Basic anna", "Authorization: Basic bob"
	for _, c := range []struct {
		name, settings string
		fields         []string
		first, second  []string
		want           int // how often the upstream is asked
	}{
		{"nobody in particular", "", []string{fresh}, nil, nil, 1},
		{"credentials", "", []string{fresh}, []string{anna}, []string{bob}, 2},
		{"credentials, public", "", []string{fresh + ", public"}, []string{anna}, []string{bob}, 1},
		{"made for nobody, asked by somebody", "", []string{fresh}, nil, []string{bob}, 2},
		{"made for somebody, asked by nobody", "", []string{fresh}, []string{anna}, nil, 2},
		{"cookies", "", []string{fresh}, []string{"Cookie: s=anna"}, []string{"Cookie: s=bob"}, 2},
		{"cookies, must-revalidate", "", []string{fresh + ", must-revalidate"}, []string{"Cookie: s=anna"}, []string{"Cookie: s=bob"}, 2},
		{"cookies, s-maxage", "", []string{"Cache-Control: s-maxage=60"}, []string{"Cookie: s=anna"}, []string{"Cookie: s=bob"}, 1},
		{"sets a cookie", "", []string{fresh + ", public", "Set-Cookie: s=anna"}, nil, nil, 2},
		{"sets a cookie, and the document says so", "share_set_cookie_with_everyone: true", []string{fresh, "Set-Cookie: s=1"}, nil, nil, 1},
		{"private", "", []string{"Cache-Control: private, max-age=60"}, nil, nil, 2},
		{"forced", "force: {ttl: 10s}", []string{"Cache-Control: private"}, []string{anna}, []string{bob}, 1},
		{"forced, with a cookie", "force: {ttl: 10s}", []string{"Set-Cookie: s=anna"}, nil, nil, 2},
		{"forced, another status", "force: {ttl: 10s, statuses: [404]}", []string{"Cache-Control: private"}, nil, nil, 2},
		{"a header in the key", "key: {headers: [X-Tenant]}", []string{fresh}, []string{"X-Tenant: a"}, []string{"X-Tenant: b"}, 2},
		{"the same header in the key", "key: {headers: [X-Tenant]}", []string{fresh}, []string{"X-Tenant: a"}, []string{"x-tenant: a"}, 1},
		{"none is not an empty one", "key: {headers: [X-Tenant]}", []string{fresh}, []string{"X-Tenant:"}, nil, 2},
		{"a header not in the key", "", []string{fresh}, []string{"X-Tenant: a"}, []string{"X-Tenant: b"}, 1},
		{"what a proxy in front says was asked", "", []string{fresh}, []string{"X-Original-Url: /a"}, []string{"X-Original-Url: /b"}, 2},
		{"who a proxy in front says it is", "", []string{fresh}, []string{"X-Remote-User: a"}, nil, 2},
		{"another host by a proxy in front", "", []string{fresh}, []string{"X-Forwarded-Host: a"}, []string{"X-Forwarded-Host: b"}, 2},
		{"another address", "", []string{fresh}, []string{"X-Forwarded-For: 10.0.0.1", "CF-Connecting-IP: 1.1.1.1"}, []string{"X-Forwarded-For: 10.0.0.2"}, 1},
	} {
		w := cached(t, c.settings, says(200, "page #", c.fields...))
		w.get("http://h/a", c.first...)
		if w.get("http://h/a", c.second...); w.origin.count() != c.want {
			t.Errorf("%s: the upstream was asked %d times, want %d", c.name, w.origin.count(), c.want)
		}
	}
}

// An identity of the connection is a credential, like one in a field.
func TestClientCertificate(t *testing.T) {
	w := cached(t, "", says(200, "page #", fresh))
	for range 2 {
		req := filtertest.Request("GET", "https://h/a")
		req.Conn.TLS = &stream.TLS{Client: &stream.Identity{Subject: "CN=anna"}}
		w.askAs(t.Context(), req)
	}
	if w.origin.count() != 2 {
		t.Error("what was made for the owner of a certificate is given away")
	}
}

// TestVerifiedToken: a token that a filter has taken out is a credential still.
func TestVerifiedToken(t *testing.T) {
	w := cached(t, "", says(200, "page #", fresh))
	for range 2 {
		req := filtertest.Request("GET", "http://h/a")
		req.Identify(&stream.Claims{Subject: "anna"})
		w.askAs(t.Context(), req)
	}
	if w.origin.count() != 2 {
		t.Error("what was made for the bearer of a token is given away")
	}
}

// TestValues: a claim in the key gives each of its values a response of its own.
func TestValues(t *testing.T) {
	w := cached(t, `key: {values: ["claim:tenant"]}`, says(200, "page #", "Cache-Control: public, max-age=60"))
	for range 2 {
		for _, tenant := range []string{"a", "b"} {
			req := filtertest.Request("GET", "http://h/a")
			req.Identify(&stream.Claims{All: stream.Claim{Members: map[string]stream.Claim{"tenant": {Kind: stream.TextClaim, Text: tenant}}}})
			w.askAs(t.Context(), req)
		}
		w.askAs(t.Context(), filtertest.Request("GET", "http://h/a"))
	}
	if w.origin.count() != 3 {
		t.Errorf("%d fetches, want one for each tenant and one for nobody", w.origin.count())
	}
}

func TestQuery(t *testing.T) {
	for _, c := range []struct {
		settings, first, second string
		want                    int
		sent                    string // what the upstream saw first
	}{
		{"", "?b=2&a=1", "?a=1&b=2", 1, "/?a=1&b=2"},
		{"", "?a=1&a=2", "?a=2&a=1", 2, "/?a=1&a=2"},
		{"", "?a=1", "?a=2", 2, "/?a=1"},
		{"", "?", "", 1, "/"},
		{"", "?a", "?a=", 2, "/?a"},
		{"key: {query: {sort: false}}", "?b=2&a=1", "?a=1&b=2", 2, "/?b=2&a=1"},
		{"key: {query: {ignore: [utm_*, gclid]}}", "?utm_x=1&a=1&gclid=5", "?a=1&utm_y=2", 1, "/?a=1"},
		{"key: {query: {ignore: [utm_*]}}", "?ut%6d_x=1&a=1", "?a=1", 1, "/?a=1"},
		{"key: {query: {ignore: [utm_*]}}", "?utm_x=1;a=evil", "", 2, "/?utm_x=1;a=evil"}, // parameter cloaking
		{"key: {query: {only: [page]}}", "?page=1&x=1", "?x=2&page=1", 1, "/?page=1"},
		{"key: {query: {only: [page]}}", "?x=1", "", 1, "/"},
	} {
		w := cached(t, c.settings, says(200, "page #", fresh))
		w.get("http://h/" + c.first)
		w.get("http://h/" + c.second)
		if w.origin.count() != c.want || w.origin.asked[0] != "GET "+c.sent {
			t.Errorf("%s: %s, %s: %q, want %d", c.settings, c.first, c.second, w.origin.asked, c.want)
		}
	}
}

func TestVary(t *testing.T) {
	o := &origin{answer: func(_ int, _ context.Context, req *stream.Request) (*stream.Response, error) {
		language, _ := req.Header.Get("Accept-Language")
		return filtertest.Response(200, "in "+language, fresh, "Vary: Accept-Language, Accept-Encoding"), nil
	}}
	w := cached(t, "limits: {variants: 3}", o)
	const de, fr = "Accept-Language: de", "Accept-Language: fr"
	w.want("de", w.get("http://h/", de), "in de", "fwd=uri-miss; stored")
	w.want("fr", w.get("http://h/", fr), "in fr", "fwd=vary-miss; stored")
	w.want("de again", w.get("http://h/", de), "in de", "hit")
	w.want("fr again", w.get("http://h/", fr), "in fr", "hit")
	w.want("de, gzip", w.get("http://h/", de, "Accept-Encoding: gzip, deflate"), "in de", "fwd=vary-miss; stored")
	w.want("the same in other words", w.get("http://h/", de, "Accept-Encoding: deflate,  GZIP"), "in de", "hit")
	w.want("beyond the bound", w.get("http://h/", "Accept-Language: it"), "in it", "fwd=vary-miss")
	w.want("beyond the bound", w.get("http://h/", "Accept-Language: it"), "in it", "fwd=vary-miss")
	if n := w.Counted(`weir_cache_refused_total{reason="variant_guard"}`); n != 2 {
		t.Errorf("%d refused by the bound of variants", n)
	}
	w.want("the stored ones stay", w.get("http://h/", fr), "in fr", "hit")
	if result, err := w.Operate(t.Context(), "purge", map[string]string{"url": "http://h/"}); err != nil || result != (purged{3}) {
		t.Errorf("purge: %v, %v", result, err)
	}
	w.want("purged", w.get("http://h/", "Accept-Language: it"), "in it", "fwd=uri-miss; stored")
}

// The lists of names of a URL are joined: nothing is found by fewer names than
// any of its responses needs.
func TestVaryGrows(t *testing.T) {
	o := &origin{answer: func(n int, _ context.Context, req *stream.Request) (*stream.Response, error) {
		a, _ := req.Header.Get("A")
		b, _ := req.Header.Get("B")
		return filtertest.Response(200, a+b, fresh, []string{"Vary: A", "Vary: B"}[n%2]), nil
	}}
	w := cached(t, "", o)
	for _, c := range []struct{ a, b, status string }{
		{"1", "1", "fwd=uri-miss"}, {"2", "1", "fwd=vary-miss"}, {"1", "2", "fwd=vary-miss"}, {"1", "1", "fwd=vary-miss"}, {"2", "1", "hit"}, {"1", "2", "hit"},
	} {
		w.want(c.a+c.b, w.get("http://h/", "A: "+c.a, "B: "+c.b), c.a+c.b, c.status)
	}
}

func TestRevalidation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const tag = `ETag: "a"`
		w := cached(t, "", each(
			response(200, "old", "Cache-Control: max-age=10", tag, "Last-Modified: Thu, 26 Nov 2026 12:00:00 GMT", "X-A: 1"),
			response(304, "", "Cache-Control: max-age=20", tag, "X-A: 2"),
			response(304, "", `ETag: "b"`), response(200, "new", "Cache-Control: max-age=10", `ETag: "b"`),
			response(304, "", "Set-Cookie: s=1", `ETag: "b"`), response(200, "newer", fresh),
		))
		w.get("http://h/")
		time.Sleep(11 * time.Second)
		g := w.get("http://h/")
		w.want("confirmed", g, "old", "fwd=stale; fwd-status=304")
		if w.origin.asked[1] != `GET / If-None-Match="a" If-Modified-Since=Thu, 26 Nov 2026 12:00:00 GMT` || g.field("X-A") != "2" || g.field("Age") != "0" {
			t.Errorf("%q; %v", w.origin.asked, filtertest.Lines(&g.header))
		}
		time.Sleep(19 * time.Second)
		w.want("fresh for longer", w.get("http://h/"), "old", "hit; ttl=1")
		time.Sleep(2 * time.Second)
		// RFC 9111 section 4.3.4: a 304 about something else is no confirmation.
		w.want("a 304 about another", w.get("http://h/"), "new", "fwd=uri-miss; stored")
		if w.origin.asked[3] != "GET /" {
			t.Errorf("asked again with %q", w.origin.asked[3])
		}
		time.Sleep(11 * time.Second)
		// A 304 with a cookie: the client gets it, and nobody else.
		g = w.get("http://h/")
		w.want("a 304 with a cookie", g, "new", "fwd=stale; fwd-status=304")
		if g.field("Set-Cookie") != "s=1" {
			t.Error("the cookie did not come through")
		}
		w.want("nobody else", w.get("http://h/"), "newer", "fwd=bypass; detail=known_uncacheable")
		if w.counted("revalidated") != 2 {
			t.Errorf("%d revalidated", w.counted("revalidated"))
		}
	})
}

func TestClientConditions(t *testing.T) {
	const modified = "Last-Modified: Thu, 26 Nov 2026 12:00:00 GMT"
	w := cached(t, "", says(200, "0123456789", fresh, `ETag: "a"`, modified, "Content-Type: text/plain"))
	g := w.get("http://h/", `If-None-Match: "a"`) // the upstream is asked for all of it
	if g.status != 304 || w.origin.asked[0] != "GET /" {
		t.Fatalf("a condition at first: %d, %q", g.status, w.origin.asked)
	}
	for _, c := range []struct {
		fields string
		status int
		body   string
		extra  string
	}{
		{"", 200, "0123456789", ""},
		{`If-None-Match: "a"`, 304, "", ""},
		{`If-None-Match: W/"a"`, 304, "", ""},
		{`If-None-Match: "b"`, 200, "0123456789", ""},
		{"If-Modified-Since: Thu, 26 Nov 2026 12:00:00 GMT", 304, "", ""},
		{"Range: bytes=2-4", 206, "234", "bytes 2-4/10"},
		{"Range: bytes=-2", 206, "89", "bytes 8-9/10"},
		{"Range: bytes=7-", 206, "789", "bytes 7-9/10"},
		{"Range: bytes=10-", 416, "", "bytes */10"},
		{"Range: bytes=0-1,3-4", 200, "0123456789", ""},
		{"Range: lines=0-1", 200, "0123456789", ""},
		{`Range: bytes=2-4|If-Range: "a"`, 206, "234", "bytes 2-4/10"},
		{`Range: bytes=2-4|If-Range: "b"`, 200, "0123456789", ""},
		{`Range: bytes=2-4|If-None-Match: "a"`, 304, "", ""},
	} {
		var fields []string
		if c.fields != "" {
			fields = strings.Split(c.fields, "|")
		}
		g := w.get("http://h/", fields...)
		if g.status != c.status || g.body != c.body || g.field("Content-Range") != c.extra || c.body != "" && g.length != int64(len(c.body)) {
			t.Errorf("%q: %d %q %q, length %d", c.fields, g.status, g.body, g.field("Content-Range"), g.length)
		}
		if (c.status == 304) != (g.field("Content-Type") == "") && c.status != 416 {
			t.Errorf("%q: %v", c.fields, filtertest.Lines(&g.header))
		}
	}
	if w.origin.count() != 1 {
		t.Errorf("the upstream was asked %d times", w.origin.count())
	}
}

func TestStaleWhileRevalidate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := cached(t, "", says(200, "page #", "Cache-Control: max-age=10, stale-while-revalidate=30"))
		w.get("http://h/")
		time.Sleep(15 * time.Second)
		w.want("stale", w.get("http://h/"), "page 0", "hit; ttl=-5")
		synctest.Wait()
		w.want("new", w.get("http://h/"), "page 1", "hit; ttl=10")
		time.Sleep(41 * time.Second)
		w.want("too stale", w.get("http://h/"), "page 2", "fwd=stale")
		if w.counted("stale") != 1 || w.Counted("weir_cache_refreshes_total") != 1 || w.counted("miss") != 2 {
			t.Errorf("stale %d, refreshes %d, misses %d", w.counted("stale"), w.Counted("weir_cache_refreshes_total"), w.counted("miss"))
		}
	})
}

// One fetch in the background for a URL, a bounded number of them in all, and
// they end with the route.
func TestBackgroundIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := make(chan struct{})
		o := says(200, "page", "Cache-Control: max-age=10, stale-while-revalidate=30", `ETag: "a"`)
		first := o.answer
		o.answer = func(n int, ctx context.Context, req *stream.Request) (*stream.Response, error) {
			if n >= 2 {
				select {
				case <-slow:
				case <-ctx.Done():
					return nil, &stream.Fault{Kind: stream.UpstreamClosed}
				}
			}
			return first(n, ctx, req)
		}
		w := cached(t, "limits: {background: 1}", o)
		w.get("http://h/a")
		w.get("http://h/b")
		time.Sleep(15 * time.Second)
		for range 5 {
			w.want("a", w.get("http://h/a"), "page", "hit; ttl=-5")
			w.want("b", w.get("http://h/b"), "page", "hit; ttl=-5")
		}
		synctest.Wait()
		if w.origin.count() != 3 {
			t.Errorf("%d requests", w.origin.count())
		}
		// The test ends with the fetch under way: the end of the route ends it.
	})
}

func TestStaleIfError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			name, settings, control string
			second                  func() (*stream.Response, error)
			want                    string // the body; "" another
		}{
			{"503", "", "max-age=10, stale-if-error=60", response(503, "sorry"), "good"},
			{"no upstream", "", "max-age=10, stale-if-error=60", fault(stream.ConnectRefused), "good"},
			{"no endpoint", "", "max-age=10, stale-if-error=60", fault(stream.NoEndpoint), "good"},
			{"the document allows it", "stale_if_error: 60s", "max-age=10", fault(stream.UpstreamTimeout), "good"},
			{"nobody allows it", "", "max-age=10", response(503, "sorry"), "sorry"},
			{"must-revalidate", "stale_if_error: 60s", "max-age=10, must-revalidate", response(503, "sorry"), "sorry"},
			{"too stale", "", "max-age=10, stale-if-error=1", response(503, "sorry"), "sorry"},
			{"a 404 is an answer", "", "max-age=10, stale-if-error=60", response(404, "gone"), "gone"},
			{"a policy said no", "", "max-age=10, stale-if-error=60", fault(stream.RateLimited), ""},
		} {
			w := cached(t, c.settings, each(response(200, "good", "Cache-Control: "+c.control), c.second))
			w.get("http://h/")
			time.Sleep(15 * time.Second)
			g := w.get("http://h/")
			if g.body != c.want || (c.want == "") != (g.err != nil) {
				t.Errorf("%s: %d %q, %v", c.name, g.status, g.body, g.err)
			}
			if stale := w.counted("stale_if_error"); (stale == 1) != (c.want == "good") {
				t.Errorf("%s: %d counted", c.name, stale)
			}
		}
	})
}

func TestHonourClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for field, want := range map[string][2]int{ // requests upstream: not honoured, honoured
			"Cache-Control: no-cache": {1, 2}, "Cache-Control: max-age=0": {1, 2}, "Pragma: no-cache": {1, 2},
			"Cache-Control: min-fresh=55": {1, 2}, "Cache-Control: max-age=60": {1, 1}, "Cache-Control: only-if-cached": {1, 1},
		} {
			for i, settings := range []string{"", "honour_client: true"} {
				w := cached(t, settings, says(200, "page", fresh))
				w.get("http://h/")
				time.Sleep(10 * time.Second)
				if w.get("http://h/", field); w.origin.count() != want[i] {
					t.Errorf("%s, %q: %d requests", field, settings, w.origin.count())
				}
			}
		}
		w := cached(t, "", says(200, "page", fresh))
		if g := w.get("http://h/", "Cache-Control: only-if-cached"); g.status != 504 || w.origin.count() != 0 {
			t.Errorf("RFC 9111 section 5.2.1.7: %d, %d requests", g.status, w.origin.count())
		}
		w = cached(t, "honour_client: true", says(200, "page", fresh))
		w.get("http://h/")
		time.Sleep(65 * time.Second)
		w.want("max-stale", w.get("http://h/", "Cache-Control: max-stale=10"), "page", "hit; ttl=-5")
	})
}

// RFC 9111 section 4.4.
func TestUnsafeMethodsInvalidate(t *testing.T) {
	for _, c := range []struct {
		method, url string
		status      int
		field       string
		gone        string
	}{
		{"POST", "http://h/a", 200, "", "a"}, {"PUT", "http://h/a", 204, "", "a"}, {"DELETE", "http://h/a", 302, "", "a"},
		{"FROB", "http://h/a", 200, "", "a"}, {"POST", "http://h/a", 500, "", ""}, {"POST", "http://h/a", 404, "", ""},
		{"OPTIONS", "http://h/a", 200, "", ""}, {"POST", "http://h/c", 201, "Location: /b", "b"},
		{"POST", "http://h/c", 200, "Content-Location: http://h/b", "b"}, {"POST", "http://h/c", 201, "Location: http://evil/b", ""},
		{"POST", "http://h/c", 201, "Location: //evil/b", ""}, {"POST", "http://h/c", 201, "Location: /%zz", ""},
	} {
		o := &origin{answer: func(_ int, _ context.Context, req *stream.Request) (*stream.Response, error) {
			if req.Method == "GET" {
				return filtertest.Response(200, "x", fresh), nil
			}
			var fields []string
			if c.field != "" {
				fields = []string{c.field}
			}
			return filtertest.Response(c.status, "", fields...), nil
		}}
		w := cached(t, "", o)
		w.get("http://h/a")
		w.get("http://h/b")
		w.ask(c.method, c.url)
		gone := ""
		for _, name := range []string{"a", "b"} {
			if g := w.get("http://h/" + name); !strings.Contains(g.field("Cache-Status"), "hit") {
				gone += name
			}
		}
		if gone != c.gone {
			t.Errorf("%s %s: %d %s: %q is gone, want %q", c.method, c.url, c.status, c.field, gone, c.gone)
		}
	}
}

// RFC 9111 section 4.3.5.
func TestHeadShowsAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := cached(t, "stale_if_error: 1h", each(response(200, "old", "Cache-Control: max-age=1", `ETag: "a"`),
			response(200, "", "Cache-Control: max-age=1", `ETag: "b"`), fault(stream.ConnectRefused)))
		w.get("http://h/")
		time.Sleep(2 * time.Second)
		w.want("HEAD", w.ask("HEAD", "http://h/"), "", "fwd=stale")
		if g := w.get("http://h/"); g.err == nil {
			t.Error("what HEAD has shown to be another is still used")
		}
	})
}

func TestHostileUpstream(t *testing.T) {
	for name, fields := range map[string][]string{
		"Age without end":      {fresh, "Age: 99999999999999999999"},
		"a date in 1900":       {fresh, "Date: Mon, 01 Jan 1900 00:00:00 GMT"},
		"Vary: *":              {fresh, "Vary: *"},
		"many names in Vary":   {fresh, "Vary: " + strings.Repeat("a,", 5) + "b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r"},
		"a huge tag":           {fresh, "Surrogate-Key: " + strings.Repeat("x", 10_000)},
		"many tags":            {fresh, "Cache-Tag: " + strings.Repeat("x ", 10_000)},
		"two ages":             {"Cache-Control: max-age=0, max-age=600"},
		"no age at all":        {"Cache-Control: max-age=" + strings.Repeat("9", 10_000) + "x"},
		"no-store behind junk": {`Cache-Control: max-age=60, x="` + strings.Repeat(`\",`, 1000), "Cache-Control: no-store"},
	} {
		w := cached(t, "", says(200, "page", fields...))
		w.get("http://h/")
		if w.get("http://h/"); w.origin.count() != 2 {
			t.Errorf("%s: it is stored", name)
		}
	}
	w := cached(t, "", says(200, "page", fresh, "X: "+strings.Repeat("x", 1<<20)))
	w.get("http://h/")
	w.want("an endless value", w.get("http://h/"), "page", "hit")
	if bytes, _ := w.Gauged("weir_cache_bytes"); bytes < 1<<20 {
		t.Errorf("it counts as %v bytes", bytes)
	}
}

func TestKeyGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := cached(t, "limits: {new_keys: 3}", says(200, "page", fresh))
		for _, url := range []string{"http://h/?1", "http://h/?2", "http://h/?3", "http://h/?4", "http://h/?5"} {
			w.get(url)
		}
		w.want("stored ones", w.get("http://h/?3"), "page", "hit")
		w.want("beyond the bound", w.get("http://h/?4"), "page", "fwd=bypass; detail=key_guard")
		if w.counted("guarded") != 3 {
			t.Errorf("%d guarded", w.counted("guarded"))
		}
		time.Sleep(time.Second)
		w.want("a second later", w.get("http://h/?4"), "page", "fwd=uri-miss; stored")
	})
}

func TestReload(t *testing.T) {
	w := cached(t, "", says(200, "page #", fresh))
	w.get("http://h/?a=1")
	w.reload("size: 128MiB")
	w.want("another size", w.get("http://h/?a=1"), "page 0", "hit")
	w.reload("key: {query: {ignore: [b]}}")
	w.want("other rules", w.get("http://h/?a=1"), "page 1", "fwd=uri-miss")
}

func TestCheck(t *testing.T) {
	for settings, want := range map[string]string{
		"":                                       "",
		"disk: {path: /var/cache/weir}":          "",
		"share_set_cookie_with_everyone: true":   "warning: the cookie that the upstream gives to one user is given to all others",
		"force: {ttl: 10s}":                      "warning: responses are stored though they say private or no-store",
		"force: {ttl: 10s, statuses: [206]}":     "a response with status 206 cannot be stored",
		"force: {ttl: 10s, statuses: []}":        "no status is forced",
		"key: {headers: [Authorization]}":        "warning: with Authorization in the key every user has responses of their own",
		"key: {headers: ['X Y']}":                "is not the name of a header",
		"key: {query: {ignore: ['a*b']}}":        "is no pattern of a parameter",
		"key: {query: {ignore: [a], only: [b]}}": "ignore says it again",
		"{size: 64KiB, max_object: 1MiB}":        "one response may be larger",
		"disk: {path: cache}":                    "is relative to a folder",
	} {
		problems := filtertest.Check(t, Definition(), settings)
		text := ""
		for _, p := range problems {
			text += p.String() + "\n"
		}
		if want == "" && text != "" || !strings.Contains(text, want) {
			t.Errorf("%s: %s", settings, text)
		}
	}
}
