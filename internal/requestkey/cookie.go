package requestkey

import (
	"strings"

	"github.com/weirproxy/weir/stream"
)

// Cookie is the value of the first cookie of that name, which is compared byte
// for byte. Every Cookie field is looked at (HTTP/2 may send crumbs).
//
// The reading is strict (RFC 6265 section 4.2.1): a pair without "=", with a
// name that is no token or with a value outside of cookie-octet is not a
// cookie. One pair of double quotes around the value does not belong to it.
func Cookie(h *stream.Header, name string) (value string, ok bool) {
	fields := h.Fields()
	for i := range fields {
		if fields[i].ID != stream.Cookie {
			continue
		}
		if value, ok = cookieIn(fields[i].Value, name); ok {
			return value, true
		}
	}
	return "", false
}

func cookieIn(line, name string) (value string, ok bool) {
	for more := true; more; {
		var pair string
		pair, line, more = strings.Cut(line, ";")
		n, v, found := strings.Cut(trimBlanks(pair), "=")
		if !found || n != name || !stream.IsToken(n) {
			continue
		}
		if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
			v = v[1 : len(v)-1]
		}
		if isCookieValue(v) {
			return v, true
		}
	}
	return "", false
}

func trimBlanks(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// isCookieValue is *cookie-octet of RFC 6265: visible ASCII without the double
// quote, comma, semicolon and backslash.
func isCookieValue(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '"' || c == ',' || c == ';' || c == '\\' {
			return false
		}
	}
	return true
}
