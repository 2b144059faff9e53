package route

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

// scan is the reference: every route by every host, written from the rules of
// doc.go and without a line of the index.
func scan(entries []Entry, req *stream.Request) string {
	best, bestRank := "", []int(nil)
	for _, e := range entries {
		hosts := e.Route.Match.Hosts
		if len(hosts) == 0 {
			hosts = []string{"*"}
		}
		for _, h := range hosts {
			hostRank, pathRank := scanHost(h, req.Target.Host), scanPath(e.Route.Match.Path, req.Target.Path)
			rest, ok := scanRest(e.Route.Match, req)
			if hostRank == nil || pathRank == nil || !ok {
				continue
			}
			rank := slices.Concat([]int{e.Route.Spec.Priority}, hostRank, pathRank, rest)
			if c := slices.Compare(rank, bestRank); bestRank == nil || c > 0 || c == 0 && e.Label.Name < best {
				best, bestRank = e.Label.Name, rank
			}
		}
	}
	return best
}

func scanHost(pattern, host string) []int {
	switch {
	case pattern == "*":
		return []int{0}
	case strings.HasPrefix(pattern, "*."):
		want, have := strings.Split(pattern, ".")[1:], strings.Split(host, ".")
		if len(have) > len(want) && slices.Equal(have[len(have)-len(want):], want) {
			return []int{len(want)}
		}
	case pattern == host:
		return []int{1000}
	}
	return nil
}

// scanPath gives a class and a vector within it, always of the same length.
func scanPath(p snapshot.Path, path string) []int {
	rank := func(class int, detail ...int) []int {
		return append([]int{class}, append(detail, make([]int, 8-len(detail))...)...)
	}
	if p.Kind == snapshot.PathAny {
		return rank(0)
	}
	if path == "*" {
		return nil
	}
	have := strings.Split(path, "/")[1:]
	switch p.Kind {
	case snapshot.PathExact:
		if path == p.Text {
			return rank(3)
		}
	case snapshot.PathTemplate:
		var shape []int
		for i, s := range p.Segments {
			switch {
			case i >= len(have):
				return nil
			case s.Rest:
				return rank(2, append(shape, 1)...)
			case s.Name != "" && have[i] != "":
				shape = append(shape, 2)
			case s.Name == "" && have[i] == s.Literal:
				shape = append(shape, 3)
			default:
				return nil
			}
		}
		if len(have) == len(p.Segments) {
			return rank(2, shape...)
		}
	case snapshot.PathRegex:
		if regexp.MustCompile("^(" + p.Text + ")$").MatchString(path) {
			return rank(1, len(p.Text))
		}
	case snapshot.PathPrefix:
		if p.Text == "/" {
			return rank(0)
		}
		want := strings.Split(p.Text, "/")[1:]
		if len(have) >= len(want) && slices.Equal(have[:len(want)], want) {
			return rank(0, len(want))
		}
	}
	return nil
}

func scanRest(m snapshot.Match, req *stream.Request) (rank []int, ok bool) {
	methods, headers := 0, len(m.Headers)+len(m.Cookies)
	if len(m.Methods) > 0 {
		methods = 1
		if !slices.Contains(m.Methods, req.Method) {
			return nil, false
		}
	}
	if len(m.Clients) > 0 {
		headers++
		if !slices.ContainsFunc(m.Clients, func(p netip.Prefix) bool { return p.Contains(req.Client) }) {
			return nil, false
		}
	}
	for _, v := range m.Headers {
		values := req.Header.Values(nil, v.Name)
		if !scanValue(v, strings.Join(values, ", "), len(values) > 0) {
			return nil, false
		}
	}
	for _, v := range m.Cookies {
		line, _ := req.Header.Get("Cookie")
		value, there := "", false
		for _, pair := range strings.Split(line, "; ") {
			if n, val, _ := strings.Cut(pair, "="); n == v.Name && !there {
				value, there = val, true
			}
		}
		if !scanValue(v, value, there) {
			return nil, false
		}
	}
	for _, v := range m.Query {
		value, there := req.Target.QueryGet(v.Name)
		if !scanValue(v, value, there) {
			return nil, false
		}
	}
	return []int{methods, headers, len(m.Query)}, true
}

