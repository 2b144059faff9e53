package http1

import (
	"context"
	"strings"
	"testing"

	"github.com/weirproxy/weir/stream"
)

// gRPC over HTTP/1.1 (as gRPC-Web, or by way of a filter) has the facts that
// it has over HTTP/2.
func TestGRPCFacts(t *testing.T) {
	for _, c := range []struct {
		name, contentType, answer string
		kind                      stream.GRPC
		status                    uint8 // plus one
	}{
		{"in the trailer", "application/grpc+proto", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nGrpc-Status: 14\r\n\r\n", stream.GRPCCall, 15},
		{"in the head", "application/grpc", "HTTP/1.1 200 OK\r\nGrpc-Status: 5\r\nContent-Length: 0\r\n\r\n", stream.GRPCCall, 6},
		{"nowhere", "application/grpc-web", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", stream.GRPCWeb, 0},
		{"no call", "text/plain", "HTTP/1.1 200 OK\r\nGrpc-Status: 5\r\nContent-Length: 0\r\n\r\n", stream.NotGRPC, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOrigin(t)
			pool := newPool(t, o)
			var kind stream.GRPC
			e := newEdge(t, stream.ServiceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
				kind = req.GRPC
				return pool.Serve(ctx, req)
			}))
			p := e.dial()
			p.send(post + "Content-Type: " + c.contentType + "\r\nContent-Length: 0\r\n\r\n")
			up := o.accept()
			up.head()
			up.send(c.answer)
			p.head()
			if ex := e.exchange(0); kind != c.kind || ex.GRPCStatus != c.status {
				t.Errorf("kind %d, status %d, want %d, %d", kind, ex.GRPCStatus, c.kind, c.status)
			}
		})
	}
}

// RFC 8470 section 5: a proxy in front of us says that the request was early
// data; the upstream judges, and its 425 is for that proxy.
func TestEarlyDataIsPassedOn(t *testing.T) {
	o := newOrigin(t)
	e := newEdge(t, newPool(t, o))
	p := e.dial()
	p.send(get + "Early-Data: 1\r\n\r\n")
	up := o.accept()
	if _, fields := up.head(); !strings.Contains(strings.Join(fields, "\n"), "Early-Data: 1") {
		t.Errorf("the upstream got %q", fields)
	}
	up.send("HTTP/1.1 425 Too Early\r\nContent-Length: 0\r\n\r\n")
	if first, _ := p.head(); first != "HTTP/1.1 425 Too Early" {
		t.Errorf("got %q", first)
	}
}
