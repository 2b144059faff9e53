package jsondiff

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

type kind uint8

const (
	null kind = iota
	boolean
	number
	text
	array
	object
)

var kindNames = [...]string{"null", "boolean", "number", "string", "array", "object"}

// value is a JSON value. Equal scalars have equal texts.
type value struct {
	kind  kind
	text  string
	keys  []string // of an object
	items []value
}

// describe says what the value is without its content; nil is no value.
func (v *value) describe() string {
	switch {
	case v == nil:
		return "nothing"
	case v.kind == array:
		return fmt.Sprintf("array of %d", len(v.items))
	}
	return kindNames[v.kind]
}

var (
	errUTF8  = errors.New("it is not UTF-8")
	errAfter = errors.New("something follows the value")
	errDeep  = fmt.Errorf("it is nested deeper than %d", MaxDepth)
	errMany  = fmt.Errorf("it has more than %d values", MaxValues)
	errTwice = errors.New("a key stands in an object twice")
)

type parser struct {
	decoder *json.Decoder
	values  int
}

func parse(content []byte) (value, error) {
	if !utf8.Valid(content) { // the decoder would make broken texts equal
		return value{}, errUTF8
	}
	p := parser{decoder: json.NewDecoder(bytes.NewReader(content))}
	p.decoder.UseNumber()
	v, err := p.value(0)
	if err != nil {
		return value{}, err
	}
	if _, err := p.decoder.Token(); err != io.EOF {
		return value{}, errAfter
	}
	return v, nil
}

func (p *parser) value(depth int) (value, error) {
	token, err := p.decoder.Token()
	if err != nil {
		return value{}, err
	}
	if p.values++; p.values > MaxValues {
		return value{}, errMany
	}
	switch token := token.(type) {
	case json.Delim:
		if depth == MaxDepth {
			return value{}, errDeep
		}
		return p.nested(token, depth+1)
	case bool:
		if token {
			return value{kind: boolean, text: "true"}, nil
		}
		return value{kind: boolean, text: "false"}, nil
	case json.Number:
		return value{kind: number, text: canonicalNumber(token.String())}, nil
	case string:
		return value{kind: text, text: token}, nil
	}
	return value{kind: null}, nil
}

func (p *parser) nested(open json.Delim, depth int) (value, error) {
	v := value{kind: array}
	var seen map[string]bool
	if open == '{' {
		v.kind, seen = object, map[string]bool{}
	}
	for p.decoder.More() {
		if v.kind == object {
			token, err := p.decoder.Token()
			if err != nil {
				return value{}, err
			}
			key, _ := token.(string) // the decoder lets nothing else pass
			if seen[key] {
				return value{}, errTwice // readers disagree about which one counts
			}
			seen[key] = true
			v.keys = append(v.keys, key)
		}
		item, err := p.value(depth)
		if err != nil {
			return value{}, err
		}
		v.items = append(v.items, item)
	}
	_, err := p.decoder.Token() // the closing one
	return v, err
}