func scanValue(v snapshot.Value, value string, there bool) bool {
	ok := there
	switch {
	case v.Absent:
		ok = !there
	case v.Exact != nil:
		ok = there && value == *v.Exact
	case v.Prefix != nil:
		ok = there && strings.HasPrefix(value, *v.Prefix)
	case v.Regex != nil:
		ok = there && regexp.MustCompile("^("+v.Regex.String()+")$").MatchString(value)
	}
	return ok != v.Not
}

var (
	modelHosts = []string{"*", "a.com", "b.a.com", "c.b.a.com", "*.a.com", "*.b.a.com", "*.com", "com"}
	modelPaths = []string{
		"", "/", "=/", "=/a", "=/a/", "=/a/b", "=/a/b/c", "/a", "/a/b", "/a/b/c", "/b", "/b/a",
		"{/{x}", "{/a/{x}", "{/{x}/b", "{/a/{x...}", "{/{x...}", "{/a/b/{x}", "{/a/", "{/{x}/{y}/c",
		"~/a.*", "~/a|/a/b", "~.*", "~/[ab]/[ab]", "~/",
	}
	modelTargets = []string{"/", "/a", "/a/", "/a/b", "/a/b/", "/a/b/c", "/a/b/c/d", "/b", "/b/a", "/b/b/c", "/c", "*"}
)

func drawValue(t *rapid.T, name string) snapshot.Value {
	v := snapshot.Value{Name: name, Not: rapid.IntRange(0, 3).Draw(t, "not") == 0}
	one, o := "1", "o"
	switch rapid.IntRange(0, 4).Draw(t, "condition") {
	case 0:
		v.Exact = &one
	case 1:
		v.Prefix = &o
	case 2:
		v.Regex = regexp.MustCompile(`1|on|one, 1`)
	case 3:
		v.Absent = true
	}
	return v
}

func drawEntry(t *rapid.T, name string) Entry {
	var parts []any
	for range rapid.IntRange(0, 2).Draw(t, "hosts") {
		parts = append(parts, host(rapid.SampledFrom(modelHosts).Draw(t, "host")))
	}
	parts = append(parts, path(rapid.SampledFrom(modelPaths).Draw(t, "path")))
	parts = append(parts, rapid.SampledFrom([]int{0, 0, 0, 0, 1, 5, -1}).Draw(t, "priority"))
	switch rapid.IntRange(0, 9).Draw(t, "more") {
	case 0:
		parts = append(parts, method("GET"), method("PUT"))
	case 1:
		parts = append(parts, header(drawValue(t, "x-a")))
	case 2:
		parts = append(parts, header(drawValue(t, "x-a")), header(drawValue(t, "x-b")))
	case 3:
		parts = append(parts, query(drawValue(t, "q")))
	case 4:
		parts = append(parts, cookie(drawValue(t, "k")))
	case 5:
		parts = append(parts, netip.MustParsePrefix("10.0.0.0/8"))
	}
	return entry(name, parts...)
}

func drawRequest(t *rapid.T) *stream.Request {
	req := &stream.Request{Body: stream.NoBody, Conn: &stream.Conn{}}
	req.Target.Host = rapid.SampledFrom([]string{"", "a.com", "b.a.com", "c.b.a.com", "d.c.b.a.com", "com", "org"}).Draw(t, "host")
	req.Target.Path = rapid.SampledFrom(modelTargets).Draw(t, "path")
	req.Method = rapid.SampledFrom([]string{"GET", "HEAD", "OPTIONS"}).Draw(t, "method")
	req.Target.Query = rapid.SampledFrom([]string{"", "q=1", "q=on", "z&q=o%6Ee"}).Draw(t, "query")
	for _, name := range []string{"x-a", "X-A", "x-b"} {
		if v := rapid.SampledFrom([]string{"", "1", "one"}).Draw(t, name); v != "" {
			req.Header.Add(name, v)
		}
	}
	if v := rapid.SampledFrom([]string{"", "k=1", "j=2; k=one"}).Draw(t, "cookie"); v != "" {
		req.Header.Add("Cookie", v)
	}
	req.Client = rapid.SampledFrom([]netip.Addr{{}, netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("192.0.2.1")}).Draw(t, "client")
	return req
}

