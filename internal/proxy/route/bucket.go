package route

import (
	"hash/maphash"
	"math/bits"
	"slices"

	"github.com/weirproxy/weir/internal/snapshot"
)

// bucket has the routes of one host, of one wildcard, or of any host.
type bucket struct {
	// What a search reads of every bucket, in one line of a cache.
	top       int           // the highest priority
	depthSet  uint64        // bit n: depths has n; the last bit stands for all from deepest on
	exact     shared[*ties] // by path
	prefixes  shared[*ties] // by prefix without a slash at its end; not "/"
	templates *branch
	regexes   *ties
	all       *ties // no condition on the path, or prefix "/"

	by         *edit
	priorities tally // of all routes
	depths     tally // of the keys of prefixes, in segments
}

const deepest = 63

func depthBit(depth int) uint64 { return 1 << min(depth, deepest) }

// longest is the largest number of segments of a prefix, or 0.
func (b *bucket) longest() int {
	if b.depthSet>>deepest != 0 {
		return b.depths.max()
	}
	return max(0, bits.Len64(b.depthSet)-1)
}

// sum brings what a search reads in line with the tallies.
func (b *bucket) sum() {
	b.top, b.depthSet = b.priorities.max(), 0
	for _, d := range b.depths {
		b.depthSet |= depthBit(d.number)
	}
}

func (b *bucket) own(e *edit) *bucket {
	if b == nil {
		return &bucket{by: e}
	}
	if b.by == e {
		return b
	}
	mine := *b
	mine.by, mine.depths, mine.priorities = e, slices.Clone(b.depths), slices.Clone(b.priorities)
	return &mine
}

func (b *bucket) insert(e *edit, seed maphash.Seed, r *indexed) *bucket {
	b = b.own(e)
	b.priorities.add(r.priority)
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
	b.sum()
	return b
}

// remove returns nil when no route is left.
func (b *bucket) remove(e *edit, seed maphash.Seed, r *indexed) *bucket {
	b = b.own(e)
	if b.priorities.remove(r.priority); len(b.priorities) == 0 {
		return nil
	}
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
	b.sum()
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
