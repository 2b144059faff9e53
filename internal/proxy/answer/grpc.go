package answer

import (
	"strings"

	"github.com/weirproxy/weir/internal/grpcstatus"
	"github.com/weirproxy/weir/stream"
)

// codes is what a kind of fault means to a gRPC client.
//
// They are those of gRPC's "HTTP to gRPC status code mapping" for the status of
// meanings (400 INTERNAL, 401 UNAUTHENTICATED, 403 PERMISSION_DENIED, 404
// UNIMPLEMENTED, 429 and 502 to 504 UNAVAILABLE, others UNKNOWN) where that
// says enough, and more exact where a kind says more than its status:
//
//   - whose time is up, whatever the limit: DEADLINE_EXCEEDED, which clients do
//     not take for an invitation to try again at once;
//   - more than a limit of size or rate allows: RESOURCE_EXHAUSTED;
//   - what cannot be had here however often it is asked for: UNIMPLEMENTED;
//   - what another try might get: UNAVAILABLE, the one code on which clients
//     retry by themselves;
//   - what breaks the protocol, on either side: INTERNAL.
//
// Codes that gRPC leaves to applications (INVALID_ARGUMENT, NOT_FOUND,
// ALREADY_EXISTS, FAILED_PRECONDITION, ABORTED, OUT_OF_RANGE, DATA_LOSS) are
// never ours, so that a client can tell whose word it was.
var codes = [stream.NumKinds]uint8{
	stream.Internal: grpcstatus.Internal,

	stream.RequestMalformed:   grpcstatus.Internal,
	stream.RequestLineTooLong: grpcstatus.ResourceExhausted,
	stream.HeadersTooLarge:    grpcstatus.ResourceExhausted,
	stream.TooManyHeaders:     grpcstatus.ResourceExhausted,
	stream.BodyTooLarge:       grpcstatus.ResourceExhausted,
	stream.VersionUnsupported: grpcstatus.Unimplemented,
	stream.MethodUnsupported:  grpcstatus.Unimplemented,
	stream.ExpectationUnknown: grpcstatus.Internal,
	stream.UpgradeRefused:     grpcstatus.Internal,
	stream.HeadTimeout:        grpcstatus.DeadlineExceeded,
	stream.BodyTimeout:        grpcstatus.DeadlineExceeded,
	stream.ClientGone:         grpcstatus.Cancelled,
	stream.ClientTooSlow:      grpcstatus.DeadlineExceeded,
	stream.Misdirected:        grpcstatus.PermissionDenied, // UNAVAILABLE would be tried again on the same connection
	stream.TooEarly:           grpcstatus.Unavailable,
	stream.AbusiveClient:      grpcstatus.ResourceExhausted,
	stream.ContentUnsupported: grpcstatus.Internal,
	stream.ProxyHeaderBad:     grpcstatus.Internal,

	stream.NoRoute:         grpcstatus.Unimplemented,
	stream.NoCluster:       grpcstatus.Unavailable,
	stream.NoEndpoint:      grpcstatus.Unavailable,
	stream.ClusterFull:     grpcstatus.Unavailable,
	stream.RequestTimeout:  grpcstatus.DeadlineExceeded,
	stream.Overloaded:      grpcstatus.Unavailable,
	stream.Draining:        grpcstatus.Unavailable,
	stream.Unauthenticated: grpcstatus.Unauthenticated,
	stream.Unverifiable:    grpcstatus.Unavailable,
	stream.Forbidden:       grpcstatus.PermissionDenied,
	stream.RateLimited:     grpcstatus.ResourceExhausted,
	stream.LoopDetected:    grpcstatus.Internal, // another try would go round as well
	stream.FaultInjected:   grpcstatus.Unavailable,

	stream.NameUnresolved:    grpcstatus.Unavailable,
	stream.ConnectRefused:    grpcstatus.Unavailable,
	stream.ConnectTimeout:    grpcstatus.Unavailable,
	stream.ConnectFailed:     grpcstatus.Unavailable,
	stream.TLSFailed:         grpcstatus.Unavailable,
	stream.UpstreamClosed:    grpcstatus.Unavailable,
	stream.UpstreamReset:     grpcstatus.Unavailable,
	stream.UpstreamTimeout:   grpcstatus.DeadlineExceeded,
	stream.UpstreamTooSlow:   grpcstatus.DeadlineExceeded,
	stream.ResponseMalformed: grpcstatus.Internal,
	stream.ResponseTooLarge:  grpcstatus.ResourceExhausted,
	stream.ResponseTruncated: grpcstatus.Unavailable,
}

// respondGRPC makes the answer to a gRPC call: 200 and the status in the
// header, without content ("Trailers-Only" of gRPC over HTTP/2). gRPC-Web has
// the same form.
func (a *Stage) respondGRPC(req *stream.Request, f *stream.Fault) *stream.Response {
	p := &a.pages[f.Kind]
	code := codes[f.Kind]
	req.Exchange.GRPCStatus = code + 1
	resp := &stream.Response{Status: 200, Body: stream.NoBody}
	h := &resp.Header
	h.Grow(5)
	h.AddID(stream.ContentType, grpcType(req))
	h.Append(stream.Field{Name: "grpc-status", Value: grpcstatus.Decimal(code)})
	h.Append(stream.Field{Name: "grpc-message", Value: p.message(f.Limit, req.ID)})
	h.AddID(stream.ProxyStatus, p.proxyStatus)
	addRetry(h, req, f)
	return resp
}

// message is the value of grpc-message. limit and id are shown on the terms of
// body; as words they need no percent-encoding.
func (p *page) message(limit, id string) string {
	out := make([]byte, 0, len(p.grpcMessage)+len(limit)+len(id)+32)
	out = append(out, p.grpcMessage...)
	if isWord(limit) {
		out = append(append(append(out, " Limit: "...), limit...), '.')
	}
	if isWord(id) {
		out = append(append(append(out, " Request id: "...), id...), '.')
	}
	return string(out)
}

// maxSubtype bounds what is sent back of the type of a request.
const maxSubtype = 64

// grpcType is the content type of the answer: that of the request without its
// parameters, so that a client finds the message format that it asked with.
func grpcType(req *stream.Request) string {
	contentType, _ := req.Header.GetID(stream.ContentType)
	contentType, _, _ = strings.Cut(contentType, ";")
	contentType = strings.TrimRight(contentType, " \t")
	base := grpcTypes[req.GRPC]
	if len(contentType) < len(base) || !stream.EqualFold(contentType[:len(base)], base) {
		return base
	}
	subtype := contentType[len(base):]
	if len(subtype) > maxSubtype || len(subtype) < 2 || subtype[0] != '+' || !isWord(subtype[1:]) {
		return base
	}
	return contentType
}

var grpcTypes = [...]string{
	stream.GRPCCall:    "application/grpc",
	stream.GRPCWeb:     "application/grpc-web",
	stream.GRPCWebText: "application/grpc-web-text",
}
