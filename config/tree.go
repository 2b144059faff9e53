package config

import "strings"

// tree is a part of a document after reading and before decoding: aliases and
// merge keys are resolved (an alias shares the tree it names, which nobody
// changes afterwards), every node knows its place.
type tree struct {
	kind      treeKind
	plain     bool   // a scalar without quotes
	text      string // of a scalar
	line, col int32
	size      int32 // nodes in it when aliases are counted as often as they stand there
	height    int32 // levels below it
	items     []*tree
	entries   []entry // keys may repeat: the decoder says so, with the object
}

type treeKind uint8

const (
	scalar treeKind = iota
	list
	mapping
)

// entry is one key of a mapping with its value.
type entry struct {
	key       string
	line, col int32
	value     *tree
}

// null tells a value that is not there: "key:" or "key: null".
func (t *tree) null() bool {
	if t.kind != scalar || !t.plain {
		return false
	}
	switch t.text {
	case "", "~", "null", "Null", "NULL":
		return true
	}
	return false
}

// noun is what stands there, for messages.
func (t *tree) noun() string {
	switch {
	case t.kind == mapping:
		return "a mapping"
	case t.kind == list:
		return "a list"
	case t.null():
		return "nothing"
	}
	return quote(t.text)
}

// find is the value of a key, or nil.
func (t *tree) find(key string) *tree {
	for i := range t.entries {
		if t.entries[i].key == key {
			return t.entries[i].value
		}
	}
	return nil
}

// at walks a path such as "request.set[0].name" as far as it was written and
// returns the place of the last step. A scalar is found at its value, the rest
// at its key.
func (t *tree) at(path string) (line, col int32) {
	line, col = t.line, t.col
	for path != "" && t != nil {
		step, rest := firstStep(path)
		var next *tree
		if index, isIndex := strings.CutPrefix(step, "["); isIndex {
			if i := indexOf(index); t.kind == list && i >= 0 && i < len(t.items) {
				next = t.items[i]
				line, col = next.line, next.col
			}
		} else {
			for i := range t.entries {
				if e := &t.entries[i]; e.key == step {
					next = e.value
					line, col = e.place()
				}
			}
		}
		t, path = next, rest
	}
	return line, col
}

// place of an entry: where its value stands if it is a scalar, else its key.
func (e *entry) place() (line, col int32) {
	if e.value.kind == scalar && !e.value.null() {
		return e.value.line, e.value.col
	}
	return e.line, e.col
}

// firstStep cuts "a.b" into "a" and "b", "[1].b" into "[1]" and "b".
func firstStep(path string) (step, rest string) {
	for i := 0; i < len(path); i++ {
		switch {
		case path[i] == '.':
			return path[:i], path[i+1:]
		case path[i] == '[' && i > 0:
			return path[:i], path[i:]
		case path[i] == ']' && path[0] == '[':
			return path[:i+1], strings.TrimPrefix(path[i+1:], ".")
		}
	}
	return path, ""
}

// indexOf reads "12]"; -1 when it is none.
func indexOf(text string) int {
	n := 0
	for i := 0; i < len(text); i++ {
		if text[i] == ']' {
			return n
		}
		if text[i] < '0' || text[i] > '9' || n > 1<<24 {
			return -1
		}
		n = n*10 + int(text[i]-'0')
	}
	return -1
}
