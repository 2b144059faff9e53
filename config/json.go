package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonError finds what the YAML reader would let pass in a .json file.
func jsonError(content []byte) (offset int, err error) {
	var raw json.RawMessage
	if err = json.Unmarshal(content, &raw); err == nil {
		return 0, nil
	}
	if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
		return max(int(syntax.Offset)-1, 0), err
	}
	return 0, err
}

// escapesOfJSON rewrites the two escapes of JSON that the YAML library refuses:
// \/ and pairs of surrogates. What is not JSON is left alone.
func escapesOfJSON(content []byte) []byte {
	if !json.Valid(content) {
		return content
	}
	out := make([]byte, 0, len(content))
	for i := 0; i < len(content); {
		switch {
		case content[i] != '\\':
			out = append(out, content[i])
			i++
		case content[i+1] == '/':
			out = append(out, '/')
			i += 2
		case content[i+1] == 'u':
			r, n := utf16Escape(content[i:])
			out = fmt.Appendf(out, "\\U%08x", r)
			i += n
		default:
			out = append(out, content[i], content[i+1])
			i += 2
		}
	}
	return out
}

// utf16Escape reads the escape \u with four digits that text, valid JSON,
// begins with, or the two of a pair. A half of a pair alone is the replacement character.
func utf16Escape(text []byte) (r rune, n int) {
	r = hex4(text)
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if len(text) >= 12 && text[6] == '\\' && text[7] == 'u' {
		if pair := utf16.DecodeRune(r, hex4(text[6:])); pair != utf8.RuneError {
			return pair, 12
		}
	}
	return utf8.RuneError, 6
}

func hex4(escape []byte) rune {
	n, _ := strconv.ParseUint(string(escape[2:6]), 16, 16)
	return rune(n)
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
