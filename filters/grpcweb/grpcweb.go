// Package grpcweb is the filter that turns gRPC-Web, which browsers speak, into
// gRPC: the same messages, with the trailer as the last frame of the body and,
// in its text form, in base64 (gRPC "gRPC Web" protocol).
package grpcweb

import (
	"context"
	_ "embed"
	"strings"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/stream"
)

//go:embed README.md
var readme string

// Settings of the filter: there is nothing to set.
type Settings struct{}

// Definition of the filter.
func Definition() filter.Definition {
	return filter.Define(filter.Spec[Settings]{
		Name: "grpc_web", Stage: filter.Transform, Status: filter.Stable, Trust: filter.HostileBoth,
		Readme:  readme,
		Calls:   true,
		Default: func() Settings { return Settings{} },
		Check:   func(*Settings, *config.Report) {},
		Build: func(_ Settings, _ filter.Env, next stream.Service) (stream.Service, error) {
			return &service{next: next}, nil
		},
	})
}

const (
	callType = "application/grpc"
	webType  = "application/grpc-web"
	textType = "application/grpc-web-text"
)

type service struct{ next stream.Service }

// Serve implements stream.Service.
func (s *service) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	kind := req.GRPC
	if kind != stream.GRPCWeb && kind != stream.GRPCWebText {
		return s.next.Serve(ctx, req)
	}
	asked, _ := req.Header.GetID(stream.ContentType)
	text := wantsText(&req.Header, kind)
	toCall(req, asked)
	resp, err := s.next.Serve(ctx, req)
	if err != nil { // the answer is made for the client, in its form
		req.GRPC = kind
		req.Header.SetID(stream.ContentType, asked)
		return nil, err
	}
	toWeb(req, resp, text)
	return resp, nil
}

// wantsText tells whether the response is in base64: as Accept says, or else
// as the request is.
func wantsText(h *stream.Header, kind stream.GRPC) bool {
	accept, _ := h.GetID(stream.Accept)
	web := false
	for media := range strings.SplitSeq(accept, ",") {
		media, _, _ = strings.Cut(media, ";")
		media = strings.Trim(media, " \t")
		switch {
		case isType(media, textType):
			return true
		case isType(media, webType):
			web = true
		}
	}
	return !web && kind == stream.GRPCWebText
}

// isType tells whether media is base, perhaps with a subtype behind "+".
func isType(media, base string) bool {
	return len(media) >= len(base) && stream.EqualFold(media[:len(base)], base) && (len(media) == len(base) || media[len(base)] == '+')
}

// subtype is the message format of a content type: "+proto", or "". Parameters
// are left out.
func subtype(contentType string) string {
	contentType, _, _ = strings.Cut(contentType, ";")
	if plus := strings.IndexByte(contentType, '+'); plus >= 0 {
		return strings.TrimRight(contentType[plus:], " \t")
	}
	return ""
}

// toCall makes the request a gRPC call.
func toCall(req *stream.Request, asked string) {
	if req.GRPC == stream.GRPCWebText {
		if req.Length != 0 || req.Body != stream.NoBody {
			req.Body, req.Length = &decoder{body: req.Body}, -1
		}
	}
	req.GRPC = stream.GRPCCall
	req.Header.SetID(stream.ContentType, callType+subtype(asked))
	// They speak about gRPC-Web, which ends here.
	req.Header.DelID(stream.Accept)
	req.Header.Del("x-grpc-web")
}

// toWeb gives the client its own form of a response. What is no gRPC (the page
// of another proxy) passes as it is.
func toWeb(req *stream.Request, resp *stream.Response, text bool) {
	contentType, _ := resp.Header.GetID(stream.ContentType)
	media, _, _ := strings.Cut(contentType, ";")
	if !isType(strings.TrimRight(media, " \t"), callType) {
		return
	}
	base := webType
	if text {
		base = textType
	}
	resp.Header.SetID(stream.ContentType, base+subtype(contentType))
	_, inHeader := stream.GRPCStatus(&resp.Header)
	if inHeader && (resp.Length == 0 || resp.Body == stream.NoBody) {
		return // Trailers-Only: the same in gRPC-Web
	}
	body := &webBody{Body: resp.Body, exchange: &req.Exchange, status: inHeader}
	resp.Body, resp.Length = body, -1
	if text {
		resp.Body = &encoder{body: body}
	}
}
