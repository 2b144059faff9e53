// Package headers is the filter that adds, sets and removes header fields of
// requests and responses.
package headers

import (
	"context"
	_ "embed"
	"strings"

	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/stream"
)

//go:embed README.md
var readme string

// Definition of the filter.
func Definition() filter.Definition {
	return filter.Define(filter.Spec[Settings]{
		Name: "headers", Stage: filter.Transform, Status: filter.Stable, Trust: filter.HostileBoth,
		Readme:  readme,
		Default: func() Settings { return Settings{} },
		Check:   check,
		Build: func(s Settings, _ filter.Env, next stream.Service) (stream.Service, error) {
			return &service{
				request: compile(&s.Request, true), response: compile(&s.Response, false), next: next,
			}, nil
		},
	})
}

type service struct {
	request, response edit
	next              stream.Service
}

func (s *service) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	s.request.apply(&req.Header)
	resp, err := s.next.Serve(ctx, req)
	if err != nil {
		return nil, err
	}
	s.response.apply(&resp.Header)
	return resp, nil
}

// edit is a compiled Changes.
type edit struct {
	remove []pattern // those of set among them
	add    []stream.Field
	// loose also removes spellings that an upstream may take for the same
	// name ("X_User" for "X-User"): else a client could put its own value
	// beside the one that is set.
	loose bool
}

type pattern struct {
	name   string // without "*"
	id     stream.ID
	prefix bool
}

func compile(c *Changes, request bool) edit {
	e := edit{loose: request}
	for _, name := range c.Remove {
		stem, prefix := strings.CutSuffix(name, "*")
		e.remove = append(e.remove, pattern{name: stem, id: stream.Lookup(name), prefix: prefix})
	}
	for _, f := range c.Set {
		e.remove = append(e.remove, pattern{name: f.Name, id: stream.Lookup(f.Name)})
	}
	for _, list := range [][]Field{c.Set, c.Add} {
		for _, f := range list {
			e.add = append(e.add, stream.Field{Name: f.Name, Value: f.Value, ID: stream.Lookup(f.Name)})
		}
	}
	return e
}

func (e *edit) apply(h *stream.Header) {
	if len(e.remove) > 0 && e.finds(h) {
		h.DelFunc(e.removes)
	}
	for _, f := range e.add {
		h.Append(f)
	}
}

func (e *edit) finds(h *stream.Header) bool {
	fields := h.Fields()
	for i := range fields {
		if e.removes(&fields[i]) {
			return true
		}
	}
	return false
}

func (e *edit) removes(f *stream.Field) bool {
	for i := range e.remove {
		if p := &e.remove[i]; p.matches(f, e.loose) {
			return !p.prefix || !e.kept(f)
		}
	}
	return false
}

// kept are the fields of a request that a "*" does not reach: they could be
// named neither.
func (e *edit) kept(f *stream.Field) bool {
	return e.loose && (f.ID == stream.Host || stream.Owner(f) == stream.OwnedWritten)
}

func (p *pattern) matches(f *stream.Field, loose bool) bool {
	name := f.Name
	switch {
	case p.prefix && len(name) >= len(p.name):
		name = name[:len(p.name)]
	case p.prefix:
		return false
	case f.ID != stream.Unknown:
		return f.ID == p.id
	}
	if loose {
		return stream.EqualLoose(name, p.name)
	}
	return stream.EqualFold(name, p.name)
}
