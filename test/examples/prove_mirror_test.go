package examples

import (
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// mirror: the new version answers as the old one does, but for one path.
func mirror() example {
	copies := make(chan seen, 1000)
	orders := func(name, odd string, each func(*http.Request)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			each(r)
			price := "1.50"
			if r.URL.Path == "/odd" {
				price = odd
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"items": [{"price": `+price+`}], "served_by": "`+name+`"}`)
		}
	}
	shadow := orders("next", `"gratis"`, func(r *http.Request) {
		copies <- seen{Method: r.Method, URI: r.RequestURI, Host: r.Host, Header: r.Header}
	})
	return example{
		setup: func(t *testing.T) map[string]string {
			return map[string]string{
				public: anywhere, "127.0.0.1:9001": serve(t, orders("old", "1.50", func(*http.Request) {})), "127.0.0.1:9002": serve(t, shadow),
			}
		},
		prove: func(t *testing.T, x *running) { proveMirror(t, x, copies) },
	}
}

func proveMirror(t *testing.T, x *running, copies <-chan seen) {
	const users = 300
	ask := func(path string) {
		t.Helper()
		for i := range users {
			a := x.get(path, "X-User", "user-"+itoa(i), "Authorization", "Bearer S3CRET")
			if !strings.Contains(a.body, `"old"`) {
				t.Fatalf("a client was answered with %s", a.body)
			}
		}
	}
	ask("/")
	c := nextCopy(t, copies)
	if c.Header.Get("Weir-Mirror") != "1" || c.Header.Get("X-Dry-Run") != "1" || c.Header.Get("X-User")+c.Header.Get("Authorization") != "" || c.Host != "localhost" {
		t.Errorf("a copy is %+v", c)
	}
	ask("/odd?token=S3CRET&page=2") // by the same users, of whom some are in the tenth
	for !strings.HasPrefix(c.URI, "/odd") {
		c = nextCopy(t, copies)
	}
	x.equal("copy", c.URI, "/odd?token=[redacted]&page=2")
	if !x.stderr.await("a response of the shadow differs") {
		t.Fatalf("weir did not say that something differs:\n%s", x.stderr.String())
	}
	x.addrs["admin"] = filepath.Join(x.dir, "admin.sock")
	report := x.ask(call{listener: "admin", path: "/filters/mirror"})
	if !strings.Contains(report.body, `"/items/*/price"`) || strings.Contains(report.body, "gratis") || strings.Contains(report.body, "served_by") {
		t.Errorf("the report is %s", report.body)
	}
}

func nextCopy(t *testing.T, copies <-chan seen) seen {
	t.Helper()
	select {
	case s := <-copies:
		return s
	case <-time.After(patience):
		t.Fatal("no copy comes")
		return seen{}
	}
}
