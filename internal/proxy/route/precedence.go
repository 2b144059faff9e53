package route

import (
	"cmp"
	"slices"
	"strings"

	"github.com/weirproxy/weir/internal/snapshot"
)

// standing is a route by way of one of its hosts.
type standing struct {
	route *indexed
	host  string // as in indexed.hosts; "" where the host does not tell apart
}

// inOrder is the order of precedence of routes that stand under one host.
func inOrder(a, b *indexed) int {
	order, _ := precedence(standing{route: a}, standing{route: b})
	return order
}

// precedence is negative when a wins over b if both match, and why the winner
// does. It is a total order: names are unique.
func precedence(a, b standing) (order int, why string) {
	r, q := a.route, b.route
	if order = cmp.Compare(q.priority, r.priority); order != 0 {
		return order, "higher priority"
	}
	if order, why = hostPrecedence(a.host, b.host); order != 0 {
		return order, why
	}
	if order, why = pathPrecedence(r, q); order != 0 {
		return order, why
	}
	if order = cmp.Compare(namesMethods(q), namesMethods(r)); order != 0 {
		return order, "names methods"
	}
	if order = cmp.Compare(q.headers, r.headers); order != 0 {
		return order, "more conditions on headers, cookies and clients"
	}
	if order = cmp.Compare(q.queries, r.queries); order != 0 {
		return order, "more conditions on the query"
	}
	return cmp.Compare(r.name, q.name), "its name sorts first"
}

// namesMethods is 1 for a route with a condition on the method; gRPC calls are
// POST.
func namesMethods(r *indexed) int {
	if r.grpc || len(r.methods) > 0 {
		return 1
	}
	return 0
}

func hostPrecedence(a, b string) (order int, why string) {
	classA, classB := hostClass(a), hostClass(b)
	if order = cmp.Compare(classA, classB); order != 0 {
		return order, [...]string{"exact host", "wildcard host"}[min(classA, classB)]
	}
	if classA == hostWildcard {
		return cmp.Compare(len(b), len(a)), "longer wildcard host"
	}
	return 0, ""
}

const (
	hostExact = iota
	hostWildcard
	hostAny
)

func hostClass(host string) int {
	switch {
	case host == "*":
		return hostAny
	case strings.HasPrefix(host, "*."):
		return hostWildcard
	}
	return hostExact
}

func pathPrecedence(a, b *indexed) (order int, why string) {
	classA, classB := pathClass(a.kind), pathClass(b.kind)
	if order = cmp.Compare(classA, classB); order != 0 {
		return order, [...]string{"exact path", "template path", "regex path"}[min(classA, classB)]
	}
	switch classA {
	case pathTemplate:
		return slices.CompareFunc(a.segments, b.segments, moreSpecific), "more specific template"
	case pathRegex:
		return cmp.Compare(len(b.path), len(a.path)), "longer regex"
	case pathPrefix:
		return cmp.Compare(b.depth, a.depth), "longer prefix"
	}
	return 0, ""
}

const (
	pathExact = iota
	pathTemplate
	pathRegex
	pathPrefix // no condition on the path is prefix "/"
)

func pathClass(kind snapshot.PathKind) int {
	switch kind {
	case snapshot.PathExact:
		return pathExact
	case snapshot.PathTemplate:
		return pathTemplate
	case snapshot.PathRegex:
		return pathRegex
	}
	return pathPrefix
}

// moreSpecific compares two segments of templates: a literal, then {name},
// then {name...}.
func moreSpecific(a, b snapshot.Segment) int { return cmp.Compare(width(a), width(b)) }

func width(s snapshot.Segment) int {
	switch {
	case s.Rest:
		return 2
	case s.Name != "":
		return 1
	}
	return 0
}
