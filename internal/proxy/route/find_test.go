package route

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/weirproxy/weir/internal/snapshot"
)

// TestPrecedence has one pair for each rule of doc.go: winner and loser both
// match the request. The loser has the name that sorts first, so that no rule
// but the one under test can make the winner win.
func TestPrecedence(t *testing.T) {
	cases := []struct {
		rule          string
		winner, loser []any
		why           string
	}{
		{"priority over an exact host and path", []any{1}, []any{host("h.example.com"), path("=/a/b")}, "higher priority"},
		{"exact host", []any{host("h.example.com")}, []any{host("*.example.com"), path("=/a/b")}, "exact host"},
		{"longer wildcard", []any{host("*.example.com")}, []any{host("*.com"), path("=/a/b")}, "longer wildcard host"},
		{"wildcard before any", []any{host("*.com")}, []any{path("=/a/b")}, "wildcard host"},
		{"exact path", []any{path("=/a/b")}, []any{path("{/a/{x}"), method("GET")}, "exact path"},
		{"template with more literals", []any{path("{/a/{x}")}, []any{path("{/{x}/b"), method("GET")}, "more specific template"},
		{"template without rest", []any{path("{/a/{x}")}, []any{path("{/a/{x...}"), method("GET")}, "more specific template"},
		{"template before regex", []any{path("{/{x...}")}, []any{path("~/a/b"), method("GET")}, "template path"},
		{"longer regex", []any{path("~/a/.*")}, []any{path("~/.*"), method("GET")}, "longer regex"},
		{"regex before prefix", []any{path("~.*")}, []any{path("/a/b"), method("GET")}, "regex path"},
		{"longer prefix", []any{path("/a/b")}, []any{path("/a"), method("GET")}, "longer prefix"},
		{"prefix before none", []any{path("/a")}, []any{method("GET")}, "longer prefix"},
		{"method", []any{path("/"), method("GET")}, []any{header(has("x-a")), header(has("x-b"))}, "names methods"},
		{"prefix / is no condition", []any{method("GET")}, []any{path("/")}, "names methods"},
		{"more headers", []any{header(has("x-a")), header(has("x-b"))}, []any{header(has("x-a")), query(has("q")), query(has("r"))}, "more conditions on headers, cookies and clients"},
		{"cookies count as headers", []any{header(has("x-a")), cookie(has("k"))}, []any{header(has("x-a"))}, "more conditions on headers, cookies and clients"},
		{"clients count as one", []any{header(has("x-a")), netip.MustParsePrefix("0.0.0.0/0")}, []any{header(has("x-a"))}, "more conditions on headers, cookies and clients"},
		{"more query", []any{query(has("q")), query(has("r"))}, []any{query(has("q"))}, "more conditions on the query"},
	}
	for _, c := range cases {
		t.Run(c.rule, func(t *testing.T) {
			req := request(t, "GET h.example.com /a/b?q&r", "X-A: 1", "x-b: 2", "Cookie: k=v")
			req.Client = netip.MustParseAddr("192.0.2.1")
			entries := []Entry{entry("a", c.loser...), entry("z", c.winner...)}
			for range 2 {
				slices.Reverse(entries)
				table := Build(entries)
				if got := found(table, req); got != "z" {
					t.Fatalf("found %q", got)
				}
				list := table.Explain(req)
				if want := "loses to route z: " + c.why; len(list) != 2 || !list[0].Won || list[1].Why != want {
					t.Errorf("Explain: %+v, want %q", list, want)
				}
				if got := found(Build(entries).With(nil, []string{"z"}), req); got != "a" {
					t.Errorf("without the winner: found %q", got)
				}
			}
		})
	}
	t.Run("name", func(t *testing.T) {
		req := request(t, "GET h.example.com /a")
		for _, names := range [][]string{{"b", "a", "c"}, {"c", "b", "a"}} {
			var entries []Entry
			for _, n := range names {
				entries = append(entries, entry(n, path("/a")))
			}
			if got := found(Build(entries), req); got != "a" {
				t.Errorf("found %q", got)
			}
		}
	})
}

