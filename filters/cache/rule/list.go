package rule

import (
	"iter"
	"strings"

	"github.com/weirproxy/weir/stream"
)

// members goes over the members of a comma-separated list. A comma inside of a
// quoted string does not separate; a quote that is never closed is a letter
// like any other, so that it hides nothing that stands behind it.
func members(list string) iter.Seq[string] {
	return func(yield func(string) bool) {
		quotes := true // once one was not closed, none behind it can be: each byte is looked at twice at most
		for list != "" {
			end := memberEnd(list, &quotes)
			member := trim(list[:end])
			list = list[min(end+1, len(list)):]
			if member != "" && !yield(member) {
				return
			}
		}
	}
}

func memberEnd(list string, quotes *bool) int {
	for i := 0; i < len(list); i++ {
		switch {
		case list[i] == ',':
			return i
		case list[i] == '"' && *quotes:
			if closed := quotedEnd(list[i:]); closed > 0 {
				i += closed - 1
			} else {
				*quotes = false
			}
		}
	}
	return len(list)
}

// quotedEnd is the length of the quoted string (RFC 9110 section 5.6.4) at the
// start of s, or 0 when it is not closed.
func quotedEnd(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

// trim takes the blanks of RFC 9110 section 5.6.3 off both ends.
func trim(s string) string { return strings.Trim(s, " \t") }

// unquote takes the quotes off an argument: both forms are to be read (RFC 9111
// section 5.2).
func unquote(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}

// values goes over the values of every field with that id.
func values(h *stream.Header, id stream.ID) iter.Seq[string] {
	return func(yield func(string) bool) {
		fields := h.Fields()
		for i := range fields {
			if fields[i].ID == id && !yield(fields[i].Value) {
				return
			}
		}
	}
}
