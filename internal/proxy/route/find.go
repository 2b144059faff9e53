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
	s := search{req: req, seed: t.seed, asks: trafficFor(req), hash: maphash.String(t.seed, req.Target.Path)}
	t.search(&s, t.priorities.max())
	if s.best == nil {
		return nil
	}
	return &s.best.entry
}

// search is the state of one Find. Buckets, and the paths in a bucket, are
// searched in the order of precedence below priority, so the first route that
// holds is the answer unless a later one can have a higher priority.
type search struct {
	req     *stream.Request
	seed    maphash.Seed
	asks    traffic
	hash    uint64 // of the path
	best    *indexed
	top     int  // the highest priority in the bucket that is searched
	settled bool // nothing in that bucket can win over best
}

// search goes through the buckets; top is the highest priority of the table.
func (t *Table) search(s *search, top int) {
	host := s.req.Target.Host
	if b, ok := t.hosts.get(maphash.String(t.seed, host), host); ok {
		s.bucket(b)
	}
	if len(t.wildSize) > 0 && !s.has(top) {
		t.searchWild(s, host, top)
	}
	if t.any != nil {
		s.bucket(t.any)
	}
}

// searchWild probes the wildcards that host can be under, the longest first.
func (t *Table) searchWild(s *search, host string, top int) {
	n, longest := labels(host), t.wildSize.max()
	for !s.has(top) {
		dot := strings.IndexByte(host, '.')
		if dot <= 0 {
			return
		}
		host, n = host[dot+1:], n-1
		if n > longest || !t.wildSize.has(n) {
			continue
		}
		if b, ok := t.wild.get(maphash.String(t.seed, host), host); ok {
			s.bucket(b)
		}
	}
}

// has tells whether nothing up to a priority can win over best.
func (s *search) has(priority int) bool { return s.best != nil && s.best.priority >= priority }

func (s *search) bucket(b *bucket) {
	if s.top = b.top; s.has(s.top) {
		return
	}
	s.settled = false
	b.search(s)
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

// isPath is false for the "*" of OPTIONS and for what has no path (CONNECT, TCP,
// UDP): only a route without a condition on the path takes that.
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
	longest := b.longest()
	if longest == 0 {
		return
	}
	end, depth := cut(path, longest)
	for depth > 0 && !s.settled {
		if b.depthSet&depthBit(depth) != 0 {
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
		if r.serves != s.asks {
			continue
		}
		if r.regex != nil && !r.regex.MatchString(s.req.Target.Path) {
			continue
		}
		if r.kind == snapshot.PathPrefix && r.depth == 0 && !isPath(s.req.Target.Path) {
			continue
		}
		if r.holds(s.req) {
			s.best, s.settled = r, r.priority >= s.top
			return
		}
	}
}
