package route

import (
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

func TestRedirect(t *testing.T) {
	cases := []struct {
		name   string
		match  path
		spec   config.Redirect
		line   string
		status int
		want   string
	}{
		{"to https", "", config.Redirect{Scheme: "https"}, "GET h.example.com:8080 /a?q=1", 302, "https://h.example.com/a?q=1"},
		{"to https on a port", "", config.Redirect{Scheme: "https", Port: 8443, Status: 308}, "GET h /a?", 308, "https://h:8443/a?"},
		{"to the port of the scheme", "", config.Redirect{Port: 80}, "GET h:8080 /", 302, "http://h/"},
		{"to a host, the port stays", "", config.Redirect{Host: "www.example.com"}, "GET h:8080 /a", 302, "http://www.example.com:8080/a"},
		{"to a host with a port", "", config.Redirect{Host: "www.example.com:81", Scheme: "https"}, "GET h:8080 /a", 302, "https://www.example.com:81/a"},
		{"prefix", "/old", config.Redirect{Prefix: text("/new"), Status: 301}, "GET h /old/a", 301, "http://h/new/a"},
		{"prefix to the root", "/old", config.Redirect{Prefix: text("/")}, "GET h /old", 302, "http://h/"},
		{"whole path", "", config.Redirect{Path: text("/new")}, "GET h /old/a?q", 302, "http://h/new?q"},
		{"without the query", "", config.Redirect{Path: text("/new"), DropQuery: true}, "GET h /old/a?q", 302, "http://h/new"},
		{"capture", "{/p/{id}", config.Redirect{Path: text("/q/{id}")}, "GET h /p/%20", 302, "http://h/q/%20"},
		{"OPTIONS *", "", config.Redirect{Host: "b"}, "OPTIONS h *", 302, "http://b/"},
		{"IPv6", "", config.Redirect{Scheme: "https"}, "GET [::1]:80 /", 302, "https://[::1]/"},
		{"no Host, a path", "", config.Redirect{Path: text("/x")}, "GET - /", 302, "/x"},
		{"no Host, to a host", "", config.Redirect{Host: "b"}, "GET - /a", 302, "http://b/a"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s, err := NewRedirect(c.spec, snapshot.Match{Path: c.match.compile()})
			if err != nil {
				t.Fatal(err)
			}
			resp, fault := serve(t, s, request(t, c.line))
			if fault != nil {
				t.Fatal(fault)
			}
			if got, _ := resp.Header.GetID(stream.Location); got != c.want || resp.Status != c.status || resp.Body != stream.NoBody {
				t.Errorf("%d %s, want %d %s", resp.Status, got, c.status, c.want)
			}
		})
	}
	t.Run("no Host, to https", func(t *testing.T) {
		s, err := NewRedirect(config.Redirect{Scheme: "https"}, snapshot.Match{})
		if err != nil {
			t.Fatal(err)
		}
		if _, fault := serve(t, s, request(t, "GET - /a")); fault == nil || fault.Kind != stream.RequestMalformed {
			t.Errorf("fault %v", fault)
		}
	})
	t.Run("refused", func(t *testing.T) {
		for _, spec := range []config.Redirect{{Host: "a/b"}, {Path: text("//evil?")}, {Prefix: text("x")}} {
			if _, err := NewRedirect(spec, snapshot.Match{}); err == nil {
				t.Errorf("%+v is taken", spec)
			}
		}
	})
}

// TestRedirectIsNotOpen is threats.md section 7, "Open redirect" (Traefik
// CVE-2024-52003): whatever a client sends, the host of the location is that of
// the document or of the request.
func TestRedirectIsNotOpen(t *testing.T) {
	specs := []config.Redirect{
		{Prefix: text("/")}, {Prefix: text("")}, {Path: text("/{a}")}, {Path: text("/{a...}")}, {Path: text("//x")}, {Host: "good.example.com"},
	}
	matches := []path{"/old", "/", "", "{/old/{a}", "{/old/{a...}", "{/{a...}"}
	hostile := []string{"/", "//", "evil.example", "old", "%2F", "%5C", "\\", "@", ":", ".", "..", "%09", "http:", ";", "a"}
	rapid.Check(t, func(t *rapid.T) {
		path := "/" + strings.Join(rapid.SliceOfN(rapid.SampledFrom(hostile), 0, 8).Draw(t, "path"), "")
		authority := rapid.SampledFrom([]string{"", "h.example.com"}).Draw(t, "host")
		target, fault := stream.ParseTarget("https", "GET", path, authority)
		if fault != nil {
			t.Skip("refused at the edge")
		}
		spec := rapid.SampledFrom(specs).Draw(t, "spec")
		s, err := NewRedirect(spec, snapshot.Match{Path: rapid.SampledFrom(matches).Draw(t, "match").compile()})
		if err != nil {
			t.Skip("refused by the check")
		}
		req := &stream.Request{Method: "GET", Target: target, Body: stream.NoBody}
		for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Prefix", "X-Forwarded-Proto", "Forwarded"} {
			req.Header.Add(name, "//evil.example")
		}
		resp, err := s.Serve(t.Context(), req)
		if err != nil {
			t.Skip("the match does not hold")
		}
		location, _ := resp.Header.GetID(stream.Location)
		u, err := url.Parse(location)
		if err != nil {
			t.Fatalf("%q does not parse: %v", location, err)
		}
		want := authority
		if spec.Host != "" {
			want = spec.Host
		}
		if u.Host != want || strings.HasPrefix(location, "//") {
			t.Fatalf("%q leads to %q, want %q", location, u.Host, want)
		}
	})
}

func TestRespond(t *testing.T) {
	s := NewRespond(config.Respond{Status: 503, Body: "later", ContentType: "text/html"})
	for _, method := range []string{"GET", "HEAD", "POST"} {
		for range 2 { // the bytes are shared, the reader is not
			resp, fault := serve(t, s, request(t, method+" h /"))
			if fault != nil {
				t.Fatal(fault)
			}
			content, whole := resp.Body.(stream.Whole).Bytes()
			want := "later"
			if method == "HEAD" {
				want = ""
			}
			contentType, _ := resp.Header.GetID(stream.ContentType)
			if resp.Status != 503 || string(content) != want || !whole || resp.Length != 5 || contentType != "text/html" {
				t.Errorf("%s: %+v %q", method, resp, content)
			}
			resp.Body.Close()
		}
	}
	for spec, want := range map[config.Respond]string{{}: "", {Body: "x"}: "text/plain; charset=utf-8"} {
		resp, _ := serve(t, NewRespond(spec), request(t, "GET h /"))
		if got, _ := resp.Header.GetID(stream.ContentType); got != want || resp.Status != 200 {
			t.Errorf("%+v: %d %q", spec, resp.Status, got)
		}
	}
}
