package answer

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/internal/grpcstatus"
	"github.com/weirproxy/weir/stream"
)

func call(contentType string) *stream.Request {
	req := filtertest.Request("POST", "http://h/pkg.Service/Method", "Content-Type: "+contentType)
	req.GRPC = stream.GRPCOf(req.Method, &req.Header)
	return req
}

func field(t *testing.T, resp *stream.Response, name string) string {
	t.Helper()
	value, ok := resp.Header.Get(name)
	if !ok || resp.Header.Count(name) != 1 {
		t.Errorf("%d fields %s", resp.Header.Count(name), name)
	}
	return value
}

// Every kind has a code, and none shows the cause.
func TestGRPCEveryKind(t *testing.T) {
	applications := map[uint8]bool{
		grpcstatus.OK: true, grpcstatus.InvalidArgument: true, grpcstatus.NotFound: true, grpcstatus.AlreadyExists: true,
		grpcstatus.FailedPrecondition: true, grpcstatus.Aborted: true, grpcstatus.OutOfRange: true, grpcstatus.DataLoss: true,
	}
	for kind := range stream.NumKinds {
		if applications[codes[kind]] {
			t.Errorf("%s is %s, which is not a proxy's to say", kind, grpcstatus.Name(codes[kind]))
		}
		fault := &stream.Fault{Kind: kind, Limit: "max_header_count", Cause: errors.New("secret 10.1.2.3")}
		req := call("application/grpc")
		resp, err := failing(fault).Serve(context.Background(), req)
		if err != nil || resp.Status != 200 || resp.Body != stream.NoBody || resp.Length != 0 {
			t.Fatalf("%s: %+v, %v", kind, resp, err)
		}
		if got, want := field(t, resp, "grpc-status"), grpcstatus.Decimal(codes[kind]); got != want {
			t.Errorf("%s: grpc-status %s, want %s", kind, got, want)
		}
		message, err := url.PathUnescape(field(t, resp, "grpc-message"))
		if want := meanings[kind].text + " Limit: max_header_count. Request id: test-1."; err != nil || message != want {
			t.Errorf("%s: grpc-message %q, want %q (%v)", kind, message, want, err)
		}
		if status := field(t, resp, "Proxy-Status"); !strings.Contains(status, `details="`+kind.String()+`"`) {
			t.Errorf("%s: Proxy-Status %s", kind, status)
		}
		x := &req.Exchange
		if sent := x.Status; x.Fault != fault || x.GRPCStatus != codes[kind]+1 || sent != 200 && kind != stream.ClientGone || sent != 0 && kind == stream.ClientGone {
			t.Errorf("%s: the exchange has %v, %d, gRPC status %d", kind, x.Fault, sent, x.GRPCStatus)
		}
	}
}

// One of each reason for a code.
func TestGRPCCodes(t *testing.T) {
	for kind, want := range map[stream.Kind]string{
		stream.Internal: "INTERNAL", stream.RequestMalformed: "INTERNAL", stream.HeadersTooLarge: "RESOURCE_EXHAUSTED",
		stream.BodyTooLarge: "RESOURCE_EXHAUSTED", stream.RateLimited: "RESOURCE_EXHAUSTED", stream.ClientGone: "CANCELLED",
		stream.NoRoute: "UNIMPLEMENTED", stream.Unauthenticated: "UNAUTHENTICATED", stream.Forbidden: "PERMISSION_DENIED",
		stream.RequestTimeout: "DEADLINE_EXCEEDED", stream.UpstreamTimeout: "DEADLINE_EXCEEDED", stream.BodyTimeout: "DEADLINE_EXCEEDED",
		stream.ClusterFull: "UNAVAILABLE", stream.NoEndpoint: "UNAVAILABLE", stream.Overloaded: "UNAVAILABLE", stream.Draining: "UNAVAILABLE",
		stream.ConnectRefused: "UNAVAILABLE", stream.ConnectTimeout: "UNAVAILABLE", stream.UpstreamReset: "UNAVAILABLE",
		stream.ResponseMalformed: "INTERNAL",
	} {
		if got := grpcstatus.Name(codes[kind]); got != want {
			t.Errorf("%s is %s, want %s", kind, got, want)
		}
	}
}

// The type is that of the request; what is no plain subtype is not sent back.
func TestGRPCContentType(t *testing.T) {
	for sent, want := range map[string]string{
		"application/grpc":                                 "application/grpc",
		"application/grpc+proto":                           "application/grpc+proto",
		"APPLICATION/GRPC+Json":                            "APPLICATION/GRPC+Json",
		"application/grpc+proto ; charset=utf-8":           "application/grpc+proto",
		"application/grpc;x=\"y":                           "application/grpc",
		"application/grpc+":                                "application/grpc",
		"application/grpc+a b":                             "application/grpc",
		"application/grpc+" + strings.Repeat("x", 1<<10):   "application/grpc",
		"application/grpc-web":                             "application/grpc-web",
		"application/grpc-web+proto":                       "application/grpc-web+proto",
		"application/grpc-web-text+proto; charset=x":       "application/grpc-web-text+proto",
		"application/grpc-web-text":                        "application/grpc-web-text",
		"Application/Grpc-Web-Text+<script>alert</script>": "application/grpc-web-text",
	} {
		req := call(sent)
		if req.GRPC == stream.NotGRPC {
			t.Fatalf("%q is no call", sent)
		}
		if got := field(t, stage(nil).Respond(req, &stream.Fault{Kind: stream.NoRoute}), "Content-Type"); got != want {
			t.Errorf("%q is answered with %q, want %q", sent, got, want)
		}
	}
	// A filter may have changed the kind and left the type, or the other way round.
	req := call("text/plain")
	req.GRPC = stream.GRPCCall
	if got := field(t, stage(nil).Respond(req, &stream.Fault{}), "Content-Type"); got != "application/grpc" {
		t.Errorf("text/plain gives %q", got)
	}
}

func TestGRPCRetryAfter(t *testing.T) {
	fault := &stream.Fault{Kind: stream.RateLimited, RetryAfter: 1500 * time.Millisecond}
	if got := field(t, stage(nil).Respond(call("application/grpc"), fault), "Retry-After"); got != "2" {
		t.Errorf("Retry-After %s", got)
	}
}

func TestGRPCPanic(t *testing.T) {
	a := stage(func(context.Context, *stream.Request) (*stream.Response, error) { panic("secret") })
	resp, err := a.Serve(context.Background(), call("application/grpc"))
	if err != nil || field(t, resp, "grpc-status") != "13" || strings.Contains(field(t, resp, "grpc-message"), "secret") {
		t.Errorf("%+v, %v", resp, err)
	}
}

// Neither limit nor id, if a stage lets something else come here, can begin a
// new field.
func TestGRPCNoInjection(t *testing.T) {
	req := call("application/grpc")
	req.ID = "a\r\ngrpc-status: 0"
	resp := stage(nil).Respond(req, &stream.Fault{Kind: stream.NoRoute, Limit: "b\nc"})
	if message := field(t, resp, "grpc-message"); strings.ContainsAny(message, "\r\n") {
		t.Errorf("grpc-message %q", message)
	}
}

func TestAllocsOfAGRPCAnswer(t *testing.T) {
	a := stage(nil)
	req := call("application/grpc+proto")
	fault := &stream.Fault{Kind: stream.ClusterFull, Limit: "max_requests"}
	// The response, the list of its fields, the message and its buffer.
	if n := testing.AllocsPerRun(100, func() { a.Respond(req, fault) }); n > 4 {
		t.Errorf("%v allocations for an answer, want 4 at most", n)
	}
}
