// Package transcode is the filter that serves gRPC methods as REST with JSON,
// by the google.api.http annotations of their descriptors. The protobuf runtime
// comes into the request path here only.
package transcode

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
		Name: "transcode", Stage: filter.Transform, Status: filter.Experimental, Trust: filter.HostileBoth,
		Readme:  readme,
		Calls:   true,
		Default: defaults,
		Check:   check,
		Load:    load,
		Build:   build,
	})
}

func build(s Settings, env filter.Env, next stream.Service) (stream.Service, error) {
	own := &service{next: next, options: optionsOf(&s), refuse: s.Unmatched == unmatchedRefuse}
	if s.Reflection {
		own.source = newReflected(next, env.Go, own.options)
		return own, nil
	}
	set, err := parseSet(s.Content)
	if err != nil {
		return nil, err
	}
	compiled, _, err := compile(set, own.options) // its problems were reported by load
	if err != nil {
		return nil, err
	}
	own.source = fixed{compiled}
	return own, nil
}

// source gives the schema in force; the response says why there is none.
type source interface {
	schema(ctx context.Context, req *stream.Request) (*schema, *stream.Response)
}

type fixed struct{ own *schema }

func (f fixed) schema(context.Context, *stream.Request) (*schema, *stream.Response) {
	return f.own, nil
}

type service struct {
	next    stream.Service
	source  source
	options options
	refuse  bool // what matches no method is answered with 404
}

func (s *service) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	if !concerned(req) {
		return s.next.Serve(ctx, req)
	}
	known, refusal := s.source.schema(ctx, req)
	if refusal != nil {
		req.Body.Close()
		return refusal, nil
	}
	m, found := known.routes.find(req.Method, req.Target.Path)
	if !found {
		if s.refuse {
			req.Body.Close()
			return errorResponse(known, status{code: codeNotFound, message: "no method is served under this path"}), nil
		}
		return s.next.Serve(ctx, req)
	}
	return s.transcode(ctx, req, known, &m)
}

// concerned: requests of HTTP that are not gRPC already.
func concerned(req *stream.Request) bool {
	switch req.Proto {
	case stream.TCP, stream.UDP, stream.Framed:
		return false
	}
	return req.GRPC == stream.NotGRPC && req.Upgrade == "" && req.Method != "CONNECT"
}

func (s *service) transcode(ctx context.Context, req *stream.Request, known *schema, m *match) (*stream.Response, error) {
	call := &call{schema: known, options: s.options, binding: m.binding, accept: formOf(&req.Header)}
	refusal, err := call.request(req, m)
	if refusal != nil || err != nil {
		req.Body.Close()
		return refusal, err
	}
	method := req.Method
	call.address(req)
	resp, err := s.next.Serve(ctx, req)
	// For whoever stands in front, this is the request that the client sent: a
	// fault is no gRPC status, and the log has its method.
	req.Method, req.GRPC = method, stream.NotGRPC
	if err != nil {
		return nil, err
	}
	return call.respond(resp)
}

// call is one request on its way.
type call struct {
	schema  *schema
	options options
	binding *binding
	accept  form
}

// address makes the request the gRPC call.
func (c *call) address(req *stream.Request) {
	if req.Exchange.Received == (stream.Target{}) {
		req.Exchange.Received = req.Target
	}
	target := req.Target.WithPath(c.binding.method.path)
	target.Query, target.HasQuery = "", false
	req.Target, req.Method, req.GRPC = target, "POST", stream.GRPCCall
	h := &req.Header
	h.DelFunc(func(f *stream.Field) bool {
		switch f.ID {
		case stream.ContentType, stream.ContentEncoding, stream.Accept, stream.AcceptEncoding, stream.Range, stream.IfRange:
			return true
		case stream.Unknown:
			return stream.EqualFold(f.Name, "grpc-encoding") || stream.EqualFold(f.Name, "grpc-accept-encoding")
		}
		return false
	})
	h.AddID(stream.ContentType, "application/grpc")
	h.Add("grpc-accept-encoding", "identity")
}
