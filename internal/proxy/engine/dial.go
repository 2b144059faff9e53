package engine

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/internal/proxy/http1"
	"github.com/weirproxy/weir/internal/proxy/pool"
	"github.com/weirproxy/weir/stream"
)

// dialer opens connections to ep: the socket, TLS where the cluster has it,
// and the client half of the codec.
func (u *upstream) dialer(ep *endpoint.Endpoint) pool.Dial[*http1.Client] {
	return func(ctx context.Context, deadline time.Time, release func(reusable bool)) (*http1.Client, net.Conn, error) {
		nc, err := u.connect(ctx, ep.Network, ep.Address, ep.Host, deadline)
		if err != nil {
			return nil, nil, err
		}
		client := http1.NewClient(nc, &u.client)
		client.Release = func(_ *http1.Client, reusable bool) { release(reusable) }
		return client, nc, nil
	}
}

// connect opens a connection until the connect timeout or deadline, whichever
// comes first. Health checks use it too.
func (u *upstream) connect(ctx context.Context, network, address, host string, deadline time.Time) (net.Conn, error) {
	limit := time.Now().Add(time.Duration(u.spec.Spec.ConnectTimeout))
	if !deadline.IsZero() && deadline.Before(limit) {
		limit = deadline
	}
	ctx, cancel := context.WithDeadline(ctx, limit)
	defer cancel()
	nc, err := u.engine.dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, connectFault(ctx, err)
	}
	if u.tls == nil {
		return nc, nil
	}
	secured, err := u.tls.Handshake(ctx, nc, host)
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	return secured, nil
}

// connectFault is why a connection could not be opened. Nothing was sent.
func connectFault(ctx context.Context, err error) *stream.Fault {
	kind := stream.ConnectFailed
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		kind = stream.ClientGone
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		kind = stream.ConnectRefused
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		kind = stream.ConnectTimeout
	case isOurLack(err):
		kind = stream.Overloaded
	}
	return &stream.Fault{Kind: kind, Retry: stream.RetryUnsent, Cause: err}
}

// isOurLack tells whether the machine of Weir had no descriptor, memory or port
// left. That says nothing about the endpoint, which must not be taken out for
// it: the same would be true of all others at once.
func isOurLack(err error) bool {
	for _, lack := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, lack) {
			return true
		}
	}
	return false
}
