package examples

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// cache: a shop whose pages say how often they were made.
func cache() example {
	var made atomic.Int64
	shop := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Tag", "shop")
		w.Header().Set("Cache-Control", "max-age=600")
		if r.URL.Path == "/basket" {
			w.Header().Set("Cache-Control", "private")
		}
		if r.URL.Path == "/film" {
			w.Header().Set("ETag", `"1"`)
			http.ServeContent(w, r, "film", time.Time{}, strings.NewReader(strings.Repeat("film", 1<<20)))
			made.Add(1)
			return
		}
		fmt.Fprintf(w, "%s made %d", r.RequestURI, made.Add(1))
	}
	return example{
		setup: func(t *testing.T) map[string]string {
			return map[string]string{public: anywhere, "127.0.0.1:9001": serve(t, http.HandlerFunc(shop))}
		},
		prove: proveCache,
	}
}

func proveCache(t *testing.T, x *running) {
	status := func(what string, a answer, want string) {
		t.Helper()
		x.want(what, a, 200)
		if got := a.header.Get("Cache-Status"); !strings.HasPrefix(got, "weir; "+want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	first := x.get("/?utm_source=mail&page=1")
	status("first", first, "fwd=uri-miss; stored")
	x.equal("what the service saw", first.body, "/?page=1 made 1")
	again := x.get("/?page=1&gclid=5")
	status("again", again, "hit; ttl=")
	x.equal("again", again.body, first.body)
	if again.header.Get("Cache-Tag") != "" || again.header.Get("Age") == "" {
		t.Errorf("again: %v", again.header)
	}
	part := call{path: "/film", header: map[string]string{"Range": "bytes=1048570-1048581"}} // of two slices
	for _, want := range []string{"fwd=uri-miss; stored", "hit; ttl="} {
		a := x.ask(part)
		if got := a.header.Get("Cache-Status"); a.status != 206 || a.body != "lmfilmfilmfi" || !strings.HasPrefix(got, "weir; "+want) {
			t.Errorf("a part: %d %q, %q", a.status, a.body, got)
		}
	}
	x.get("/basket")
	status("private", x.get("/basket"), "fwd=bypass")
	x.addrs["admin"] = filepath.Join(x.dir, "admin.sock")
	purge := call{listener: "admin", method: "POST", path: "/filters/cache/purge", header: map[string]string{"Content-Type": "application/json"}, body: `{"tag":"shop"}`}
	if a := x.ask(purge); a.status != 200 || !strings.Contains(a.body, `"purged":3`) {
		t.Errorf("purge: %d %s", a.status, a.body)
	}
	status("purged", x.get("/?page=1"), "fwd=uri-miss; stored")
	if a := x.ask(call{listener: "admin", path: "/filters/cache"}); !strings.Contains(a.body, `"hit_ratio"`) {
		t.Errorf("the page of the filter: %s", a.body)
	}
}
