package jwt

import (
	"fmt"
	"strings"

	"github.com/weirproxy/weir/stream"
)

// place is where the token of a request stands.
type place struct {
	header string    // "" for a cookie
	id     stream.ID // of header
	bearer bool      // behind the word Bearer
	cookie string
}

func parsePlace(text string) (place, error) {
	if text == "authorization" {
		return place{header: "Authorization", id: stream.Authorization, bearer: true}, nil
	}
	if name, ok := strings.CutPrefix(text, "header:"); ok && stream.IsToken(name) {
		switch id := stream.Lookup(name); id {
		case stream.Unknown, stream.Authorization, stream.ProxyAuthorization:
			return place{header: name, id: id}, nil
		default:
			return place{}, fmt.Errorf("%s is no header for a token", name)
		}
	}
	if name, ok := strings.CutPrefix(text, "cookie:"); ok && stream.IsToken(name) {
		return place{cookie: name}, nil
	}
	return place{}, fmt.Errorf("%q is no place of a token", text)
}

func (p *place) is(f *stream.Field) bool {
	if p.id != stream.Unknown {
		return f.ID == p.id
	}
	return f.ID == stream.Unknown && stream.EqualFold(f.Name, p.header)
}

// find is the token; ok is false when there is none. More than one is refused:
// which of them another reader takes is not known (RFC 6750 section 2).
func (p *place) find(h *stream.Header) (text string, ok bool, why reason) {
	if p.cookie != "" {
		return p.findCookie(h)
	}
	n := 0
	fields := h.Fields()
	for i := range fields {
		if p.is(&fields[i]) {
			text, n = fields[i].Value, n+1
		}
	}
	switch {
	case n == 0:
		return "", false, good
	case n > 1:
		return "", false, repeated
	case !p.bearer:
		return text, text != "", good
	}
	scheme, rest, _ := strings.Cut(text, " ")
	if !stream.EqualFold(scheme, "Bearer") {
		return "", false, good // other credentials, which are not judged here
	}
	return strings.Trim(rest, " "), true, good
}

func (p *place) findCookie(h *stream.Header) (text string, ok bool, why reason) {
	n := 0
	fields := h.Fields()
	for i := range fields {
		if fields[i].ID != stream.Cookie {
			continue
		}
		for line, more := fields[i].Value, true; more; {
			var pair string
			pair, line, more = strings.Cut(line, ";")
			if value, is := p.pair(pair); is {
				text, n = value, n+1
			}
		}
	}
	if n > 1 {
		return "", false, repeated
	}
	return text, n == 1, good
}

// pair is the value of a cookie with the name of the token, read as loosely as
// any upstream might, so that what is not found is not there.
func (p *place) pair(pair string) (value string, ok bool) {
	name, value, found := strings.Cut(pair, "=")
	if !found || strings.Trim(name, " \t") != p.cookie {
		return "", false
	}
	value = strings.Trim(value, " \t")
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		value = value[1 : len(value)-1]
	}
	return value, true
}

// remove takes the token out of the request.
func (p *place) remove(h *stream.Header) {
	if p.cookie == "" {
		h.DelFunc(func(f *stream.Field) bool { return p.is(f) && (!p.bearer || isBearer(f.Value)) })
		return
	}
	fields := h.Fields()
	for i := range fields {
		if fields[i].ID == stream.Cookie {
			fields[i].Value = p.without(fields[i].Value)
		}
	}
	h.DelFunc(func(f *stream.Field) bool { return f.ID == stream.Cookie && f.Value == "" })
}

func isBearer(value string) bool {
	scheme, _, _ := strings.Cut(value, " ")
	return stream.EqualFold(scheme, "Bearer")
}

// without is a Cookie field without the token; the same text when it has none.
func (p *place) without(line string) string {
	var kept []string
	found := false
	for _, pair := range strings.Split(line, ";") {
		if _, is := p.pair(pair); is {
			found = true
			continue
		}
		kept = append(kept, strings.Trim(pair, " \t"))
	}
	if !found {
		return line
	}
	return strings.Join(kept, "; ")
}
