package pool

import (
	"context"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

// Client is a connection that carries exchanges, one after the other: the
// client half of a codec. At the end of each it calls the release function
// that Dial was given.
type Client interface {
	Conn
	stream.Service
}

// Transport makes attempts at one endpoint over the connections of its pool.
// It implements endpoint.Transport.
type Transport[C Client] struct {
	*Pool[C]
	endpoint *endpoint.Endpoint
}

// NewTransport makes the transport of an endpoint with a pool of its own.
func NewTransport[C Client](g *Group, ep *endpoint.Endpoint, dial Dial[C]) *Transport[C] {
	return &Transport[C]{Pool: New(g, ep, dial), endpoint: ep}
}

// Serve makes one attempt. See endpoint.Transport.
func (t *Transport[C]) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	l, err := t.Get(ctx, req.Conn.ID, req.Fresh, attemptStart(req), req.Deadline)
	if err != nil {
		_ = req.Body.Close()
		return nil, err
	}
	return t.serveOn(ctx, l, req)
}

// attemptStart is when the attempt began, which the cluster stage has just said, or
// now for those that come from elsewhere, such as health checks.
func attemptStart(req *stream.Request) time.Time {
	if at := req.Exchange.AttemptStart; !at.IsZero() {
		return at
	}
	return time.Now()
}

// serveOn makes the attempt on the connection of l.
func (t *Transport[C]) serveOn(ctx context.Context, l *Lease[C], req *stream.Request) (*stream.Response, error) {
	// After the connection has called release, l may be another request's.
	reused, idled, began, serving := l.reused, l.idled, l.since.Add(l.idled), l.serving()
	l.req, l.endpoint = req, t.endpoint
	req.Exchange.Reused = reused

	returned := false
	defer func() {
		if !returned {
			l.discard(serving)
		}
	}()
	resp, err := l.Conn.Serve(ctx, req)
	returned = true
	if err != nil {
		l.discard(serving)
		if reused && closedEarly(stream.AsFault(err), began) {
			t.group.Stats.Stale.Add(1)
			t.noteClose(idled)
		}
		return nil, err
	}
	if !l.phase.CompareAndSwap(serving, serving&^phaseMask|phaseHanded) {
		// The response is in memory, the exchange is over.
		if req.Exchange.UpstreamEnd.IsZero() {
			req.Exchange.UpstreamEnd = time.Now()
		}
		t.endpoint.Ended()
	}
	return resp, nil
}

// tooLate is the time after which an upstream that closes the connection
// rather failed at the request than missed it.
const tooLate = time.Second

// closedEarly tells whether a pooled connection turned out closed: before the
// request was sent, or so soon after it that the request and the close met on
// the way. Only the first is safe to send again, both are learned from.
func closedEarly(f *stream.Fault, began time.Time) bool {
	if f.Kind != stream.UpstreamClosed && f.Kind != stream.UpstreamReset {
		return false
	}
	return f.Retry == stream.RetryUnsent || time.Since(began) < tooLate
}
