package route

import (
	"math/bits"
	"slices"
)

// edit is one Build or With. What carries its mark was made by it and is seen
// by nobody else yet, so that it may be changed in place; everything else is
// copied first. The field keeps two edits from having one address.
type edit struct{ _ byte }

const (
	digit    = 6  // bits of the hash that one level takes
	maxLevel = 11 // levels until the hash is used up
)

// shared is a map from strings that copies one path of nodes when it changes
// and shares the rest with the map it came from (a hash array mapped trie).
// The caller brings the hash. The zero value is an empty map.
type shared[V any] struct{ root *node[V] }

// node has a slot for each set bit of used, in the order of the bits. Below
// maxLevel the hashes are equal: used is 0 and the slots are a list.
type node[V any] struct {
	by    *edit
	used  uint64
	slots []slot[V]
}

// slot is one key, or with next set a level of several.
type slot[V any] struct {
	hash  uint64
	key   string
	value V
	next  *node[V]
}

func (m shared[V]) get(hash uint64, key string) (value V, ok bool) {
	n := m.root
	for h := hash; n != nil && n.used != 0; h >>= digit {
		bit := uint64(1) << (h % 64)
		if n.used&bit == 0 {
			return value, false
		}
		s := &n.slots[bits.OnesCount64(n.used&(bit-1))]
		if s.next == nil {
			if s.hash != hash || s.key != key {
				return value, false
			}
			return s.value, true
		}
		n = s.next
	}
	if n != nil {
		if i := n.find(key); i >= 0 {
			return n.slots[i].value, true
		}
	}
	return value, false
}

func (m *shared[V]) put(e *edit, hash uint64, key string, value V) {
	m.root = m.root.put(e, 0, slot[V]{hash: hash, key: key, value: value})
}

func (m *shared[V]) drop(e *edit, hash uint64, key string) {
	if m.root != nil {
		m.root = m.root.drop(e, 0, hash, key)
	}
}

// each calls visit for every value, in no order.
func (m shared[V]) each(visit func(key string, value V)) { m.root.each(visit) }

func (n *node[V]) own(e *edit) *node[V] {
	if n == nil {
		first := new(struct {
			node[V]
			room [1]slot[V] // as in ties
		})
		first.by, first.slots = e, first.room[:0]
		return &first.node
	}
	if n.by == e {
		return n
	}
	slots := make([]slot[V], len(n.slots), len(n.slots)+1)
	copy(slots, n.slots)
	return &node[V]{by: e, used: n.used, slots: slots}
}

// find is the place of a key in a list of equal hashes, or -1.
func (n *node[V]) find(key string) int {
	return slices.IndexFunc(n.slots, func(s slot[V]) bool { return s.key == key })
}

func place(used uint64, level int, hash uint64) (at int, bit uint64) {
	bit = 1 << (hash >> (digit * level) % 64)
	return bits.OnesCount64(used & (bit - 1)), bit
}

func (n *node[V]) put(e *edit, level int, leaf slot[V]) *node[V] {
	n = n.own(e)
	if level == maxLevel {
		if i := n.find(leaf.key); i >= 0 {
			n.slots[i] = leaf
		} else {
			n.slots = append(n.slots, leaf)
		}
		return n
	}
	i, bit := place(n.used, level, leaf.hash)
	if n.used&bit == 0 {
		n.used |= bit
		n.slots = slices.Insert(n.slots, i, leaf)
		return n
	}
	switch s := &n.slots[i]; {
	case s.next != nil:
		s.next = s.next.put(e, level+1, leaf)
	case s.hash == leaf.hash && s.key == leaf.key:
		*s = leaf
	default: // two keys that share the digits so far
		var next *node[V]
		next = next.put(e, level+1, *s)
		*s = slot[V]{next: next.put(e, level+1, leaf)}
	}
	return n
}

// drop returns nil when nothing is left. A level below the root always holds
// two keys or more.
func (n *node[V]) drop(e *edit, level int, hash uint64, key string) *node[V] {
	var i int
	var bit uint64
	if level == maxLevel {
		if i = n.find(key); i < 0 {
			return n
		}
	} else if i, bit = place(n.used, level, hash); n.used&bit == 0 {
		return n
	}
	if n.slots[i].next != nil {
		n = n.own(e)
		next := n.slots[i].next.drop(e, level+1, hash, key)
		n.slots[i].next = next
		if len(next.slots) == 1 && next.slots[0].next == nil {
			n.slots[i] = next.slots[0] // one key needs no level of its own
		}
		return n
	}
	if n.slots[i].hash != hash || n.slots[i].key != key {
		return n
	}
	if len(n.slots) == 1 {
		return nil
	}
	n = n.own(e)
	n.used &^= bit
	n.slots = slices.Delete(n.slots, i, i+1)
	return n
}

func (n *node[V]) each(visit func(key string, value V)) {
	if n == nil {
		return
	}
	for i := range n.slots {
		if s := &n.slots[i]; s.next != nil {
			s.next.each(visit)
		} else {
			visit(s.key, s.value)
		}
	}
}
