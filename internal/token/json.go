package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/weirproxy/weir/stream"
)

// maxDepth is deeper than claims nest.
const maxDepth = 16

// ReadObject reads a JSON object of which every reader makes the same: UTF-8, no
// name twice in an object (RFC 8725 section 2.6), nothing behind it.
func ReadObject(content []byte) (stream.Claim, error) {
	if !utf8.Valid(content) {
		return stream.Claim{}, ErrMalformed
	}
	r := reader{from: json.NewDecoder(bytes.NewReader(content))}
	r.from.UseNumber()
	object, err := r.value(0)
	if err != nil || object.Kind != stream.ObjectClaim {
		return stream.Claim{}, ErrMalformed
	}
	if _, err := r.from.Token(); !errors.Is(err, io.EOF) {
		return stream.Claim{}, ErrMalformed
	}
	return object, nil
}

type reader struct{ from *json.Decoder }

func (r *reader) value(depth int) (stream.Claim, error) {
	next, err := r.from.Token()
	if err != nil || depth > maxDepth {
		return stream.Claim{}, ErrMalformed
	}
	switch v := next.(type) {
	case string:
		return stream.Claim{Kind: stream.TextClaim, Text: v, Quoted: true}, nil
	case json.Number:
		return stream.Claim{Kind: stream.TextClaim, Text: v.String()}, nil
	case bool:
		if v {
			return stream.Claim{Kind: stream.TextClaim, Text: "true"}, nil
		}
		return stream.Claim{Kind: stream.TextClaim, Text: "false"}, nil
	case json.Delim:
		if v == '{' {
			return r.object(depth)
		}
		return r.list(depth)
	}
	return stream.Claim{}, nil // null
}

func (r *reader) object(depth int) (stream.Claim, error) {
	members := map[string]stream.Claim{}
	for r.from.More() {
		name, err := r.from.Token()
		key, ok := name.(string)
		if err != nil || !ok {
			return stream.Claim{}, ErrMalformed
		}
		if _, twice := members[key]; twice {
			return stream.Claim{}, ErrMalformed
		}
		if members[key], err = r.value(depth + 1); err != nil {
			return stream.Claim{}, err
		}
	}
	return stream.Claim{Kind: stream.ObjectClaim, Members: members}, r.end()
}

func (r *reader) list(depth int) (stream.Claim, error) {
	var items []stream.Claim
	for r.from.More() {
		item, err := r.value(depth + 1)
		if err != nil {
			return stream.Claim{}, err
		}
		items = append(items, item)
	}
	return stream.Claim{Kind: stream.ListClaim, Items: items}, r.end()
}

// end reads the bracket behind the last element.
func (r *reader) end() error {
	if _, err := r.from.Token(); err != nil {
		return ErrMalformed
	}
	return nil
}
