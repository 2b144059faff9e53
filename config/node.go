package config

import (
	"bytes"
	"fmt"
	"reflect"
)

// Node is a part of a document that is not decoded yet, with its place. The
// settings of a filter are one. The zero Node is an empty mapping.
type Node struct {
	tree *tree // never changed: nodes may share it
	file string
}

// content is the tree; an empty mapping for the zero Node.
func (n Node) content() *tree {
	if n.tree == nil {
		return &tree{kind: mapping, size: 1}
	}
	return n.tree
}

// Decode reads the node into v, a pointer, strictly: what v already holds are
// the defaults. It reports every problem at its own place and says whether
// there was none.
func (n Node) Decode(v any, report *Report) bool {
	target := reflect.ValueOf(v)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		panic(fmt.Sprintf("config: Decode into %T, which is not a pointer", v))
	}
	d := newDecoder(n.file, func(line, col int32, what, fix string) {
		pos := Pos{File: n.file, Line: int(line), Col: int(col)}
		if line == 0 { // a tool made the node
			pos = report.at("")
		}
		report.addAt(Error, pos, what, fix)
	})
	return d.decode(n.content(), target.Elem(), "settings", rule{})
}

// Pos is where the node stands; the zero Pos when a tool made it.
func (n Node) Pos() Pos { return n.At("") }

// At is the place of a path below the node ("set[0].name"), or of the nearest
// part of it that was written.
func (n Node) At(path string) Pos {
	line, col := n.content().at(path)
	return Pos{File: n.file, Line: int(line), Col: int(col)}
}

// CanonicalJSON is the node as JSON with sorted keys and without spaces: equal
// settings give equal bytes.
func (n Node) CanonicalJSON() ([]byte, error) {
	return appendJSON(nil, n.content(), true)
}

// MarshalJSON is CanonicalJSON.
func (n Node) MarshalJSON() ([]byte, error) { return n.CanonicalJSON() }

// UnmarshalJSON reads a node that a tool or another process sent.
func (n *Node) UnmarshalJSON(content []byte) error {
	trees, err := readAll(content)
	if err != nil {
		return err
	}
	if len(trees) != 1 {
		return fmt.Errorf("config: %d values stand where one is needed", len(trees))
	}
	n.tree = trees[0]
	return nil
}

// NewNode makes the node that settings, a value with yaml tags, would be
// written as.
func NewNode(settings any) Node { return Node{tree: encode(reflect.ValueOf(settings))} }

// MarshalJSON writes {"name": settings}.
func (f Filter) MarshalJSON() ([]byte, error) {
	out := appendString([]byte{'{'}, f.Name)
	settings, err := f.Settings.CanonicalJSON()
	if err != nil {
		return nil, err
	}
	out = append(out, ':')
	out = append(out, settings...)
	return append(out, '}'), nil
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (f *Filter) UnmarshalJSON(content []byte) error {
	var n Node
	if err := n.UnmarshalJSON(content); err != nil {
		return err
	}
	var failure error
	d := newDecoder("", func(_, _ int32, what, fix string) { failure = &textError{what, fix} })
	if !d.filter(n.content(), f) {
		return failure
	}
	return nil
}

// readAll reads text that comes from a tool: the first problem is the error.
func readAll(content []byte) ([]*tree, error) {
	var failure error
	trees, ok := readTrees("", bytes.TrimSpace(content), func(line, col int32, what, _ string) {
		if failure == nil {
			failure = fmt.Errorf("%d:%d: %s", line, col, what)
		}
	})
	if !ok {
		return nil, failure
	}
	return trees, nil
}
