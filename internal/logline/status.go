package logline

import (
	"fmt"
	"strconv"
	"strings"
)

// StatusSet is a set of status codes.
type StatusSet [(maxStatus + 64) / 64]uint64

const maxStatus = 599

// ParseStatus reads a list of codes (404) and classes (5xx).
func ParseStatus(list []string) (StatusSet, error) {
	var set StatusSet
	for _, text := range list {
		lower := strings.ToLower(text)
		if len(lower) == 3 && '1' <= lower[0] && lower[0] <= '5' && lower[1:] == "xx" {
			base := int(lower[0]-'0') * 100
			for code := base; code < base+100; code++ {
				set.add(code)
			}
			continue
		}
		code, err := strconv.Atoi(text)
		if err != nil || len(text) != 3 || code < 100 || code > maxStatus {
			return StatusSet{}, fmt.Errorf("status %q is neither a code from 100 to 599 nor a class from 1xx to 5xx", text)
		}
		set.add(code)
	}
	return set, nil
}

func (s *StatusSet) add(code int) { s[code/64] |= 1 << (code % 64) }

// Has tells whether code is in the set.
func (s *StatusSet) Has(code int) bool {
	return code >= 0 && code <= maxStatus && s[code/64]&(1<<(code%64)) != 0
}
