package transcode

import "strings"

// routes finds the binding of a request. It is a tree over path segments: a
// literal goes before "*", and "*" before "**".
type routes struct{ root node }

type node struct {
	literals map[string]*node
	one      *node  // "*"
	here     []leaf // the path ends here
	rest     []leaf // "**": it ends here or later
}

type leaf struct {
	method  string // "*": any
	verb    string
	binding *binding
}

// add is false when another binding has the same place.
func (r *routes) add(method string, t template, b *binding) bool {
	n, leaves := &r.root, (*[]leaf)(nil)
	for _, s := range t.segments {
		switch s.kind {
		case literalSegment:
			child := n.literals[s.literal]
			if child == nil {
				child = &node{}
				if n.literals == nil {
					n.literals = map[string]*node{}
				}
				n.literals[s.literal] = child
			}
			n = child
		case oneSegment:
			if n.one == nil {
				n.one = &node{}
			}
			n = n.one
		case restSegments:
			leaves = &n.rest
		}
	}
	if leaves == nil {
		leaves = &n.here
	}
	for _, l := range *leaves {
		if l.method == method && l.verb == t.verb {
			return false
		}
	}
	*leaves = append(*leaves, leaf{method: method, verb: t.verb, binding: b})
	return true
}

// match is a binding that was found, with the path that it took.
type match struct {
	binding *binding
	path    string                 // without the verb
	starts  [maxSegments + 1]int32 // where each segment starts in path
}

// find looks for a method and a canonical path. A ":" in the last segment sets
// a verb off; when nothing is bound to that verb, it is a part of the segment.
func (r *routes) find(method, path string) (match, bool) {
	w := walk{method: method}
	if path == "" || path[0] != '/' {
		return w.match, false
	}
	if colon := strings.LastIndexByte(path, ':'); colon > strings.LastIndexByte(path, '/') {
		w.path, w.verb = path[:colon], path[colon+1:]
		if w.verb != "" && w.at(&r.root, 0, 1) {
			return w.match, true
		}
	}
	w.path, w.verb = path, ""
	return w.match, w.at(&r.root, 0, 1)
}

type walk struct {
	match
	method, verb string
}

// at tries the path from offset on, below n at the given depth. Each node is
// visited at most once: its depth and its way are one.
func (w *walk) at(n *node, depth, offset int) bool {
	if depth <= maxSegments {
		w.starts[depth] = int32(min(offset, len(w.path)))
	}
	if offset > len(w.path) || offset == len(w.path) && depth == 0 { // all is taken; "/" has no segment
		return w.ends(n.here) || w.ends(n.rest)
	}
	name, next := w.path[offset:], len(w.path)+1
	if slash := strings.IndexByte(name, '/'); slash >= 0 {
		name, next = name[:slash], offset+slash+1
	}
	if child := n.literals[name]; child != nil && w.at(child, depth+1, next) {
		return true
	}
	if n.one != nil && name != "" && w.at(n.one, depth+1, next) {
		return true
	}
	return w.ends(n.rest)
}

func (w *walk) ends(leaves []leaf) bool {
	var found *binding
	for i := range leaves {
		l := &leaves[i]
		if l.verb != w.verb {
			continue
		}
		if l.method == w.method {
			found = l.binding
			break
		}
		if l.method == "*" && found == nil {
			found = l.binding
		}
	}
	w.binding = found
	return found != nil
}

// value is the part of the path that a variable stands for, still encoded.
func (m *match) value(v *variable) string {
	start := int(m.starts[v.start])
	if v.end < 0 {
		return m.path[start:]
	}
	rest := m.path[start:]
	for i, n := 0, v.end-v.start; i < len(rest); i++ {
		if rest[i] != '/' {
			continue
		}
		if n--; n == 0 {
			return rest[:i]
		}
	}
	return rest
}
