package udp

import (
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

// TransportConfig is what a Transport needs.
type TransportConfig struct {
	Endpoint *endpoint.Endpoint
	// Dial makes a socket that is connected to the endpoint. The error is a
	// *stream.Fault.
	Dial func(ctx context.Context, req *stream.Request, deadline time.Time) (net.Conn, error)
	// Stats, shared by the endpoints of a cluster; nil: an own one.
	Stats *ClientStats
}

// ClientStats counts what happened towards the endpoints.
type ClientStats struct {
	Opened       atomic.Int64 // sessions
	Full         atomic.Int64 // refused: max_connections
	Refused      atomic.Int64 // ICMP said that nobody listens
	DatagramsOut atomic.Int64
	DatagramsIn  atomic.Int64
	Dropped      atomic.Int64 // not sent: no room in the socket, or too large for the way
}

// Transport makes sessions with one endpoint, each with a socket of its own, so
// that replies find their session. It implements endpoint.Transport.
type Transport struct {
	cfg  TransportConfig
	open atomic.Int64
}

var _ endpoint.Transport = (*Transport)(nil)

// NewTransport makes a Transport.
func NewTransport(cfg TransportConfig) *Transport {
	if cfg.Stats == nil {
		cfg.Stats = new(ClientStats)
	}
	return &Transport{cfg: cfg}
}

// Drain does nothing: there are no idle sockets.
func (t *Transport) Drain() {}

// Connections counts the open sockets; none is idle.
func (t *Transport) Connections() (open, idle int) { return int(t.open.Load()), 0 }

// verdict is how long an attempt waits for the first sign of the endpoint: a
// reply, or the word that nobody listens. It is some round trips within a data
// centre, and the longest that the second datagram of a session is held back.
const verdict = 50 * time.Millisecond

// Serve makes one attempt. See endpoint.Transport.
func (t *Transport) Serve(ctx context.Context, req *stream.Request) (_ *stream.Response, err error) {
	defer req.Body.Close()
	if f := t.cfg.Endpoint.Open(); f != nil {
		t.cfg.Stats.Full.Add(1)
		return nil, f
	}
	t.open.Add(1)
	made := false
	defer func() {
		if !made { // also when Dial panics
			t.closed()
		}
	}()
	nc, err := t.cfg.Dial(ctx, req, req.Deadline)
	if err != nil {
		return nil, err
	}
	f, fault := t.begin(ctx, nc, req)
	if fault != nil {
		_ = nc.Close()
		return nil, fault
	}
	made = true
	t.cfg.Stats.Opened.Add(1)
	req.Exchange.Reused = false
	return &stream.Response{Status: 200, Body: f, Length: -1}, nil
}

// begin sends the first datagram and waits for the verdict.
func (t *Transport) begin(ctx context.Context, nc net.Conn, req *stream.Request) (*flow, *stream.Fault) {
	f := newFlow(t, nc, req)
	if req.Body == stream.NoBody {
		return f, nil
	}
	first, fault := content(req.Body)
	if fault != nil {
		return nil, fault
	}
	if err := f.send(first); err != nil {
		return nil, unsent(f.faultOf(err))
	}
	end := time.Now().Add(verdict)
	if !req.Deadline.IsZero() && req.Deadline.Before(end) {
		end = req.Deadline
	}
	_ = nc.SetReadDeadline(end)
	err := f.fill()
	_ = nc.SetReadDeadline(time.Time{})
	switch {
	case ctx.Err() != nil:
		f.drop()
		return nil, &stream.Fault{Kind: stream.ClientGone, Cause: context.Cause(ctx)}
	case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
		return nil, unsent(f.faultOf(err))
	}
	return f, nil
}

// unsent is a fault before any sign of the endpoint. When nobody listens there,
// nobody has read the datagram.
func unsent(f *stream.Fault) *stream.Fault {
	f.Retry = stream.RetryIdempotent
	if errors.Is(f.Cause, syscall.ECONNREFUSED) {
		f.Kind, f.Retry = stream.ConnectRefused, stream.RetryUnsent
	}
	return f
}

// content is the first datagram.
func content(body stream.Body) ([]byte, *stream.Fault) {
	if w, ok := body.(stream.Whole); ok {
		if b, ok := w.Bytes(); ok {
			return b, nil
		}
	}
	return nil, stream.Faultf(stream.Internal, stream.RetryNever, "the first datagram of a session is not in memory")
}

// closed gives the place of a socket back.
func (t *Transport) closed() {
	t.open.Add(-1)
	t.cfg.Endpoint.Closed()
}
