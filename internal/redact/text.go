package redact

import "strings"

// Text is s with the values of hidden parameters replaced wherever s holds
// something like "key=value" behind "?", "&", ";" or "#": a URL in a Referer
// or Location field, an error that quotes one.
func (p *Policy) Text(s string) string {
	if p == nil || len(p.query) == 0 || strings.IndexByte(s, '=') < 0 {
		return s
	}
	return string(p.AppendText(nil, s))
}

// AppendText appends Text(s) to dst.
func (p *Policy) AppendText(dst []byte, s string) []byte {
	if p == nil || len(p.query) == 0 {
		return append(dst, s...)
	}
	for s != "" {
		at := strings.IndexAny(s, "?&;#")
		if at < 0 {
			break
		}
		dst = append(dst, s[:at+1]...)
		s = s[at+1:]
		end := strings.IndexAny(s, "?&;# \t\"'<>\\")
		if end < 0 {
			end = len(s)
		}
		dst = p.appendPair(dst, s[:end])
		s = s[end:]
	}
	return append(dst, s...)
}

// Value is the value of a header field as it may be shown.
func (p *Policy) Value(name, value string) string {
	if p.Header(name) {
		return Mark
	}
	return p.Text(value)
}
