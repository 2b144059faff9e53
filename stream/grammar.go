package stream

import "strings"

// IsToken tells whether s is a token of RFC 9110 section 5.6.2: the grammar of
// methods, field names and the names in many fields. The codecs, which judge
// every byte of a head, have tables of their own.
func IsToken(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// BadValueByte finds the first byte that may not stand in a field value that a
// document writes: what is no visible ASCII, and blanks at either end (RFC 9110
// section 5.5, without obs-text). -1: there is none.
func BadValueByte(s string) int {
	for i := 0; i < len(s); i++ {
		c := s[i]
		blank := c == ' ' || c == '\t'
		if blank && (i == 0 || i == len(s)-1) || !blank && (c <= ' ' || c > '~') {
			return i
		}
	}
	return -1
}
