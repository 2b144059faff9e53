// Package jsonpointer names places in JSON texts: JSON pointers (RFC 6901) in
// which a step "*" stands for any member or element, and "**" for any number
// of steps:
//
//	/user/email     the member email of the member user
//	/items/*/id     the member id of every element of items
//	/**/password    every member password, however deep
//
// Whoever walks a text takes a [Cursor] along, which knows at each value
// whether it stands at one of the places.
package jsonpointer

import (
	"fmt"
	"strings"
)

// What a set may hold.
const (
	MaxPointers = 100
	MaxSteps    = 32
)

// Set is a list of pointers. It is immutable and safe for concurrent use; the
// zero Set names no place.
type Set struct {
	pointers [][]step
	fold     bool
}

type step struct {
	kind kind
	key  string
}

type kind uint8

const (
	named kind = iota
	any1       // "*"
	any0       // "**"
)

// Parse reads pointers. fold compares the keys of members without case, as
// lenient readers of JSON do: for whoever must not miss one.
func Parse(pointers []string, fold bool) (Set, error) {
	s := Set{fold: fold}
	if len(pointers) > MaxPointers {
		return Set{}, fmt.Errorf("%d pointers, more than %d", len(pointers), MaxPointers)
	}
	for _, text := range pointers {
		steps, err := parse(text)
		if err != nil {
			return Set{}, err
		}
		s.pointers = append(s.pointers, steps)
	}
	return s, nil
}

func parse(text string) ([]step, error) {
	switch {
	case strings.HasPrefix(text, "$"):
		return nil, fmt.Errorf("%q is no JSON pointer; write its steps behind slashes: /user/email, /items/*/id", text)
	case !strings.HasPrefix(text, "/"):
		return nil, fmt.Errorf("%q does not begin with a slash; write /user/email, /items/*/id or /**/password", text)
	}
	words := strings.Split(text[1:], "/")
	if len(words) > MaxSteps {
		return nil, fmt.Errorf("%q has %d steps, more than %d", text, len(words), MaxSteps)
	}
	steps := make([]step, len(words))
	for i, word := range words {
		switch word {
		case "*":
			steps[i].kind = any1
		case "**":
			if i == len(words)-1 {
				return nil, fmt.Errorf("%q ends in **, which would be everything below; end it before", text)
			}
			steps[i].kind = any0
		default:
			key, err := unescape(word)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", text, err)
			}
			steps[i].key = key
		}
	}
	return steps, nil
}

// unescape decodes ~0 and ~1 (RFC 6901 section 4).
func unescape(word string) (string, error) {
	for i := 0; i < len(word); i++ {
		if word[i] == '~' && (i+1 == len(word) || word[i+1] != '0' && word[i+1] != '1') {
			return "", fmt.Errorf(`a "~" is written ~0, and a "/" inside of a key ~1`)
		}
	}
	return strings.ReplaceAll(strings.ReplaceAll(word, "~1", "/"), "~0", "~"), nil
}

// Escape is a key as a step of a pointer.
func Escape(key string) string {
	if !strings.ContainsAny(key, "~/") {
		return key
	}
	return strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
}
