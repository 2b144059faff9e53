package store

import (
	"github.com/maypok86/otter/v2"
)

// Key is a SHA-256 over all that an entry depends on.
type Key [32]byte

// Entry is what is kept: immutable, compared by identity.
type Entry interface {
	comparable
	Key() Key
	Weight() uint32 // bytes
	Labels() []string
}

// Memory keeps entries within a budget. What is used often stays (W-TinyLFU),
// so that one scan through rare things does not throw the others out. It is
// safe for concurrent use and starts no goroutine.
type Memory[V Entry] struct {
	cache  *otter.Cache[Key, V]
	labels *Labels[V]
}

// NewMemory makes one with room for budget bytes. evicted, which must not block,
// hears of each entry that made room for others.
func NewMemory[V Entry](budget int64, evicted func()) *Memory[V] {
	m := &Memory[V]{labels: NewLabels[V]()}
	m.cache = otter.Must(&otter.Options[Key, V]{
		MaximumWeight: uint64(max(budget, 1)),
		Weigher:       func(_ Key, v V) uint32 { return v.Weight() },
		// It may run while the cache holds its locks: it takes only those of labels,
		// under which nothing calls the cache.
		OnDeletion: func(e otter.DeletionEvent[Key, V]) {
			m.labels.Remove(e.Value)
			if e.WasEvicted() {
				evicted()
			}
		},
		// The little work that a read or write leaves to do is done by who called:
		// stages start no goroutines of their own.
		Executor: func(f func()) { f() },
	})
	return m
}

// Resize changes the budget; what is too much goes.
func (m *Memory[V]) Resize(budget int64) {
	if m.cache.GetMaximum() != uint64(budget) {
		m.cache.SetMaximum(uint64(max(budget, 1)))
		m.cache.CleanUp()
	}
}

// Get finds an entry and counts the use.
func (m *Memory[V]) Get(key Key) (V, bool) { return m.cache.GetIfPresent(key) }

// Has tells whether an entry is there, without counting that as a use.
func (m *Memory[V]) Has(key Key) bool {
	_, ok := m.cache.GetEntryQuietly(key)
	return ok
}

// Put keeps an entry in the place of the one with its key. It may be thrown out
// at once.
func (m *Memory[V]) Put(v V) {
	// Labelled first: whoever purges finds it, or comes before it.
	m.labels.Add(v)
	m.cache.Set(v.Key(), v)
}

// Delete forgets the entry with that key.
func (m *Memory[V]) Delete(key Key) { m.cache.Invalidate(key) }

// Purge forgets what p is about and returns it.
func (m *Memory[V]) Purge(p Purge) []V {
	found := m.labels.Find(p)
	for _, v := range found {
		m.cache.Invalidate(v.Key())
	}
	return found
}

// Labelled tells whether an entry has that label.
func (m *Memory[V]) Labelled(label string) bool { return m.labels.has(label) }

// Bytes is the weight of all entries.
func (m *Memory[V]) Bytes() int64 { return int64(m.cache.WeightedSize()) } //nolint:gosec // bounded by the budget

// Max is the budget.
func (m *Memory[V]) Max() int64 { return int64(m.cache.GetMaximum()) } //nolint:gosec // it was one

// Len is the number of entries.
func (m *Memory[V]) Len() int { return m.cache.EstimatedSize() }

// Close forgets everything. Requests that are under way may still put and get.
func (m *Memory[V]) Close() error {
	m.cache.InvalidateAll()
	return nil
}