// TestMatching is about one route: does it take the request?
func TestMatching(t *testing.T) {
	some := func(v snapshot.Value, change func(*snapshot.Value)) snapshot.Value { change(&v); return v }
	not := func(v *snapshot.Value) { v.Not = true }
	pre := "ab"
	re := regexp.MustCompile("a|ab")
	deep := strings.Repeat("/a", deepest+7)
	cases := []struct {
		route   []any
		line    string
		headers []string
		want    bool
	}{
		{[]any{host("*.example.com")}, "GET a.example.com /", nil, true},
		{[]any{host("*.example.com")}, "GET a.b.example.com /", nil, true},
		{[]any{host("*.example.com")}, "GET example.com /", nil, false},
		{[]any{host("*.example.com")}, "GET aexample.com /", nil, false},
		{[]any{host("example.com")}, "GET a.example.com /", nil, false},
		{[]any{host("example.com")}, "GET - /", nil, false}, // no Host, HTTP/1.0
		{[]any{host("*")}, "GET - /", nil, true},
		{[]any{host("[2001:db8::1]")}, "GET [2001:DB8:0::1]:8080 /", nil, true},

		{[]any{path("/a")}, "GET h /a", nil, true},
		{[]any{path("/a")}, "GET h /a/", nil, true},
		{[]any{path("/a")}, "GET h /a/b/c", nil, true},
		{[]any{path("/a")}, "GET h /ab", nil, false},
		{[]any{path(deep)}, "GET h " + deep + "/x", nil, true}, // deeper than the set of depths tells apart
		{[]any{path(deep)}, "GET h " + deep[:len(deep)-2], nil, false},
		{[]any{path("=/a")}, "GET h /a/", nil, false},
		{[]any{path("{/a/{x}")}, "GET h /a/b", nil, true},
		{[]any{path("{/a/{x}")}, "GET h /a/", nil, false},
		{[]any{path("{/a/{x}")}, "GET h /a/b/", nil, false},
		{[]any{path("{/a/{x}/")}, "GET h /a/b/", nil, true},
		{[]any{path("{/a/{x...}")}, "GET h /a/", nil, true},
		{[]any{path("{/a/{x...}")}, "GET h /a", nil, false},
		{[]any{path("{/")}, "GET h /", nil, true},
		{[]any{path("~/a|/ab")}, "GET h /ab", nil, true}, // the whole path, whichever alternative
		{[]any{path("~/a|/ab")}, "GET h /abc", nil, false},
		{[]any{path("~a")}, "GET h /a", nil, false},
		{[]any{path(`~/\Q.a`)}, "GET h /.a", nil, true}, // "\Q" left open by its author
		{[]any{path(`~\A/a\z`)}, "GET h /a", nil, true},
		{[]any{path("~/a$|/b")}, "GET h /bc", nil, false},

		{[]any{}, "OPTIONS h *", nil, true},
		{[]any{method("OPTIONS")}, "OPTIONS h *", nil, true},
		{[]any{path("/")}, "OPTIONS h *", nil, false},
		{[]any{path("~.*")}, "OPTIONS h *", nil, false},
		{[]any{path("{/{x...}")}, "OPTIONS h *", nil, false},

		{[]any{method("GET"), method("PUT")}, "PUT h /", nil, true},
		{[]any{method("GET")}, "HEAD h /", nil, false}, // as in the Gateway API
		{[]any{method("GET")}, "get h /", nil, false},  // methods are case-sensitive, RFC 9110 section 9.1

		{[]any{header(has("X-A"))}, "GET h /", []string{"x-a: "}, true},
		{[]any{header(has("X-A"))}, "GET h /", nil, false},
		{[]any{header(is("x-a", "1, 2"))}, "GET h /", []string{"x-a: 1", "X-a: 2"}, true},
		{[]any{header(is("x-a", "1"))}, "GET h /", []string{"x-a: 1", "x-a: 2"}, false},
		{[]any{header(is("x-a", "V"))}, "GET h /", []string{"x-a: v"}, false},
		{[]any{header(snapshot.Value{Name: "accept", Prefix: &pre})}, "GET h /", []string{"Accept: abc"}, true},
		{[]any{header(snapshot.Value{Name: "x-a", Regex: re})}, "GET h /", []string{"x-a: ab"}, true},
		{[]any{header(snapshot.Value{Name: "x-a", Regex: re})}, "GET h /", []string{"x-a: abc"}, false},
		{[]any{header(snapshot.Value{Name: "x-a", Absent: true})}, "GET h /", nil, true},
		{[]any{header(snapshot.Value{Name: "x-a", Absent: true})}, "GET h /", []string{"x-a: "}, false},
		{[]any{header(some(is("x-a", "1"), not))}, "GET h /", []string{"x-a: 2"}, true},
		{[]any{header(some(is("x-a", "1"), not))}, "GET h /", nil, true},
		{[]any{header(some(is("x-a", "1"), not))}, "GET h /", []string{"x-a: 1"}, false},
		{[]any{header(some(has("x-a"), not))}, "GET h /", []string{"x-a: 1"}, false},

		{[]any{query(is("q", "a b"))}, "GET h /?q=a+b", nil, true},
		{[]any{query(is("q", "1"))}, "GET h /?%71=1", nil, true}, // as the upstream reads it
		{[]any{query(is("q", "1"))}, "GET h /?q=2&q=1", nil, false},
		{[]any{query(has("q"))}, "GET h /?q", nil, true},
		{[]any{cookie(is("k", "v"))}, "GET h /", []string{"Cookie: a=b; k=v"}, true},
		{[]any{cookie(is("k", "v"))}, "GET h /", []string{"Cookie: a=b", "Cookie: k=v"}, true},
		{[]any{cookie(is("k", "v"))}, "GET h /", []string{"Cookie: xk=v; K=v"}, false},
	}
	for _, c := range cases {
		t.Run(fmt.Sprintf("%v %s %v", c.route, c.line, c.headers), func(t *testing.T) {
			table, req := Build([]Entry{entry("r", c.route...)}), request(t, c.line, c.headers...)
			if got := found(table, req) != ""; got != c.want {
				t.Errorf("matched: %v, want %v", got, c.want)
			}
			if list := table.Explain(req); len(list) != 1 || list[0].Won != c.want || (list[0].Why == "") != c.want {
				t.Errorf("Explain: %+v, want won: %v", list, c.want)
			}
		})
	}
}

