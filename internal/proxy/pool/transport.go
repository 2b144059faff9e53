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
	return &Transport[C]{Pool: New(g, dial), endpoint: ep}
}

// Serve makes one attempt. See endpoint.Transport.
func (t *Transport[C]) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	l, err := t.Get(ctx, req.Conn.ID, req.Fresh, req.Deadline)
	if err != nil {
		_ = req.Body.Close()
		return nil, err
	}
	// After the connection has called release, l may be another request's.
	reused, idled, serving := l.reused, l.idled, l.serving()
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
		if reused && stale(stream.AsFault(err)) {
			t.group.Stats.Stale.Add(1)
			t.noteClose(idled)
		}
		return nil, err
	}
	if !l.phase.CompareAndSwap(serving, serving|phaseHanded) {
		// The response is in memory, the exchange is over.
		if req.Exchange.UpstreamEnd.IsZero() {
			req.Exchange.UpstreamEnd = time.Now()
		}
		t.endpoint.Ended()
	}
	return resp, nil
}

// stale tells whether a pooled connection turned out closed.
func stale(f *stream.Fault) bool {
	return f.Retry == stream.RetryUnsent && (f.Kind == stream.UpstreamClosed || f.Kind == stream.UpstreamReset)
}
