package store

import (
	"strings"
	"sync"
	"sync/atomic"
)

// Purge says what to forget: exactly one of its parts is set; none: everything.
type Purge struct {
	URL    string
	Prefix string
	Tag    string
}

// remembered is how many purges a Log keeps.
const remembered = 1024

// Log remembers the last purges, so that what was on its way while one came is
// not kept: it may have been made before the change that the purge is about.
//
// Who fetches takes Now before it sends the request, and asks Since after it
// has put the entry. Who purges adds to the log before it looks for entries. In
// whatever order they come, one of the two sees the other.
type Log struct {
	now  atomic.Uint64
	mu   sync.Mutex
	ring [remembered]Purge
}

// Now is a number to ask Since with.
func (l *Log) Now() uint64 { return l.now.Load() }

// Add notes a purge.
func (l *Log) Add(p Purge) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.now.Load()
	l.ring[n%remembered] = p
	l.now.Store(n + 1)
}

// Since tells whether a purge since then was about a URL with these tags. When
// there were more than it remembers, it says so of everything. With anyTag, the
// tags are not known yet, and every tag counts.
func (l *Log) Since(then uint64, url string, tags []string, anyTag bool) bool {
	if l.now.Load() == then { // nearly always
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now.Load()
	if now-then > remembered {
		return true
	}
	for ; then != now; then++ {
		if l.ring[then%remembered].covers(url, tags, anyTag) {
			return true
		}
	}
	return false
}

func (p *Purge) covers(url string, tags []string, anyTag bool) bool {
	switch {
	case p.URL != "":
		return p.URL == url
	case p.Tag == "":
		return strings.HasPrefix(url, p.Prefix)
	}
	for _, tag := range tags {
		if tag == p.Tag {
			return true
		}
	}
	return anyTag
}