// checkModel changes a table at random and holds every version, the earlier
// ones too, against the scan.
func checkModel(t *rapid.T) {
	type version struct {
		table *Table
		live  map[string]Entry
	}
	now := version{Build(nil), map[string]Entry{}}
	versions := []version{}
	for range rapid.IntRange(1, 4).Draw(t, "changes") {
		var changed []Entry
		var removed []string
		for range rapid.IntRange(0, 12).Draw(t, "size") {
			name := fmt.Sprintf("r%d", rapid.IntRange(0, 15).Draw(t, "name"))
			if rapid.IntRange(0, 4).Draw(t, "remove") == 0 {
				removed = append(removed, name)
			} else if !slices.ContainsFunc(changed, func(e Entry) bool { return e.Label.Name == name }) {
				changed = append(changed, drawEntry(t, name))
			}
		}
		live := map[string]Entry{}
		for name, e := range now.live {
			if !slices.Contains(removed, name) {
				live[name] = e
			}
		}
		for _, e := range changed {
			live[e.Label.Name] = e
		}
		now = version{now.table.With(changed, removed), live}
		versions = append(versions, now)
	}
	for range 8 {
		req := drawRequest(t)
		for _, v := range versions {
			entries := shuffled(v.live)
			want := scan(entries, req)
			for how, table := range map[string]*Table{"With": v.table, "Build": Build(entries)} {
				if got := found(table, req); got != want {
					t.Fatalf("%s: %s %q %s %v: found %q, want %q", how, req.Method, req.Target.Host, req.Target.Path, req.Header.Fields(), got, want)
				}
				if table.Len() != len(v.live) {
					t.Fatalf("%s: Len is %d, want %d", how, table.Len(), len(v.live))
				}
				checkTallies(t, table)
				checkExplain(t, table.Explain(req), want)
			}
		}
	}
}

// checkTallies: what a table counts is what is in it. A count too many costs
// probes for ever, one too few hides routes.
func checkTallies(t *rapid.T, table *Table) {
	var wild, priorities tally
	check := func(b *bucket) {
		var depths tally
		b.prefixes.each(func(_ string, tied *ties) { depths.add(tied.routes[0].depth) })
		if !slices.Equal(depths, b.depths) {
			t.Fatalf("depths are %v, counted %v", depths, b.depths)
		}
		var tops tally
		for _, r := range routesOf(b) {
			tops.add(r.priority)
		}
		if !slices.Equal(tops, b.priorities) {
			t.Fatalf("priorities are %v, counted %v", tops, b.priorities)
		}
	}
	table.hosts.each(func(_ string, b *bucket) { check(b) })
	table.wild.each(func(host string, b *bucket) { wild.add(labels(host)); check(b) })
	table.names.each(func(_ string, r *indexed) { priorities.add(r.priority) })
	if table.any != nil {
		check(table.any)
	}
	if !slices.Equal(wild, table.wildSize) || !slices.Equal(priorities, table.priorities) {
		t.Fatalf("wildcards %v, counted %v; priorities %v, counted %v", wild, table.wildSize, priorities, table.priorities)
	}
}

func routesOf(b *bucket) (all []*indexed) {
	add := func(_ string, tied *ties) { all = append(all, tied.list()...) }
	b.exact.each(add)
	b.prefixes.each(add)
	add("", b.regexes)
	add("", b.all)
	var walk func(*branch)
	walk = func(n *branch) {
		if n == nil {
			return
		}
		add("", n.ends)
		add("", n.rest)
		walk(n.name)
		n.literal.each(func(_ string, child *branch) { walk(child) })
	}
	walk(b.templates)
	return all
}

// shuffled are the routes in an order that differs each time.
func shuffled(live map[string]Entry) []Entry {
	var entries []Entry
	for _, e := range live {
		entries = append(entries, e)
	}
	rand.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	return entries
}

func checkExplain(t *rapid.T, list []Candidate, want string) {
	won := ""
	for _, c := range list {
		switch {
		case c.Won && won != "":
			t.Fatalf("two winners: %s and %s", won, c.Entry.Label.Name)
		case c.Won:
			won = c.Entry.Label.Name
		case c.Why == "" || c.Why == "every condition holds":
			t.Fatalf("no reason why %s lost", c.Entry.Label.Name)
		}
	}
	if won != want {
		t.Fatalf("Explain says %q won, want %q", won, want)
	}
}

func TestIndexIsAScan(t *testing.T) { rapid.Check(t, checkModel) }

func FuzzIndexIsAScan(f *testing.F) { f.Fuzz(rapid.MakeFuzz(checkModel)) }
