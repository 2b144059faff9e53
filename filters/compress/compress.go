// Package compress is the filter that encodes responses with gzip, Brotli or
// Zstandard as the client accepts it, and decodes requests for upstreams that
// cannot. The libraries of the codings come in here only; nothing here starts
// a goroutine.
package compress

import (
	"context"
	_ "embed"

	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/stream"
)

//go:embed README.md
var readme string

// Definition of the filter.
func Definition() filter.Definition {
	return filter.Define(filter.Spec[Settings]{
		Name: "compress", Stage: filter.Transform, Status: filter.Stable, Trust: filter.HostileBoth,
		Readme:  readme,
		Default: defaults,
		Check:   check,
		Build: func(s Settings, _ filter.Env, next stream.Service) (stream.Service, error) {
			return newService(s, next), nil
		},
	})
}

type service struct {
	next      stream.Service
	responses *packer   // nil: responses are left alone
	requests  *unpacker // nil: requests are left alone
	strip     bool      // the upstream does not learn what the client accepts
}

func newService(s Settings, next stream.Service) *service {
	own := &service{next: next, strip: s.Responses.Upstream == upstreamStrip}
	if len(s.Responses.Encodings) > 0 {
		own.responses = newPacker(&s.Responses)
	}
	if s.Requests.Decode {
		own.requests = newUnpacker(&s.Requests)
	}
	return own
}

func (s *service) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	if !concerned(req) {
		return s.next.Serve(ctx, req)
	}
	if s.requests != nil {
		if fault := s.requests.unpack(req); fault != nil {
			req.Body.Close()
			return nil, fault
		}
	}
	if s.responses == nil {
		return s.next.Serve(ctx, req)
	}
	// Read now: what stands behind this filter may change the header.
	asked := read(req)
	if s.strip {
		req.Header.DelID(stream.AcceptEncoding)
	}
	resp, err := s.next.Serve(ctx, req)
	if err != nil {
		return nil, err
	}
	s.responses.pack(resp, &asked)
	return resp, nil
}

// concerned: messages of HTTP whose content is the message. gRPC has its own
// compression, inside its content; tunnels have no content.
func concerned(req *stream.Request) bool {
	switch req.Proto {
	case stream.TCP, stream.UDP, stream.Framed:
		return false
	}
	return req.GRPC == stream.NotGRPC && req.Upgrade == "" && req.Method != "CONNECT"
}

// asked is what a request says about its response.
type asked struct {
	accepts   accepts
	head      bool   // HEAD: the header as GET would have it, no content
	part      bool   // Range: a part of the content as it is
	untouched bool   // Cache-Control: no-transform
	known     string // If-None-Match
}

func read(req *stream.Request) asked {
	a := asked{accepts: acceptsOf(&req.Header), head: req.Method == "HEAD"}
	fields := req.Header.Fields()
	for i := range fields {
		switch f := &fields[i]; f.ID {
		case stream.Range:
			a.part = true
		case stream.CacheControl:
			a.untouched = a.untouched || hasMember(f.Value, "no-transform")
		case stream.IfNoneMatch:
			a.known = f.Value
		}
	}
	return a
}
