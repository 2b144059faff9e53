package tcp

import (
	"context"
	"net"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

// TransportConfig is what a Transport needs. Nothing in it changes afterwards.
type TransportConfig struct {
	Endpoint *endpoint.Endpoint
	// Dial opens a connection that is ready for the first byte of the client
	// (TLS, PROXY protocol header) until deadline (the zero time: none) or the
	// end of ctx. Its error is a *stream.Fault.
	Dial func(ctx context.Context, req *stream.Request, deadline time.Time) (net.Conn, error)
}

// Transport answers requests with a connection to one endpoint each: TCP
// connections, and CONNECT that goes to a cluster. It implements
// endpoint.Transport.
type Transport struct {
	Stats TransportStats

	cfg  TransportConfig
	open atomic.Int64
}

// TransportStats counts what happened; the engine reads it on scrape.
type TransportStats struct {
	Dialed     atomic.Int64 // connections ever
	DialFailed atomic.Int64
	Refused    atomic.Int64 // by max_connections of the cluster, or of the endpoint
}

var _ endpoint.Transport = (*Transport)(nil)

// NewTransport makes a Transport.
func NewTransport(cfg TransportConfig) *Transport { return &Transport{cfg: cfg} }

// Drain does nothing: no connection is ever idle.
func (t *Transport) Drain() {}

// Connections counts the open connections; none is ever idle.
func (t *Transport) Connections() (open, idle int) { return int(t.open.Load()), 0 }

// Serve opens a connection. See endpoint.Transport.
func (t *Transport) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	defer req.Body.Close()
	if f := t.cfg.Endpoint.Open(); f != nil {
		t.Stats.Refused.Add(1)
		return nil, f
	}
	t.open.Add(1)
	made := false
	defer func() { // also when Dial panics
		if !made {
			t.Stats.DialFailed.Add(1)
			t.gone()
		}
	}()
	nc, err := t.dial(ctx, req)
	if err != nil {
		return nil, stream.AsFault(err)
	}
	made = true
	t.Stats.Dialed.Add(1)
	req.Exchange.Reused = false
	return open(ctx, nc, func() {
		req.Exchange.UpstreamEnd = time.Now()
		t.gone()
		t.cfg.Endpoint.Ended()
	}), nil
}

func (t *Transport) dial(ctx context.Context, req *stream.Request) (net.Conn, error) {
	if f := t.cfg.Endpoint.Wait(); f != nil {
		return nil, f
	}
	defer t.cfg.Endpoint.Waited() // also when Dial panics
	return t.cfg.Dial(ctx, req, req.Deadline)
}

// gone gives back the place of a connection that is closed.
func (t *Transport) gone() {
	t.open.Add(-1)
	t.cfg.Endpoint.Closed()
}
