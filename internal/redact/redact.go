// Package redact holds the one declaration of what no output may show: names
// of header fields and of query parameters. Access log, admin pages, explain
// and errors ask the same Policy.
//
// It errs on the side of hiding: names compare without case, encoded names
// are decoded first, and both "&" and ";" end a parameter, because upstreams
// differ in what they accept.
package redact

import (
	"sort"
	"strings"
)

// Mark stands in place of a hidden value.
const Mark = "[redacted]"

// always are hidden whatever the document says.
var always = [...]string{"authorization", "proxy-authorization", "cookie", "set-cookie"}

// Policy is immutable and safe for concurrent use. A nil Policy hides the
// header fields that are always hidden, and no parameters.
type Policy struct {
	headers map[string]bool // lower case, without those of always
	query   map[string]bool // lower case
}

// New makes the policy of the document's lists.
func New(headers, query []string) *Policy {
	p := &Policy{headers: make(map[string]bool, len(headers)), query: make(map[string]bool, len(query))}
	for _, name := range headers {
		p.headers[strings.ToLower(name)] = true
	}
	for _, key := range query {
		p.query[strings.ToLower(key)] = true
	}
	return p
}

// Header tells whether the values of that header field are hidden.
func (p *Policy) Header(name string) bool {
	name = strings.ToLower(name)
	return isAlways(name) || p != nil && p.headers[name]
}

// Headers lists the hidden header fields in lower case, sorted.
func (p *Policy) Headers() []string {
	names := append([]string(nil), always[:]...)
	if p != nil {
		for name := range p.headers {
			if !isAlways(name) {
				names = append(names, name)
			}
		}
	}
	sort.Strings(names)
	return names
}

func isAlways(name string) bool {
	for _, hidden := range always {
		if name == hidden {
			return true
		}
	}
	return false
}

// QueryKey tells whether the values of that decoded parameter are hidden.
// "token[]" and "token[a]" are "token" to many upstreams, and here.
func (p *Policy) QueryKey(key string) bool {
	if p == nil || len(p.query) == 0 {
		return false
	}
	key = strings.ToLower(strings.TrimSpace(key))
	if p.query[key] {
		return true
	}
	if at := strings.IndexByte(key, '['); at > 0 {
		return p.query[key[:at]]
	}
	return false
}

// Query is raw, a query without its "?", with the hidden values replaced.
func (p *Policy) Query(raw string) string {
	if p == nil || len(p.query) == 0 {
		return raw
	}
	return string(p.AppendQuery(nil, raw))
}

// AppendQuery appends Query(raw) to dst.
func (p *Policy) AppendQuery(dst []byte, raw string) []byte {
	if p == nil || len(p.query) == 0 {
		return append(dst, raw...)
	}
	from := 0
	for i := 0; i <= len(raw); i++ {
		if i < len(raw) && raw[i] != '&' && raw[i] != ';' {
			continue
		}
		dst = p.appendPair(dst, raw[from:i])
		if i < len(raw) {
			dst = append(dst, raw[i])
		}
		from = i + 1
	}
	return dst
}

func (p *Policy) appendPair(dst []byte, pair string) []byte {
	at := strings.IndexByte(pair, '=')
	if at < 0 || !p.hiddenKey(pair[:at]) {
		return append(dst, pair...)
	}
	return append(append(dst, pair[:at+1]...), Mark...)
}

// hiddenKey asks for a key as it stands in a URL. The decoded key lives on
// the stack; the longest names anybody hides fit.
func (p *Policy) hiddenKey(raw string) bool {
	if len(raw) > maxKey {
		return p.QueryKey(string(unescape(make([]byte, 0, len(raw)), raw)))
	}
	var room [maxKey]byte
	return p.hiddenBytes(unescape(room[:0], raw))
}

// maxKey is the longest encoded key that is decoded without an allocation.
const maxKey = 128

// hiddenBytes is QueryKey without a conversion; key may be changed.
func (p *Policy) hiddenBytes(key []byte) bool {
	for len(key) > 0 && key[0] <= ' ' {
		key = key[1:]
	}
	for len(key) > 0 && key[len(key)-1] <= ' ' {
		key = key[:len(key)-1]
	}
	for i, c := range key {
		if c >= 0x80 {
			return p.QueryKey(string(key))
		}
		if 'A' <= c && c <= 'Z' {
			key[i] = c | 0x20
		}
	}
	if p.query[string(key)] {
		return true
	}
	for i, c := range key {
		if c == '[' && i > 0 {
			return p.query[string(key[:i])]
		}
	}
	return false
}

// unescape decodes %XX and "+". What is not a valid escape stays.
func unescape(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			c = unhex(s[i+1])<<4 | unhex(s[i+2])
			i += 2
		}
		dst = append(dst, c)
	}
	return dst
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
