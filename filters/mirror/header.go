package mirror

import (
	"strings"

	"github.com/weirproxy/weir/stream"
)

// mark is the field that every copy has. A request that comes with it is not
// copied: two proxies that mirror to each other would otherwise send copies of
// copies for ever. It can only make fewer of them, so it is believed whoever
// sends it.
const mark = "Weir-Mirror"

// credentials are the fields that let who reads them act for the client. They
// go to another service than the one they were sent to only when the document
// names them in so many words (threats.md section 5).
var credentials = []string{
	"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "apikey", "x-auth-token", "x-access-token",
	"x-id-token", "x-csrf-token", "x-xsrf-token", "x-session-token", "x-amz-security-token", "x-goog-iap-jwt-assertion",
	"cf-access-jwt-assertion", "x-forwarded-access-token", "x-forwarded-client-cert", "x-vault-token", "private-token",
}

func isCredential(name string) bool {
	for _, c := range credentials {
		if stream.EqualLoose(c, name) {
			return true
		}
	}
	return false
}

// header makes the header of a copy.
type header struct {
	allow, remove []pattern
	set           []stream.Field
}

type pattern struct {
	name   string // without "*"
	id     stream.ID
	prefix bool
	// loose also matches spellings that a service may take for the same name
	// ("X_User" for "X-User").
	loose bool
}

func patterns(names []string, loose bool) []pattern {
	list := make([]pattern, len(names))
	for i, name := range names {
		stem, prefix := strings.CutSuffix(name, "*")
		list[i] = pattern{name: stem, id: stream.Lookup(stem), prefix: prefix, loose: loose}
	}
	return list
}

func compileHeader(h *Headers) header {
	made := header{allow: patterns(h.Allow, false), remove: patterns(h.Remove, true)}
	for _, f := range h.Set {
		made.set = append(made.set, stream.Field{Name: f.Name, Value: f.Value, ID: stream.Lookup(f.Name)})
	}
	return made
}

// of is the header of the copy of a request that has h: it begins empty.
func (c *header) of(h *stream.Header) stream.Header {
	var made stream.Header
	made.Grow(h.Len() + len(c.set) + 1)
	fields := h.Fields()
	for i := range fields {
		if f := &fields[i]; c.takes(f) {
			made.Append(*f)
		}
	}
	for _, f := range c.set {
		made.Append(f)
	}
	made.Add(mark, "1")
	return made
}

func (c *header) takes(f *stream.Field) bool {
	if f.ID == stream.Host { // it is the target's
		return false
	}
	for i := range c.set {
		if stream.EqualLoose(c.set[i].Name, f.Name) {
			return false
		}
	}
	for i := range c.remove {
		if c.remove[i].matches(f) {
			return false
		}
	}
	for i := range c.allow {
		if p := &c.allow[i]; p.matches(f) && (!p.prefix || !isCredential(f.Name)) {
			return true
		}
	}
	return false
}

func (p *pattern) matches(f *stream.Field) bool {
	name := f.Name
	switch {
	case p.prefix && len(name) >= len(p.name):
		name = name[:len(p.name)]
	case p.prefix:
		return false
	case p.id != stream.Unknown && p.id == f.ID:
		return true
	}
	if p.loose {
		return stream.EqualLoose(name, p.name)
	}
	return stream.EqualFold(name, p.name)
}
