package route

import (
	"hash/maphash"
	"strings"

	"github.com/weirproxy/weir/internal/snapshot"
)

// branch is a node of the tree of templates of a host: one level per segment
// of the path.
type branch struct {
	by      *edit
	literal shared[*branch]
	name    *branch // {name}
	ends    *ties   // the templates that end here
	rest    *ties   // the templates that go on with {name...} and end
}

func (b *branch) own(e *edit) *branch {
	if b == nil {
		return &branch{by: e}
	}
	if b.by == e {
		return b
	}
	mine := *b
	mine.by = e
	return &mine
}

func (b *branch) empty() bool {
	return b.literal.root == nil && b.name == nil && b.ends == nil && b.rest == nil
}

func (b *branch) insert(e *edit, seed maphash.Seed, segments []snapshot.Segment, r *indexed) *branch {
	b = b.own(e)
	switch {
	case len(segments) == 0:
		b.ends = b.ends.with(e, r)
	case segments[0].Rest:
		b.rest = b.rest.with(e, r)
	case segments[0].Name != "":
		b.name = b.name.insert(e, seed, segments[1:], r)
	default:
		literal := segments[0].Literal
		hash := maphash.String(seed, literal)
		child, _ := b.literal.get(hash, literal)
		b.literal.put(e, hash, literal, child.insert(e, seed, segments[1:], r))
	}
	return b
}

// remove returns nil when nothing is left.
func (b *branch) remove(e *edit, seed maphash.Seed, segments []snapshot.Segment, r *indexed) *branch {
	if b == nil {
		return nil
	}
	b = b.own(e)
	switch {
	case len(segments) == 0:
		b.ends = b.ends.without(e, r)
	case segments[0].Rest:
		b.rest = b.rest.without(e, r)
	case segments[0].Name != "":
		b.name = b.name.remove(e, seed, segments[1:], r)
	default:
		literal := segments[0].Literal
		hash := maphash.String(seed, literal)
		child, _ := b.literal.get(hash, literal)
		if child = child.remove(e, seed, segments[1:], r); child != nil {
			b.literal.put(e, hash, literal, child)
		} else {
			b.literal.drop(e, hash, literal)
		}
	}
	if b.empty() {
		return nil
	}
	return b
}

// search visits the templates that hold for the segments in rest, a path
// without its first slash, the more specific before the less.
func (b *branch) search(s *search, rest string) {
	segment, after, more := strings.Cut(rest, "/")
	if child, ok := b.literal.get(maphash.String(s.seed, segment), segment); ok {
		child.descend(s, after, more)
	}
	if b.name != nil && segment != "" && !s.settled {
		b.name.descend(s, after, more)
	}
	if b.rest != nil && !s.settled {
		s.visit(b.rest.routes)
	}
}

func (b *branch) descend(s *search, after string, more bool) {
	if more {
		b.search(s, after)
	} else {
		s.visit(b.ends.list())
	}
}
