package route

import (
	"hash/maphash"
	"slices"

	"github.com/weirproxy/weir/internal/snapshot"
)

// bucket has the routes of one host, of one wildcard, or of any host.
type bucket struct {
	by        *edit
	exact     shared[*ties] // by path
	templates *branch
	regexes   *ties
	prefixes  shared[*ties] // by prefix without a slash at its end; not "/"
	depths    tally         // of the keys of prefixes, in segments
	all       *ties         // no condition on the path, or prefix "/"
	routes    int
}

func (b *bucket) own(e *edit) *bucket {
	if b == nil {
		return &bucket{by: e}
	}
	if b.by == e {
		return b
	}
	mine := *b
	mine.by, mine.depths = e, slices.Clone(b.depths)
	return &mine
}

func (b *bucket) insert(e *edit, seed maphash.Seed, r *indexed) *bucket {
	b = b.own(e)
	b.routes++
	switch r.kind {
	case snapshot.PathExact:
		hash := maphash.String(seed, r.path)
		tied, _ := b.exact.get(hash, r.path)
		b.exact.put(e, hash, r.path, tied.with(e, r))
	case snapshot.PathTemplate:
		b.templates = b.templates.insert(e, seed, r.segments, r)
	case snapshot.PathRegex:
		b.regexes = b.regexes.with(e, r)
	default:
		if r.depth == 0 {
			b.all = b.all.with(e, r)
			break
		}
		hash := maphash.String(seed, r.path)
		tied, _ := b.prefixes.get(hash, r.path)
		b.prefixes.put(e, hash, r.path, tied.with(e, r))
		if tied == nil {
			b.depths.add(r.depth)
		}
	}
	return b
}

// remove returns nil when no route is left.
func (b *bucket) remove(e *edit, seed maphash.Seed, r *indexed) *bucket {
	if b.routes == 1 {
		return nil
	}
	b = b.own(e)
	b.routes--
	switch r.kind {
	case snapshot.PathExact:
		removeTied(&b.exact, e, maphash.String(seed, r.path), r)
	case snapshot.PathTemplate:
		b.templates = b.templates.remove(e, seed, r.segments, r)
	case snapshot.PathRegex:
		b.regexes = b.regexes.without(e, r)
	default:
		if r.depth == 0 {
			b.all = b.all.without(e, r)
			break
		}
		if gone := removeTied(&b.prefixes, e, maphash.String(seed, r.path), r); gone {
			b.depths.remove(r.depth)
		}
	}
	return b
}

// removeTied tells whether r was the last route of its path.
func removeTied(m *shared[*ties], e *edit, hash uint64, r *indexed) (gone bool) {
	tied, _ := m.get(hash, r.path)
	if tied = tied.without(e, r); tied == nil {
		m.drop(e, hash, r.path)
		return true
	}
	m.put(e, hash, r.path, tied)
	return false
}
