package route

import (
	"net/netip"
	"regexp"
	"testing"

	"github.com/weirproxy/weir/internal/snapshot"
)

func TestAllocsFind(t *testing.T) {
	prefix := "ab"
	cases := []struct {
		name  string
		route []any
	}{
		{"host and path", []any{host("*.example.com"), path("/a/b")}},
		{"template", []any{path("{/a/{x}/{y}")}},
		{"regex", []any{path("~/a/.*")}},
		{"conditions", []any{
			path("/a"), method("GET"), header(is("x-tenant", "abc")), header(snapshot.Value{Name: "accept", Prefix: &prefix}),
			header(snapshot.Value{Name: "x-tenant", Regex: regexp.MustCompile("[a-z]+")}),
			cookie(is("k", "v")), query(is("q", "1")), netip.MustParsePrefix("192.0.2.0/24"),
		}},
	}
	req := request(t, "GET x.y.example.com /a/b/c?p=0&q=1", "X-Tenant: abc", "Accept: abc", "Cookie: j=w; k=v")
	req.Client = netip.MustParseAddr("::ffff:192.0.2.7")
	others := table(100, mixed)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			table := Build(append(others[:100:100], entry("x", c.route...)))
			if got := found(table, req); got != "x" {
				t.Fatalf("found %q", got)
			}
			if n := testing.AllocsPerRun(200, func() { table.Find(req) }); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}

// TestAllocsWith bounds what one change copies, which is what makes it quick
// at any number of routes.
func TestAllocsWith(t *testing.T) {
	for _, s := range shapes {
		t.Run(s.name, func(t *testing.T) {
			entries := table(20_000, s.route)
			table := Build(entries)
			changed := entries[777:778]
			if n := testing.AllocsPerRun(20, func() { table.With(changed, nil) }); n > 60 {
				t.Errorf("%v allocations for one route", n)
			}
		})
	}
}
