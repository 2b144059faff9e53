package config

import (
	"bytes"
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"unicode/utf8"
)

// encode is the reverse of decode: the tree that a value would be written as.
// Every field is there, zeros included, but for what is absent: nil pointers,
// and fields marked omitempty (in the json tag) that are empty.
func encode(v reflect.Value) *tree {
	t := &tree{size: 1}
	switch own := v.Interface().(type) {
	case Node:
		return own.content()
	case Filter:
		t.kind, t.entries = mapping, []entry{{key: own.Name, value: own.Settings.content()}}
		return t
	case encoding.TextMarshaler:
		text, err := own.MarshalText()
		if err != nil {
			text = nil
		}
		t.text = string(text)
		t.plain = t.text != "" && isJSONNumber(t.text)
		return t
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return &tree{size: 1, kind: mapping}
		}
		return encode(v.Elem())
	case reflect.Struct:
		t.kind = mapping
		for _, f := range fieldsOf(v.Type()) {
			field := v.Field(f.index)
			if !absent(field, v.Type().Field(f.index).Tag) {
				t.entries = append(t.entries, entry{key: f.key, value: encode(field)})
			}
		}
	case reflect.Slice:
		t.kind = list
		for i := range v.Len() {
			t.items = append(t.items, encode(v.Index(i)))
		}
	case reflect.Map:
		t.kind = mapping
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return bytes.Compare([]byte(a.String()), []byte(b.String())) })
		for _, key := range keys {
			t.entries = append(t.entries, entry{key: key.String(), value: encode(v.MapIndex(key))})
		}
	case reflect.String:
		t.text = v.String()
	case reflect.Float64, reflect.Float32:
		t.plain, t.text = true, strconv.FormatFloat(v.Float(), 'f', -1, 64)
	default:
		t.plain, t.text = true, fmt.Sprint(v.Interface())
	}
	return t
}

func absent(v reflect.Value, tag reflect.StructTag) bool {
	switch v.Kind() {
	case reflect.Pointer:
		return v.IsNil()
	case reflect.Slice, reflect.Map:
		return bytes.Contains([]byte(tag.Get("json")), []byte(",omitempty")) && v.Len() == 0
	}
	return bytes.Contains([]byte(tag.Get("json")), []byte(",omitempty")) && v.IsZero()
}

// appendJSON writes a tree as JSON. A number keeps its digits: whether 1.20 is
// a text or a number, only the field that reads it knows.
func appendJSON(out []byte, t *tree, sorted bool) ([]byte, error) {
	var err error
	switch t.kind {
	case list:
		out = append(out, '[')
		for i, item := range t.items {
			if i > 0 {
				out = append(out, ',')
			}
			if out, err = appendJSON(out, item, sorted); err != nil {
				return nil, err
			}
		}
		return append(out, ']'), nil
	case mapping:
		return appendObject(out, t, sorted)
	}
	switch {
	case t.null():
		return append(out, "null"...), nil
	case t.plain && (t.text == "true" || t.text == "false" || isJSONNumber(t.text)):
		return append(out, t.text...), nil
	}
	return appendString(out, t.text), nil
}

func appendObject(out []byte, t *tree, sorted bool) ([]byte, error) {
	entries := t.entries
	if sorted {
		entries = slices.Clone(entries)
		slices.SortStableFunc(entries, func(a, b entry) int { return bytes.Compare([]byte(a.key), []byte(b.key)) })
	}
	out = append(out, '{')
	for i := range entries {
		e := &entries[i]
		if i > 0 {
			if entries[i-1].key == e.key {
				return nil, fmt.Errorf("config: key %s stands twice (line %d)", quote(e.key), e.line)
			}
			out = append(out, ',')
		}
		out = append(appendString(out, e.key), ':')
		var err error
		if out, err = appendJSON(out, e.value, sorted); err != nil {
			return nil, err
		}
	}
	return append(out, '}'), nil
}

// appendString escapes what JSON must and what YAML does not read raw, so that
// the same reader takes it back.
func appendString(out []byte, s string) []byte {
	out = append(out, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			out = append(out, '\\', byte(r))
		case r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff || r == 0xfffe || r == 0xffff:
			out = fmt.Appendf(out, "\\u%04x", r)
		default:
			out = utf8.AppendRune(out, r)
		}
	}
	return append(out, '"')
}

// isJSONNumber tells whether text is a number by the grammar of JSON (RFC 8259
// section 6).
func isJSONNumber(text string) bool {
	s := text
	if s != "" && s[0] == '-' {
		s = s[1:]
	}
	whole := digits(s)
	if whole == 0 || whole > 1 && s[0] == '0' {
		return false
	}
	s = s[whole:]
	if s != "" && s[0] == '.' {
		n := digits(s[1:])
		if n == 0 {
			return false
		}
		s = s[1+n:]
	}
	if s != "" && (s[0] == 'e' || s[0] == 'E') {
		s = s[1:]
		if s != "" && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		n := digits(s)
		return n > 0 && n == len(s)
	}
	return s == ""
}

// digits counts the digits at the beginning.
func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}
