package pool

import (
	"context"
	"net"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

// DialFor is a Dial for one request: the connection says whose it is.
type DialFor[C Conn] func(ctx context.Context, req *stream.Request, deadline time.Time, release func(reusable bool)) (C, error)

// Exclusive makes each attempt at an endpoint over a connection of its own that
// nobody uses again: one that begins with the address of a client must not
// carry what another client sent. It implements endpoint.Transport.
type Exclusive[C Client] struct {
	transport *Transport[C]
	dial      DialFor[C]
}

// NewExclusive makes the transport of an endpoint. It keeps nothing.
func NewExclusive[C Client](g *Group, ep *endpoint.Endpoint, dial DialFor[C]) *Exclusive[C] {
	x := &Exclusive[C]{transport: NewTransport[C](g, ep, nil), dial: dial}
	x.Drain()
	return x
}

// Serve makes one attempt. See endpoint.Transport.
func (x *Exclusive[C]) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	l, err := x.transport.connect(ctx, 0, req.Deadline, func(ctx context.Context, deadline time.Time, release func(bool)) (C, net.Conn, error) {
		conn, err := x.dial(ctx, req, deadline, release)
		return conn, nil, err
	})
	if err != nil {
		_ = req.Body.Close()
		return nil, err
	}
	return x.transport.serveOn(ctx, l, req)
}

// Drain implements endpoint.Transport. There is nothing idle to close.
func (x *Exclusive[C]) Drain() { x.transport.Drain() }

// Connections implements endpoint.Transport.
func (x *Exclusive[C]) Connections() (open, idle int) { return x.transport.Connections() }
