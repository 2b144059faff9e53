package route

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirproxy/weir/internal/snapshot"
)

// explained is the list as lines "name host: why", the winner with "won".
func explained(list []Candidate) []string {
	var lines []string
	for _, c := range list {
		switch {
		case c.Entry == nil:
			lines = append(lines, fmt.Sprintf("(%d) %s", c.Omitted, c.Why))
		case c.Won:
			lines = append(lines, fmt.Sprintf("%s %s: won%s", c.Entry.Label.Name, c.Host, c.Why))
		default:
			lines = append(lines, fmt.Sprintf("%s %s: %s", c.Entry.Label.Name, c.Host, c.Why))
		}
	}
	return lines
}

func TestExplain(t *testing.T) {
	v2 := "v2"
	h := host("a.example.com")
	t1 := Build([]Entry{
		entry("api", h, path("/v1")),
		entry("api-v2", h, path("/v2")),
		entry("exact", h, path("=/v1/x")),
		entry("template", h, path("{/v2/{id}")),
		entry("regex", h, path("~/v[3-9]")),
		entry("post", h, path("/v1"), method("POST"), method("PUT")),
		entry("absent", h, path("/v1"), header(has("x-a"))),
		entry("present", h, path("/v1"), header(snapshot.Value{Name: "authorization", Absent: true})),
		entry("exact-value", h, path("/v1"), header(is("authorization", "Basic x"))),
		entry("prefix-value", h, path("/v1"), query(snapshot.Value{Name: "q", Prefix: &v2})),
		entry("regex-value", h, path("/v1"), cookie(snapshot.Value{Name: "k", Regex: regexp.MustCompile(`\A\d\z`)})),
		entry("not-value", h, path("/v1"), cookie(snapshot.Value{Name: "k", Exact: &v2, Not: true})),
		entry("clients", h, path("/v1"), netip.MustParsePrefix("10.0.0.0/8")),
		entry("wide", host("*.example.com")),
		entry("any", path("/")),
		entry("bare", host("example.com")),
		entry("www", host("www.a.example.com"), host("other.org")),
		entry("far", host("far.org")),
		entry("farther", host("*.far.org")),
	})
	req := request(t, "GET a.example.com /v1/a?q=1", "Authorization: Bearer secret", "Cookie: k=v2")
	req.Client = netip.MustParseAddr("192.0.2.9")
	want := []string{
		"exact a.example.com: path /v1/a is not /v1/x",
		"template a.example.com: path /v1/a is not of the form /v2/{id}",
		"regex a.example.com: path /v1/a does not match /v[3-9]",
		"post a.example.com: method GET is not POST or PUT",
		"absent a.example.com: header x-a is absent",
		"clients a.example.com: client 192.0.2.9 is not in 10.0.0.0/8",
		`exact-value a.example.com: header authorization does not equal "Basic x"`,
		`not-value a.example.com: cookie k does equal "v2"`,
		"present a.example.com: header authorization is present",
		`regex-value a.example.com: cookie k does not match "\\A\\d\\z"`,
		`prefix-value a.example.com: query parameter q does not begin with "v2"`,
		"api a.example.com: won",
		"api-v2 a.example.com: path /v1/a is not below /v2",
		"bare example.com: host a.example.com is not example.com",
		"www www.a.example.com: host a.example.com is not www.a.example.com",
		"wide *.example.com: loses to route api: exact host",
		"any *: loses to route api: exact host",
		"(2) 2 routes for other hosts",
	}
	got := explained(t1.Explain(req))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(strings.Join(got, "\n"), "secret") {
		t.Error("a value of the request is shown")
	}
	if list := explained(Build(nil).Explain(req)); list != nil {
		t.Errorf("of an empty table: %q", list)
	}
}

func TestExplainIsBounded(t *testing.T) {
	var entries []Entry
	for i := range 3000 {
		entries = append(entries, entry(name(i), path("="+"/"+name(i))), entry("other"+name(i), host("other.org")))
	}
	entries = append(entries, entry("last", path("/")))
	list := explained(Build(entries).Explain(request(t, "GET h /x")))
	if len(list) != maxCandidates+1 {
		t.Fatalf("%d lines", len(list))
	}
	if got := list[maxCandidates-1:]; !cmp.Equal(got, []string{
		"last *: won", "(5901) 2901 routes more for this host, 3000 routes for other hosts",
	}) {
		t.Errorf("the end is %q", got)
	}
}
