package redact

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// JSON is a JSON text with what the policy hides replaced, in the same order.
// It knows how documents and pages spell names and values:
//
//   - an object with a "name" that is hidden: its other strings ({"name":
//     "Authorization", "exact": "..."}),
//   - a member whose key is a hidden header field ({"Authorization": "..."}),
//   - a member of "query" or "cookies" whose key is a hidden parameter,
//   - "NAME: value" and "NAME=value", and a list of two, ["NAME", "value"],
//   - URLs in any string.
//
// Inside of a part about cookies every value is hidden, because cookies are. A
// member "key" is a selector ("cookie:session", "query:token") and stays.
func (p *Policy) JSON(text []byte) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	root, err := decode(decoder, 0)
	if err != nil {
		return nil, fmt.Errorf("redact: %w", err)
	}
	p.hide(root, "")
	var out bytes.Buffer
	if err := root.encode(&out); err != nil {
		return nil, fmt.Errorf("redact: %w", err)
	}
	return out.Bytes(), nil
}

// maxDepth bounds the nesting that is followed.
const maxDepth = 64

// node is a JSON value that keeps the order of its members.
type node struct {
	kind  json.Delim // '{', '[' or 0
	keys  []string   // of an object
	items []*node
	value any // string, json.Number, bool or nil, when kind is 0
}

func decode(d *json.Decoder, depth int) (*node, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	open, nested := token.(json.Delim)
	if !nested {
		return &node{value: token}, nil
	}
	n := &node{kind: open}
	for d.More() {
		if open == '{' {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			n.keys = append(n.keys, key.(string)) // the decoder lets nothing else pass
		}
		item, err := decode(d, depth+1)
		if err != nil {
			return nil, err
		}
		n.items = append(n.items, item)
	}
	_, err = d.Token() // the closing one
	return n, err
}

func (n *node) encode(out *bytes.Buffer) error {
	if n.kind == 0 {
		return encodeValue(out, n.value)
	}
	out.WriteByte(byte(n.kind))
	for i, item := range n.items {
		if i > 0 {
			out.WriteByte(',')
		}
		if n.kind == '{' {
			if err := encodeValue(out, n.keys[i]); err != nil {
				return err
			}
			out.WriteByte(':')
		}
		if err := item.encode(out); err != nil {
			return err
		}
	}
	out.WriteByte(byte(n.kind) + 2) // ']' and '}' stand two behind '[' and '{'
	return nil
}

func encodeValue(out *bytes.Buffer, v any) error {
	text, err := json.Marshal(v)
	out.Write(text)
	return err
}

// hide works on the value that stands under key.
func (p *Policy) hide(n *node, key string) {
	switch n.kind {
	case '{':
		p.hideObject(n, key)
	case '[':
		if len(n.items) == 2 && n.items[1].kind == 0 {
			if name, ok := n.items[0].value.(string); ok && p.Header(name) {
				n.items[1].mark()
			}
		}
		for _, item := range n.items {
			p.hide(item, key)
		}
	default:
		if s, ok := n.value.(string); ok {
			if strings.EqualFold(key, "query") { // of a URL, without its "?"
				s = p.Query(s)
			}
			n.value = p.Line(s)
		}
	}
}

func (p *Policy) hideObject(n *node, key string) {
	named := n.hasHiddenName(p, key)
	for i, item := range n.items {
		under := n.keys[i]
		switch {
		case named && !strings.EqualFold(under, "name"), p.Header(under), p.hiddenBelow(key, under):
			item.mark()
		case under == "key": // of a split: "cookie:session" names a cookie
		default:
			p.hide(item, under)
		}
	}
}

// hiddenBelow tells whether the member under of an object that stands under
// key is a hidden parameter or cookie.
func (p *Policy) hiddenBelow(key, under string) bool {
	switch strings.ToLower(key) {
	case "query":
		return p.QueryKey(under)
	case "cookies":
		return !strings.EqualFold(under, "name")
	}
	return false
}

// hasHiddenName tells whether n is {"name": ..., ...} about something hidden.
func (n *node) hasHiddenName(p *Policy, key string) bool {
	for i, under := range n.keys {
		name, ok := n.items[i].value.(string)
		if !ok || !strings.EqualFold(under, "name") {
			continue
		}
		return p.Header(name) || strings.EqualFold(key, "query") && p.QueryKey(name)
	}
	return false
}

// mark replaces every string and number below n.
func (n *node) mark() {
	for _, item := range n.items {
		item.mark()
	}
	switch n.value.(type) {
	case string, json.Number:
		n.value = Mark
	}
}

// Line is a string by itself as it may be shown: "Authorization: ...", "Cookie=...", or a text
// with URLs.
func (p *Policy) Line(s string) string {
	if at := strings.IndexAny(s, ":="); at > 0 && p.Header(strings.TrimSpace(s[:at])) && strings.TrimSpace(s[at+1:]) != "" {
		value := strings.TrimLeft(s[at+1:], " \t")
		return s[:len(s)-len(value)] + Mark
	}
	return p.conditions(p.Text(s))
}
