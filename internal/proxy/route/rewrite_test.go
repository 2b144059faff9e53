package route

import (
	"context"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

func text(s string) *string { return &s }

func TestRewrite(t *testing.T) {
	cases := []struct {
		name  string
		match path
		spec  config.Rewrite
		line  string
		want  string // host[:port] and URI as the next service sees them
	}{
		{"prefix", "/v1", config.Rewrite{Prefix: text("/api")}, "GET h:81 /v1/x?q=1", "h:81 /api/x?q=1"},
		{"prefix, the path itself", "/v1", config.Rewrite{Prefix: text("/api")}, "GET h /v1", "h /api"},
		{"prefix, trailing slashes", "/v1", config.Rewrite{Prefix: text("/api/")}, "GET h /v1/", "h /api/"},
		{"prefix to the root", "/v1", config.Rewrite{Prefix: text("/")}, "GET h /v1/x", "h /x"},
		{"prefix to the root, the path itself", "/v1", config.Rewrite{Prefix: text("")}, "GET h /v1", "h /"},
		{"prefix from the root", "/", config.Rewrite{Prefix: text("/api")}, "GET h /x", "h /api/x"},
		{"prefix from no condition", "", config.Rewrite{Prefix: text("/api")}, "GET h /", "h /api/"},
		{"prefix canonicalised", "/v1", config.Rewrite{Prefix: text("/a//b/../%7e")}, "GET h /v1/x", "h /a/~/x"},
		{"whole path", "/v1", config.Rewrite{Path: text("/a%20b")}, "GET h /v1/x?q", "h /a%20b?q"},
		{"capture", "{/users/{id}", config.Rewrite{Path: text("/u/{id}.json")}, "GET h /users/7", "h /u/7.json"},
		{"captures out of order", "{/{a}/{b}/{c...}", config.Rewrite{Path: text("/{b}/{a}{b}/{c...}")}, "GET h /1/2/3/4/", "h /2/12/3/4/"},
		{"empty rest", "{/a/{c...}", config.Rewrite{Path: text("/b/{c}")}, "GET h /a/", "h /b/"},
		{"captured text is never expanded", "{/{a}/{b}", config.Rewrite{Path: text("/{b}/x")}, "GET h /secret/%7Ba%7D", "h /%7Ba%7D/x"},
		{"captured text is never decoded", "{/{a}", config.Rewrite{Path: text("/x/{a}")}, "GET h /%252e%252e", "h /x/%252e%252e"},
		{"host", "", config.Rewrite{Host: "Example.COM."}, "GET h:81 /", "example.com /"},
		{"host with port", "", config.Rewrite{Host: "example.com:8080"}, "GET h:81 /", "example.com:8080 /"},
		{"OPTIONS *", "", config.Rewrite{Path: text("/x"), Host: "b"}, "OPTIONS h *", "b *"},
		{"nothing", "/v1", config.Rewrite{}, "GET h /v1/x", "h /v1/x"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			next := stream.ServiceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
				got = req.Target.Authority() + " " + req.Target.RequestURI()
				return answers(200).Serve(ctx, req)
			})
			r, err := NewRewrite(next, c.spec, snapshot.Match{Path: c.match.compile()})
			if err != nil {
				t.Fatal(err)
			}
			if _, fault := serve(t, r, request(t, c.line)); fault != nil || got != c.want {
				t.Errorf("next saw %q, want %q (fault %v)", got, c.want, fault)
			}
		})
	}
}

