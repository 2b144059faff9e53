// Package statusset reads status codes as documents write them, codes (404)
// and classes (5xx), into a set. The check of documents and the stages that act
// on them share it, so that what is accepted is what is done.
package statusset

import (
	"fmt"
	"strconv"
)

const lowest, highest = 100, 599

// Set is a set of status codes, one bit for each. The zero value is empty.
type Set [(highest-lowest)/64 + 1]uint64

// Parse reads a list of codes and classes.
func Parse(list []string) (Set, error) {
	var set Set
	for _, text := range list {
		if err := set.Add(text); err != nil {
			return Set{}, err
		}
	}
	return set, nil
}

// Add adds a code or a class.
func (s *Set) Add(text string) error {
	from, count, ok := codes(text)
	if !ok {
		return fmt.Errorf("status %q is neither a code from %d to %d nor a class from 1xx to 5xx", text, lowest, highest)
	}
	for code := from - lowest; code < from-lowest+count; code++ {
		s[code/64] |= 1 << (code % 64)
	}
	return nil
}

// Has tells whether code is in the set.
func (s *Set) Has(code int) bool {
	return lowest <= code && code <= highest && s[(code-lowest)/64]&(1<<((code-lowest)%64)) != 0
}

// Valid tells whether text is a code or a class.
func Valid(text string) bool {
	_, _, ok := codes(text)
	return ok
}

// codes are those that text names: count of them, beginning with from.
func codes(text string) (from, count int, ok bool) {
	if len(text) != 3 || text[0] < '1' || '5' < text[0] {
		return 0, 0, false
	}
	if text[1:] == "xx" {
		return int(text[0]-'0') * 100, 100, true
	}
	code, err := strconv.ParseUint(text, 10, 16)
	return int(code), 1, err == nil
}
