// Package stream holds the words of the request path: what a request, a
// response, a header, a body and a fault are, and the one shape that every
// stage has, [Service].
//
// It is on the ground floor: it imports the standard library only, and every
// stage imports it. Nothing here reads a socket or a clock.
package stream

import "context"

// Service answers one request.
//
// Ownership: Serve closes req.Body on every path; the caller closes resp.Body.
// A request belongs to the connection that read it and is valid until Serve
// has returned and the response body is closed. Whoever keeps a part of it
// longer copies that part (strings may be kept; they are never overwritten).
//
// Cancellation: ctx ends the exchange, response body included.
//
// Result: exactly one of response and error is non-nil. An error is a *Fault:
// no response exists. A 503 from an upstream is a response.
type Service interface {
	Serve(ctx context.Context, req *Request) (*Response, error)
}

// ServiceFunc makes a Service of a function.
type ServiceFunc func(ctx context.Context, req *Request) (*Response, error)

// Serve calls f.
func (f ServiceFunc) Serve(ctx context.Context, req *Request) (*Response, error) { return f(ctx, req) }
