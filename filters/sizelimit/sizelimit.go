// Package sizelimit is the filter that refuses requests and responses whose
// content is too large, and breaks off those that turn out to be.
package sizelimit

import (
	"context"
	_ "embed"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/stream"
)

//go:embed README.md
var readme string

// Settings of the filter size_limit.
type Settings struct {
	// Request is the largest content of a request; 0: any.
	Request config.Size `yaml:"request" json:"request"`
	// Response is the largest content of a response; 0: any.
	Response config.Size `yaml:"response" json:"response"`
	// Mode says what a refusal does: enforce refuses or breaks off, shadow counts
	// only.
	Mode string `yaml:"mode" json:"mode" enum:"enforce,shadow"`
}

// Definition of the filter.
func Definition() filter.Definition {
	return filter.Define(filter.Spec[Settings]{
		Name: "size_limit", Stage: filter.Protect, Status: filter.Experimental, Trust: filter.HostileBoth,
		Readme:  readme,
		Default: func() Settings { return Settings{Mode: "enforce"} },
		Check: func(s *Settings, report *config.Report) {
			if s.Request == 0 && s.Response == 0 {
				report.Warnf("", "write request: 1MiB or response: 10MiB, or remove the filter", "the filter limits nothing")
			}
		},
		Build: build,
	})
}

type service struct {
	next              stream.Service
	request, response *limit // nil: any size
}

// limit of one direction.
type limit struct {
	max    int64
	kind   stream.Kind
	word   string
	shadow bool
	over   *filter.Counter
}

func build(s Settings, env filter.Env, next stream.Service) (stream.Service, error) {
	result := "refused"
	if s.Mode == "shadow" {
		result = "shadow_refused"
	}
	limitOf := func(size config.Size, kind stream.Kind, direction string) *limit {
		if size == 0 {
			return nil
		}
		return &limit{
			max: int64(size), kind: kind, word: "size_limit." + direction, shadow: s.Mode == "shadow",
			over: env.Counter("weir_size_limit_refusals_total", "Content that was too large: refused, or would have been (shadow_refused).",
				"direction", direction, "result", result),
		}
	}
	return &service{
		next: next, request: limitOf(s.Request, stream.BodyTooLarge, "request"), response: limitOf(s.Response, stream.ResponseTooLarge, "response"),
	}, nil
}

func (s *service) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	if s.request != nil {
		body, fault := s.request.bound(req.Body, req.Length)
		if fault != nil {
			_ = req.Body.Close()
			return nil, fault
		}
		req.Body = body
	}
	resp, err := s.next.Serve(ctx, req)
	if err != nil || s.response == nil || !content(req, resp) {
		return resp, err
	}
	body, fault := s.response.bound(resp.Body, resp.Length)
	if fault != nil {
		resp.Body.Close()
		return nil, fault
	}
	resp.Body = body
	return resp, nil
}

// content tells whether a response has content: tunnels and answers to HEAD
// have none, whatever they declare.
func content(req *stream.Request, resp *stream.Response) bool {
	if _, tunnel := resp.Body.(stream.Duplex); tunnel {
		return false
	}
	return req.Method != "HEAD" && resp.Status != 204 && resp.Status != 304
}

// bound refuses content that is known to be too large, and bounds what has no
// known length; framing has bounded the rest.
func (l *limit) bound(body stream.Body, length int64) (stream.Body, *stream.Fault) {
	switch {
	case length > l.max:
		l.over.Add(1)
		if l.shadow {
			return body, nil
		}
		return nil, l.fault()
	case length >= 0:
		return body, nil
	}
	return &bounded{Body: body, limit: l, left: l.max}, nil
}

func (l *limit) fault() *stream.Fault { return &stream.Fault{Kind: l.kind, Limit: l.word} }