func TestRewriteRefuses(t *testing.T) {
	cases := []struct {
		match path
		spec  config.Rewrite
		want  string
	}{
		{"=/a", config.Rewrite{Prefix: text("/b")}, "match.path.prefix"},
		{"/a", config.Rewrite{Prefix: text("b")}, `does not start with "/"`},
		{"/a", config.Rewrite{Prefix: text("/b"), Path: text("/b")}, "exclude each other"},
		{"/a", config.Rewrite{Path: text("/b?q=1")}, "no query"},
		{"/a", config.Rewrite{Path: text("/b%2Fc")}, "encoded slash"},
		{"/a", config.Rewrite{Path: text("/../b")}, "above the root"},
		{"/a", config.Rewrite{Path: text("/{x}")}, "{x} is not in match.path.template"},
		{"{/{x}", config.Rewrite{Path: text("{x}")}, `does not start with "/"`},
		{"{/{x}", config.Rewrite{Path: text("/{}")}, "{} is not in"},
		{"{/{x}", config.Rewrite{Path: text("/{x")}, `"{" without "}"`},
		{"{/{x}", config.Rewrite{Path: text("/../{x}")}, "dot segment"},
		{"{/{x}", config.Rewrite{Path: text("/%2e{x}")}, "dot segment"},
		{"{/{x}", config.Rewrite{Path: text("/.;{x}")}, "dot segment"},
		{"{/{x}", config.Rewrite{Path: text("/%{x}")}, "percent-encoding"},
		{"{/{x}", config.Rewrite{Path: text("/{x}?q")}, "no query"},
		{"{/a/{x...}", config.Rewrite{Path: text("/{x...}/b")}, "whole end of the path"},
		{"{/a/{x...}", config.Rewrite{Path: text("/b{x...}")}, "whole end of the path"},
		{"", config.Rewrite{Host: "a b"}, `host "a b"`},
		{"", config.Rewrite{Host: "a/b"}, `host "a/b"`},
	}
	for _, c := range cases {
		_, err := NewRewrite(nil, c.spec, snapshot.Match{Path: c.match.compile()})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, want %q", c.spec, err, c.want)
		}
	}
}

func TestRewriteOfAPathThatAFilterReplaced(t *testing.T) {
	for _, c := range []struct {
		match path
		spec  config.Rewrite
	}{{"/v1", config.Rewrite{Prefix: text("/x")}}, {"{/v1/{a}", config.Rewrite{Path: text("/{a}")}}} {
		r, err := NewRewrite(answers(200), c.spec, snapshot.Match{Path: c.match.compile()})
		if err != nil {
			t.Fatal(err)
		}
		if _, fault := serve(t, r, request(t, "GET h /v2/x")); fault == nil || fault.Kind != stream.Internal {
			t.Errorf("%s: fault %v", c.match, fault)
		}
	}
}

// TestEditedPathsAreCanonical: whatever edit and path are put together, the
// result is what CanonicalPath makes of it.
func TestEditedPathsAreCanonical(t *testing.T) {
	templates := []path{"{/{a}", "{/{a}/{b}", "{/{a}/{b...}", "{/{b...}", "/", "/x", ""}
	words := []string{"a", ".", "..", "...", "%2E", ".;", ";", "", "%41", "%20", "é", "{", "{a}", "{b}", "{b...}", "x"}
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string, words []string) string {
			var b strings.Builder
			for range rapid.IntRange(1, 4).Draw(t, label) {
				b.WriteString("/")
				for range rapid.IntRange(0, 2).Draw(t, label) {
					b.WriteString(rapid.SampledFrom(words).Draw(t, label))
				}
			}
			return b.String()
		}
		from, err := stream.CanonicalPath(draw("path", []string{"a", ".", ";", "x", "%7B", "%20", ".;x", "é"}))
		if err != nil {
			t.Skip("not a path")
		}
		to := draw("edit", words)
		prefix, whole := &to, (*string)(nil)
		match := rapid.SampledFrom(templates).Draw(t, "match").compile()
		if rapid.Bool().Draw(t, "whole") {
			prefix, whole = whole, prefix
		}
		edit, err := newPathEdit(prefix, whole, &match)
		if err != nil {
			t.Skip("refused")
		}
		got, ok := edit.apply(from)
		if !ok {
			t.Skip("does not match")
		}
		if canonical, err := stream.CanonicalPath(got); err != nil || canonical != got {
			t.Fatalf("%q by %q gives %q, whose canonical form is %q (%v)", from, to, got, canonical, err)
		}
	})
}
