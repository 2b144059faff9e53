package stream

import (
	"errors"
	"iter"
	"strings"
	"unicode/utf8"
)

// MaxQueryParams is the largest number of parameters of a query. What stands
// behind it is not looked at by anyone, the upstream included: the request is
// refused.
const MaxQueryParams = 1000

var (
	errQueryEscape = errors.New("query has broken percent-encoding")
	errQueryByte   = errors.New(`query has a control character, a space, "#" or bytes that are not UTF-8`)
)

// checkQuery refuses what parsers are known to read differently. The bytes stay
// as they were sent: signatures are made over them.
func checkQuery(q string) *Fault {
	params, high := 1, false
	for i := 0; i < len(q); i++ {
		switch c := q[i]; {
		case c == '&':
			params++
		case c == '%':
			if _, ok := unescape(q[i:]); !ok {
				return &Fault{Kind: RequestMalformed, Cause: errQueryEscape}
			}
			i += 2
		case c <= ' ' || c == 0x7f || c == '#':
			return &Fault{Kind: RequestMalformed, Cause: errQueryByte}
		case c >= utf8.RuneSelf:
			high = true
		}
	}
	if high && !utf8.ValidString(q) {
		return &Fault{Kind: RequestMalformed, Cause: errQueryByte}
	}
	if params > MaxQueryParams {
		return &Fault{Kind: RequestMalformed, Limit: "max_query_parameters"}
	}
	return nil
}

// QueryParams goes over the parameters in order, decoded: "+" is a space, ";"
// stands for itself (WHATWG URL, as upstreams read it). Empty parts between
// two "&" are no parameters. A value without an escape is not copied.
func (t Target) QueryParams() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for rest := t.Query; rest != ""; {
			var part string
			part, rest, _ = strings.Cut(rest, "&")
			if part == "" {
				continue
			}
			name, value, _ := strings.Cut(part, "=")
			if !yield(decodeParam(name), decodeParam(value)) {
				return
			}
		}
	}
}

// QueryGet is the value of the first parameter of that name.
func (t Target) QueryGet(name string) (value string, ok bool) {
	for n, v := range t.QueryParams() {
		if n == name {
			return v, true
		}
	}
	return "", false
}

// decodeParam decodes what checkQuery has passed. An escape that is broken
// nevertheless, in a Target made by hand, stands for itself.
func decodeParam(s string) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '+' {
			c = ' '
		} else if decoded, ok := unescape(s[i:]); c == '%' && ok {
			c = decoded
			i += 2
		}
		out = append(out, c)
	}
	return string(out)
}
