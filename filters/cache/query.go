package cache

import (
	"slices"
	"strings"

	"github.com/weirproxy/weir/stream"
)

// queries makes the canonical form of a query: the parameters that count, in
// one order. Their bytes stay as they were sent: what an upstream may read in
// two ways is not made one here.
type queries struct {
	sort   bool
	ignore patterns
	only   patterns
}

// patterns are names, or starts of names.
type patterns struct {
	names  []string
	starts []string
}

func newPatterns(list []string) patterns {
	var p patterns
	for _, name := range list {
		if start, found := strings.CutSuffix(name, "*"); found {
			p.starts = append(p.starts, start)
		} else {
			p.names = append(p.names, name)
		}
	}
	return p
}

func (p *patterns) empty() bool { return len(p.names)+len(p.starts) == 0 }

func (p *patterns) match(name string) bool {
	if slices.Contains(p.names, name) {
		return true
	}
	for _, start := range p.starts {
		if strings.HasPrefix(name, start) {
			return true
		}
	}
	return false
}

func newQueries(q *Query) queries {
	return queries{q.Sort, newPatterns(q.Ignore), newPatterns(q.Only)}
}

// of is the canonical form of a query. One parameter, or none, that counts is
// returned as it is.
func (q *queries) of(query string) string {
	if query == "" {
		return ""
	}
	all := q.ignore.empty() && q.only.empty()
	if all && (!q.sort || strings.IndexByte(query, '&') < 0) {
		return query
	}
	var room [16]string
	parts, length := room[:0], 0
	for rest := query; rest != ""; {
		var part string
		part, rest, _ = strings.Cut(rest, "&")
		if part != "" && (all || q.counts(part)) {
			parts, length = append(parts, part), length+len(part)+1
		}
	}
	if q.sort {
		slices.SortStableFunc(parts, func(a, b string) int { return strings.Compare(nameOf(a), nameOf(b)) })
	}
	if length-1 == len(query) && inOrder(query, parts) {
		return query
	}
	return strings.Join(parts, "&")
}

// inOrder tells whether query is the parts already: the usual case, in which
// nothing is copied.
func inOrder(query string, parts []string) bool {
	for _, part := range parts {
		if !strings.HasPrefix(query, part) {
			return false
		}
		query = strings.TrimPrefix(query[len(part):], "&")
	}
	return true
}

func nameOf(part string) string {
	name, _, _ := strings.Cut(part, "=")
	return name
}

// counts tells whether a parameter is part of the key. One with a ";" always is:
// upstreams that split there would see a parameter that the key does not have
// (parameter cloaking).
func (q *queries) counts(part string) bool {
	if strings.IndexByte(part, ';') >= 0 {
		return true
	}
	name := decodedName(part)
	if !q.only.empty() {
		return q.only.match(name)
	}
	return !q.ignore.match(name)
}

// decodedName is the name as upstreams read it.
func decodedName(part string) string {
	name := nameOf(part)
	if !strings.ContainsAny(name, "%+") {
		return name
	}
	for decoded := range (stream.Target{Query: name}).QueryParams() {
		return decoded
	}
	return ""
}
