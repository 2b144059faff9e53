package route

import (
	"hash/maphash"
	"strings"

	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

// Find is the route of req, or nil. It does not allocate, save that repeated
// headers and escaped query parameters are put together for a condition on
// them.
func (t *Table) Find(req *stream.Request) *Entry {
	s := search{req: req, seed: t.seed, top: t.priorities.max(), hash: maphash.String(t.seed, req.Target.Path)}
	t.search(&s)
	if s.best == nil {
		return nil
	}
	return &s.best.entry
}

// search is the state of one Find. Buckets are searched in the order of
// precedence below priority, so the first route that holds is the answer
// unless another can have a higher priority.
type search struct {
	req     *stream.Request
	seed    maphash.Seed
	hash    uint64 // of the path
	top     int    // the highest priority in the table
	best    *indexed
	settled bool // nothing can win over best
}

func (t *Table) search(s *search) {
	host := s.req.Target.Host
	if b, ok := t.hosts.get(maphash.String(t.seed, host), host); ok {
		if b.search(s); s.settled {
			return
		}
	}
	if len(t.wildSize) > 0 {
		if t.searchWild(s, host); s.settled {
			return
		}
	}
	if t.any != nil {
		t.any.search(s)
	}
}

// searchWild probes the wildcards that host can be under, the longest first.
func (t *Table) searchWild(s *search, host string) {
	n, longest := labels(host), t.wildSize.max()
	for !s.settled {
		dot := strings.IndexByte(host, '.')
		if dot <= 0 {
			return
		}
		host, n = host[dot+1:], n-1
		if n > longest || !t.wildSize.has(n) {
			continue
		}
		if b, ok := t.wild.get(maphash.String(t.seed, host), host); ok {
			b.search(s)
		}
	}
}

func (b *bucket) search(s *search) {
	path := s.req.Target.Path
	if isPath(path) {
		if b.searchExact(s, path); s.settled {
			return
		}
		if b.searchPrefixes(s, path); s.settled {
			return
		}
	}
	s.visit(b.all.list())
}

// isPath is false for the "*" of OPTIONS, which only a route without a
// condition on the path takes.
func isPath(path string) bool { return path != "" && path[0] == '/' }

func (b *bucket) searchExact(s *search, path string) {
	if tied, ok := b.exact.get(s.hash, path); ok {
		if s.visit(tied.routes); s.settled {
			return
		}
	}
	if b.templates != nil {
		if b.templates.search(s, path[1:]); s.settled {
			return
		}
	}
	if b.regexes != nil {
		s.visit(b.regexes.routes)
	}
}

// searchPrefixes probes once for every number of segments that a prefix of
// this host has, the longest first.
func (b *bucket) searchPrefixes(s *search, path string) {
	longest := b.depths.max()
	if longest == 0 {
		return
	}
	end, depth := cut(path, longest)
	for depth > 0 && !s.settled {
		if b.depths.has(depth) {
			if tied, ok := b.prefixes.get(maphash.String(s.seed, path[:end]), path[:end]); ok {
				s.visit(tied.routes)
			}
		}
		end, depth = strings.LastIndexByte(path[:end], '/'), depth-1
	}
}

// cut is where the first segments of path end, and how many there are: at most
// the number asked for.
func cut(path string, segments int) (end, depth int) {
	for depth < segments {
		next := strings.IndexByte(path[end+1:], '/')
		depth++
		if next < 0 {
			return len(path), depth
		}
		end += 1 + next
	}
	return end, depth
}

// visit takes the first route that holds and wins over best.
func (s *search) visit(tied []*indexed) {
	for _, r := range tied {
		if s.best != nil && r.priority <= s.best.priority {
			return
		}
		if r.regex != nil && !r.regex.MatchString(s.req.Target.Path) {
			continue
		}
		if r.kind == snapshot.PathPrefix && r.depth == 0 && !isPath(s.req.Target.Path) {
			continue
		}
		if r.holds(s.req) {
			s.best, s.settled = r, r.priority == s.top
			return
		}
	}
}
