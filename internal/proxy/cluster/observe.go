package cluster

import (
	"context"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/internal/grpcstatus"
	"github.com/weirproxy/weir/stream"
)

// observer is a Picker that learns from attempts how long endpoints take. Every
// attempt is told with one call at most, also that of a hedge.
type observer interface {
	// Answered is an attempt that was answered as it should be.
	Answered(ep *endpoint.Endpoint, took time.Duration, now time.Time)
	// Failed is one that failed, or was refused for too many requests. after is
	// when the endpoint wants to be asked again; 0: it did not say.
	Failed(ep *endpoint.Endpoint, took, after time.Duration, now time.Time)
	// Errored is one that was answered with an error that may be the request's.
	Errored(ep *endpoint.Endpoint, took time.Duration, now time.Time)
	// Broken is one that was given up before there was an answer.
	Broken(ep *endpoint.Endpoint, took time.Duration, now time.Time)
}

// observe tells the picker, and the tally of ep if there is one, how an attempt
// went that began then: what the ejector is told in judge, with the time that it
// took.
func (c *Cluster) observe(ctx context.Context, ep *endpoint.Endpoint, req *stream.Request, began time.Time, resp *stream.Response, f *stream.Fault) {
	if t := ep.Tally(); t != nil {
		countAnswer(ctx, t, req, began, resp, f)
	}
	if c.observer == nil {
		return
	}
	if f != nil {
		c.observeFault(ctx, ep, req, began, f)
		return
	}
	now := req.Exchange.UpstreamHead
	took := now.Sub(began)
	code, isEarly := early(req, resp)
	after, _ := retryAfter(resp, now)
	switch {
	case isEarly && code == grpcstatus.DeadlineExceeded:
		c.observer.Broken(ep, took, now) // whose deadline it was, nobody says
	case isEarly && (code == grpcstatus.Unavailable || code == grpcstatus.ResourceExhausted), blamesStatus(resp.Status), resp.Status == 429:
		c.observer.Failed(ep, took, after, now)
	case isEarly && errsGRPC(code), resp.Status >= 500:
		c.observer.Errored(ep, took, now)
	default:
		c.observer.Answered(ep, took, now)
	}
}

// errsGRPC tells whether a status is an error of the service, as 500 is, and not an
// answer to a request that could not be granted.
func errsGRPC(code uint8) bool {
	switch code {
	case grpcstatus.Unknown, grpcstatus.Internal, grpcstatus.DataLoss, grpcstatus.Unimplemented:
		return true
	}
	return false
}

// observeFault: a time that was up says only that it was not enough.
func (c *Cluster) observeFault(ctx context.Context, ep *endpoint.Endpoint, req *stream.Request, began time.Time, f *stream.Fault) {
	now := time.Now()
	stale := req.Exchange.Reused && f.Retry == stream.RetryUnsent
	switch {
	case ctx.Err() != nil, f.Kind == stream.UpstreamTimeout && f.Retry != stream.RetryUnsent:
		c.observer.Broken(ep, now.Sub(began), now)
	case blames(f) && !stale:
		c.observer.Failed(ep, now.Sub(began), 0, now)
	}
}
