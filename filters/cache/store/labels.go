package store

import (
	"hash/maphash"
	"strings"
	"sync"
)

// The kinds of labels: the first byte says which.
const (
	urlLabel = 'u'
	tagLabel = 't'
)

// URLLabel is the label of what was fetched from a URL.
func URLLabel(url string) string { return string(urlLabel) + url }

// TagLabel is the label of what its maker tagged.
func TagLabel(tag string) string { return string(tagLabel) + tag }

// numShards is a power of two.
const numShards = 64

// Labels finds entries by what they are about. No lock of it is held while
// anything else is called.
type Labels[V Entry] struct {
	seed   maphash.Seed
	shards [numShards]shard[V]
}

type shard[V Entry] struct {
	mu   sync.Mutex
	sets map[string]set[V]
	_    [40]byte // its neighbour is another's
}

// set is one entry, as nearly all are, or many.
type set[V Entry] struct {
	one  V
	many map[V]struct{}
}

// TextOf is what a label is about, and whether that is a tag.
func TextOf(label string) (text string, tag bool) { return label[1:], label[0] == tagLabel }

// NewLabels makes an empty index.
func NewLabels[V Entry]() *Labels[V] {
	l := &Labels[V]{seed: maphash.MakeSeed()}
	for i := range l.shards {
		l.shards[i].sets = map[string]set[V]{}
	}
	return l
}

func (l *Labels[V]) shard(label string) *shard[V] {
	return &l.shards[maphash.String(l.seed, label)%numShards]
}

// Add makes v found by its labels.
func (l *Labels[V]) Add(v V) {
	for _, label := range v.Labels() {
		s := l.shard(label)
		s.mu.Lock()
		s.add(label, v)
		s.mu.Unlock()
	}
}

// Remove makes v found no more.
func (l *Labels[V]) Remove(v V) {
	for _, label := range v.Labels() {
		s := l.shard(label)
		s.mu.Lock()
		s.remove(label, v)
		s.mu.Unlock()
	}
}

func (s *shard[V]) add(label string, v V) {
	var none V
	found, ok := s.sets[label]
	switch {
	case !ok:
		s.sets[label] = set[V]{one: v}
	case found.many != nil:
		found.many[v] = struct{}{}
	case found.one != v:
		s.sets[label] = set[V]{one: none, many: map[V]struct{}{found.one: {}, v: {}}}
	}
}

func (s *shard[V]) remove(label string, v V) {
	found, ok := s.sets[label]
	switch {
	case !ok:
	case found.many != nil:
		if delete(found.many, v); len(found.many) == 0 {
			delete(s.sets, label)
		}
	case found.one == v:
		delete(s.sets, label)
	}
}

// Find is every entry that p is about. A prefix, or all, looks at every label
// once, one shard after the other.
func (l *Labels[V]) Find(p Purge) []V {
	var found []V
	switch {
	case p.URL != "":
		found = l.find(URLLabel(p.URL), found)
	case p.Tag != "":
		found = l.find(TagLabel(p.Tag), found)
	default:
		prefix := URLLabel(p.Prefix)
		for i := range l.shards {
			found = l.shards[i].under(prefix, found)
		}
	}
	return found
}

func (l *Labels[V]) find(label string, found []V) []V {
	s := l.shard(label)
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, ok := s.sets[label]; ok {
		found = at.append(found)
	}
	return found
}

func (s *shard[V]) under(prefix string, found []V) []V {
	s.mu.Lock()
	defer s.mu.Unlock()
	for label, at := range s.sets {
		if strings.HasPrefix(label, prefix) {
			found = at.append(found)
		}
	}
	return found
}

func (s set[V]) append(found []V) []V {
	if s.many == nil {
		return append(found, s.one)
	}
	for v := range s.many {
		found = append(found, v)
	}
	return found
}

func (l *Labels[V]) has(label string) bool {
	s := l.shard(label)
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.sets[label]
	return ok
}

// Len is the number of labels.
func (l *Labels[V]) Len() int {
	n := 0
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		n += len(s.sets)
		s.mu.Unlock()
	}
	return n
}
