// Package answer is the only place that turns a fault into a response. It
// stands outermost, right behind the codec, and is the recover boundary of
// everything below it.
package answer

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/stream"
)

// Config of the stage.
type Config struct {
	// Log takes panics; nil: slog.Default.
	Log *slog.Logger
}

// Stats counts defects of ours. Faults are counted by the recorder, from
// Exchange.Fault.
type Stats struct {
	Panics atomic.Int64 // panics below, each answered as Internal
	Broken atomic.Int64 // stages that returned neither or both of response and error
}

// Stage is the answer stage.
type Stage struct {
	next  stream.Service
	log   *slog.Logger
	pages [stream.NumKinds]page
	stats Stats
}

// New makes the stage around next.
func New(next stream.Service, cfg Config) *Stage {
	a := &Stage{next: next, log: cfg.Log}
	if a.log == nil {
		a.log = slog.Default()
	}
	for kind := range stream.NumKinds {
		a.pages[kind] = newPage(kind)
	}
	return a
}

// Stats is what has been counted so far.
func (a *Stage) Stats() *Stats { return &a.stats }

// Serve answers with what is below, or with a response made from its fault. It
// never returns an error.
func (a *Stage) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	resp, f := a.serve(ctx, req)
	if f != nil {
		resp = a.Respond(req, f)
	}
	return resp, nil
}

// Respond makes the response for a fault and notes the fault in req.Exchange,
// with the status, which is 0 for a client that is gone or is hung up on: the
// codec notes another if it gets something sent after all. The codec asks it directly for
// requests that it could not read: of req only Method, Header, ID, GRPC and
// Exchange are used. It is never nil.
func (a *Stage) Respond(req *stream.Request, f *stream.Fault) *stream.Response {
	req.Exchange.Fault = f
	var resp *stream.Response
	if req.GRPC == stream.NotGRPC {
		resp = a.respondHTTP(req, f)
	} else {
		resp = a.respondGRPC(req, f)
	}
	req.Exchange.Status = resp.Status
	if f.Kind == stream.ClientGone || f.HangsUp() {
		req.Exchange.Status = 0
	}
	return resp
}

func (a *Stage) respondHTTP(req *stream.Request, f *stream.Fault) *stream.Response {
	p := &a.pages[f.Kind]
	format := negotiate(&req.Header)
	body := p.body(format, f.Limit, req.ID)
	resp := &stream.Response{Status: p.status, Body: stream.NoBody, Length: int64(len(body))}
	if req.Method != "HEAD" {
		resp.Body = stream.BytesBody(body)
	}
	h := &resp.Header
	h.Grow(4)
	h.AddID(stream.ContentType, contentTypes[format])
	h.AddID(stream.CacheControl, "no-store") // 404, 414 and 501 may be cached else
	h.AddID(stream.ProxyStatus, p.proxyStatus)
	addRetry(h, req, f)
	return resp
}

// addRetry says when to try again, and to other proxies that they must not, and
// adds what the fault itself has for the client.
func addRetry(h *stream.Header, req *stream.Request, f *stream.Fault) {
	if req.Exchange.RetryRefused != "" {
		h.Add(stream.RetryHeader, stream.RetrySpent)
	}
	if f.Header != nil {
		for _, field := range f.Header.Fields() {
			h.Append(field)
		}
	}
	if f.RetryAfter > 0 {
		seconds := (f.RetryAfter + time.Second - 1) / time.Second
		h.AddID(stream.RetryAfter, strconv.FormatInt(int64(seconds), 10))
	}
}

// serve holds what is below to its contract: a response, or a fault, and no
// panic.
func (a *Stage) serve(ctx context.Context, req *stream.Request) (resp *stream.Response, f *stream.Fault) {
	defer func() {
		if cause := recover(); cause != nil {
			resp, f = nil, a.panicked(req, cause)
		}
	}()
	resp, err := a.next.Serve(ctx, req)
	if err == nil && resp != nil {
		return resp, nil
	}
	if err == nil {
		a.stats.Broken.Add(1)
		return nil, stream.Faultf(stream.Internal, stream.RetryNever, "a stage returned neither response nor fault")
	}
	if resp != nil {
		a.stats.Broken.Add(1)
		if resp.Body != nil {
			resp.Body.Close()
		}
	}
	if f = stream.AsFault(err); f == nil { // an error that holds a nil *Fault
		a.stats.Broken.Add(1)
		return nil, stream.Faultf(stream.Internal, stream.RetryNever, "a stage returned a fault that is nil")
	}
	return nil, f
}

func (a *Stage) panicked(req *stream.Request, cause any) *stream.Fault {
	a.stats.Panics.Add(1)
	a.log.Error("panic while serving a request; it is answered as an internal error",
		"request_id", req.ID, "route", req.Exchange.Route.Name, "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
	if req.Body != nil {
		req.Body.Close()
	}
	// A stage that panicked behind the call of the next one held the response.
	if content := req.Exchange.Content; content != nil {
		content.Close()
	}
	return stream.Faultf(stream.Internal, stream.RetryNever, "panic: %v", cause)
}
