// Package jsondiff says where two JSON texts differ, and never what stands
// there: its differences may be shown to anyone.
//
// The order of members does not count, that of elements does. Numbers are
// compared by value and exactly: 1, 1.0 and 10e-1 are equal, and of two long
// ones every digit counts. What is ignored is ignored in both texts, whether
// it is there or not.
package jsondiff

import (
	"fmt"
	"strconv"

	"github.com/weirproxy/weir/internal/jsonpointer"
)

// What is looked at: texts are of peers.
const (
	MaxDepth       = 64
	MaxValues      = 10000
	MaxDifferences = 50  // of one comparison; it ends there
	MaxPath        = 200 // bytes
)

// Kind is in what way two values differ.
type Kind string

// The kinds.
const (
	Missing Kind = "missing" // it is in the first text only
	Extra   Kind = "extra"   // it is in the second text only
	Type    Kind = "type"
	Value   Kind = "value"
	Length  Kind = "length" // of an array
)

// Difference is one place where two texts differ.
type Difference struct {
	// Path is a JSON pointer in which "*" stands for the number of an element,
	// so that places can be counted. A long one is cut.
	Path string
	// At is the same with the numbers.
	At   string
	Kind Kind
	// First and Second say what stands there, without its content: "string",
	// "number", "array of 3", "nothing".
	First, Second string
}

// Compare finds the differences of two texts. An error means that one of them
// is no JSON, or more than is looked at.
func Compare(first, second []byte, ignore jsonpointer.Set) ([]Difference, error) {
	a, err := parse(first)
	if err != nil {
		return nil, fmt.Errorf("jsondiff: the first text: %w", err)
	}
	b, err := parse(second)
	if err != nil {
		return nil, fmt.Errorf("jsondiff: the second text: %w", err)
	}
	var d differ
	d.compare(&a, &b, ignore.Root())
	return d.found, nil
}

type differ struct {
	path  []byte // of the value that is looked at
	at    []byte
	found []Difference
}

func (d *differ) full() bool { return len(d.found) >= MaxDifferences }

func (d *differ) differ(kind Kind, a, b *value) {
	if d.full() {
		return
	}
	d.found = append(d.found, Difference{Path: cut(d.path), At: cut(d.at), Kind: kind, First: a.describe(), Second: b.describe()})
}

func cut(path []byte) string {
	if len(path) <= MaxPath {
		return string(path)
	}
	return string(path[:MaxPath]) + "..."
}

// down looks at a member or element, unless it is ignored.
func (d *differ) down(key, shape string, at jsonpointer.Cursor, look func(jsonpointer.Cursor)) {
	below := at.Down(key)
	if below.Hit() || d.full() {
		return
	}
	path, place := len(d.path), len(d.at)
	d.path = append(append(d.path, '/'), shape...)
	d.at = append(append(d.at, '/'), jsonpointer.Escape(key)...)
	look(below)
	d.path, d.at = d.path[:path], d.at[:place]
}

func (d *differ) compare(a, b *value, at jsonpointer.Cursor) {
	switch {
	case a.kind != b.kind:
		d.differ(Type, a, b)
	case a.kind == object:
		d.objects(a, b, at)
	case a.kind == array:
		d.arrays(a, b, at)
	case a.text != b.text:
		d.differ(Value, a, b)
	}
}

func (d *differ) objects(a, b *value, at jsonpointer.Cursor) {
	other := make(map[string]*value, len(b.items))
	for i, key := range b.keys {
		other[key] = &b.items[i]
	}
	for i, key := range a.keys {
		d.down(key, jsonpointer.Escape(key), at, func(below jsonpointer.Cursor) {
			if theirs := other[key]; theirs != nil {
				d.compare(&a.items[i], theirs, below)
			} else {
				d.differ(Missing, &a.items[i], nil)
			}
		})
		delete(other, key)
	}
	for i, key := range b.keys {
		if other[key] != nil {
			d.down(key, jsonpointer.Escape(key), at, func(jsonpointer.Cursor) { d.differ(Extra, nil, &b.items[i]) })
		}
	}
}

func (d *differ) arrays(a, b *value, at jsonpointer.Cursor) {
	if len(a.items) != len(b.items) {
		d.differ(Length, a, b)
	}
	for i := range min(len(a.items), len(b.items)) {
		d.down(strconv.Itoa(i), "*", at, func(below jsonpointer.Cursor) { d.compare(&a.items[i], &b.items[i], below) })
	}
}
