package engine

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/internal/proxyproto"
	"github.com/weirproxy/weir/stream"
)

// connectBy is when a connection must be there: within the connect timeout, and
// before deadline.
func (u *upstream) connectBy(deadline time.Time) time.Time {
	limit := time.Now().Add(time.Duration(u.spec.Spec.ConnectTimeout))
	if !deadline.IsZero() && deadline.Before(limit) {
		return deadline
	}
	return limit
}

// connect opens a connection to ep until the connect timeout or deadline,
// whichever comes first: the socket, the PROXY protocol header and TLS where
// the cluster has them. client is on whose behalf (nil: our own). agreed is
// which of protos was chosen by ALPN, if any.
func (u *upstream) connect(ctx context.Context, ep *endpoint.Endpoint, deadline time.Time, client *stream.Conn, protos ...string) (
	_ net.Conn, agreed string, err error,
) {
	limit := u.connectBy(deadline)
	ctx, cancel := context.WithDeadline(ctx, limit)
	defer cancel()
	nc, err := u.connectPlain(ctx, ep, limit, client)
	if err != nil || u.tls == nil {
		return nc, "", err
	}
	return u.tls.Handshake(ctx, nc, ep.Host, protos...)
}

// connectPlain is connect without TLS; ctx ends at limit at the latest.
func (u *upstream) connectPlain(ctx context.Context, ep *endpoint.Endpoint, limit time.Time, client *stream.Conn) (net.Conn, error) {
	nc, err := u.engine.dialer.DialContext(ctx, ep.Network, ep.Address)
	if err != nil {
		return nil, connectFault(ctx, err)
	}
	if version := u.spec.Spec.ProxyProtocol; version != "off" {
		if err := introduce(nc, version, limit, client); err != nil {
			_ = nc.Close()
			return nil, connectFault(ctx, err)
		}
	}
	return nc, nil
}

// introduce sends the PROXY protocol header for client.
func introduce(nc net.Conn, version string, limit time.Time, client *stream.Conn) error {
	number := 1
	if version == "v2" {
		number = 2
	}
	var source, destination netip.AddrPort
	if client != nil {
		source, destination = client.Remote, client.Local
	}
	if err := nc.SetWriteDeadline(limit); err != nil {
		return err
	}
	if _, err := nc.Write(proxyproto.Append(nil, number, source, destination, client == nil)); err != nil {
		return err
	}
	return nc.SetWriteDeadline(time.Time{})
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
