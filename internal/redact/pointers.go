package redact

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/weirproxy/weir/internal/jsonpointer"
)

// Pointers hides the values at places of any JSON text: of messages, where a
// Policy knows the names of documents. It is immutable and safe for concurrent
// use.
type Pointers struct{ set jsonpointer.Set }

// NewPointers reads the places. Keys compare without case, because lenient
// readers of JSON do.
func NewPointers(pointers []string) (*Pointers, error) {
	set, err := jsonpointer.Parse(pointers, true)
	if err != nil {
		return nil, fmt.Errorf("redact: %w", err)
	}
	return &Pointers{set: set}, nil
}

var (
	errUTF8  = errors.New("redact: the text is not UTF-8")
	errAfter = errors.New("redact: something follows the JSON value")
)

// JSON is text with the values hidden: a string becomes Mark, a number 0, true
// becomes false, and so does everything below an object or array, which keep
// their shape. An error means that text is not exactly one JSON value: nothing
// of it may be shown.
func (p *Pointers) JSON(text []byte) ([]byte, error) {
	if !utf8.Valid(text) { // readers disagree about what it says
		return nil, errUTF8
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	root, err := decode(decoder, 0)
	if err != nil {
		return nil, fmt.Errorf("redact: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errAfter
	}
	blankAt(root, p.set.Root())
	var out bytes.Buffer
	out.Grow(len(text))
	if err := root.encode(&out); err != nil {
		return nil, fmt.Errorf("redact: %w", err)
	}
	return out.Bytes(), nil
}

func blankAt(n *node, at jsonpointer.Cursor) {
	if at.Hit() {
		n.blank()
		return
	}
	if at.Idle() {
		return
	}
	for i, item := range n.items {
		key := strconv.Itoa(i)
		if n.kind == '{' {
			key = n.keys[i]
		}
		blankAt(item, at.Down(key))
	}
}

// blank replaces every value below n by one of its type that says nothing.
func (n *node) blank() {
	for _, item := range n.items {
		item.blank()
	}
	switch n.value.(type) {
	case string:
		n.value = Mark
	case json.Number:
		n.value = json.Number("0")
	case bool:
		n.value = false
	}
}