func TestPrefixesOfEveryDepth(t *testing.T) {
	var entries []Entry
	for depth := range 2 * deepest {
		entries = append(entries, entry(name(depth), path(strings.Repeat("/a", depth)+"/")))
	}
	table := Build(entries)
	for depth := range 3 * deepest {
		want := name(min(depth, 2*deepest-1))
		if got := found(table, request(t, "GET h "+strings.Repeat("/a", depth)+"/b")); got != want {
			t.Fatalf("depth %d: found %q, want %q", depth, got, want)
		}
	}
}

func TestWithSharesAndLeavesTheOldTable(t *testing.T) {
	entries := table(1000, mixed)
	old := Build(entries)
	req := request(t, shapes[3].probe(17))
	next := old.With([]Entry{entry("new", 99)}, []string{name(16), "never was there"})
	if got := found(next, req); got != "new" {
		t.Errorf("the new table found %q", got)
	}
	if got := found(old, req); got != name(17) {
		t.Errorf("the old table found %q", got)
	}
	if old.Len() != 1000 || next.Len() != 1000 {
		t.Errorf("Len: old %d, new %d", old.Len(), next.Len())
	}
	bare := next.With(nil, func() (all []string) {
		for _, e := range entries {
			all = append(all, e.Label.Name)
		}
		return append(all, "new")
	}())
	if bare.Len() != 0 || bare.Size() != (Size{}) || bare.hosts.root != nil || bare.names.root != nil || len(bare.wildSize)+len(bare.priorities) > 0 {
		t.Errorf("something is left of an empty table: %+v", bare)
	}
}

func TestSize(t *testing.T) {
	got := Build([]Entry{
		entry("a", host("h.x"), host("*.x"), path("~/a")), entry("b", host("h.x"), path("~/b")), entry("c", path("~/c")),
	}).Size()
	if want := (Size{Routes: 3, Hosts: 1, Wildcards: 1, Regexes: 4, RegexesAtHost: 2}); got != want {
		t.Errorf("Size is %+v, want %+v", got, want)
	}
}
