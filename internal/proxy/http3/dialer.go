package http3

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/weirproxy/weir/internal/account"
	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// ClientConfig is what clients share. Nothing in it changes afterwards.
type ClientConfig struct {
	Limits Limits
	Dog    *watchdog.Dog
	Phases stream.PhaseLimits
	// Payer, when not nil, is who pays for what an exchange keeps in memory. It is
	// asked once a body is sent that is not in memory whole.
	Payer func(req *stream.Request) *account.Account
	// Go starts a goroutine.
	Go func(func())

	MaxStreams       int   // exchanges of a connection at a time; 0: as many as the upstream lets
	StreamWindow     int64 // bytes that a stream takes ahead of its reader; 0: 256 KiB
	ConnectionWindow int64 // the same for all streams of a connection; 0: 1 MiB

	// Listen opens the one socket of a Dialer; nil: any port of any address.
	Listen func() (net.PacketConn, error)
}

// ClientStats counts what happened on the connections of a Dialer; the engine reads
// it on scrape.
type ClientStats struct {
	Open        atomic.Int64 // connections open now
	Streams     atomic.Int64 // exchanges begun
	GoAways     atomic.Int64 // received
	Resets      atomic.Int64 // streams that the upstream reset before a response
	Unprocessed atomic.Int64 // requests that the upstream gave back: rejected, or behind its GOAWAY
	Canceled    atomic.Int64 // streams that we gave up
	Violations  atomic.Int64 // connections ended because the upstream broke the protocol
	Abusive     atomic.Int64 // connections ended because they cost more than they gave
	Panics      atomic.Int64
}

// Dialer opens connections to the endpoints of one cluster from one socket,
// which it opens for the first of them.
type Dialer struct {
	Stats ClientStats

	cfg    ClientConfig
	limits []watchdog.Limit
	quic   *quic.Config

	mu        sync.Mutex
	transport *quic.Transport
	socket    net.PacketConn
	closed    bool
}

// NewDialer makes a Dialer. It opens nothing yet.
func NewDialer(cfg ClientConfig) *Dialer {
	if cfg.StreamWindow <= 0 {
		cfg.StreamWindow = 256 << 10
	}
	if cfg.ConnectionWindow <= 0 {
		cfg.ConnectionWindow = 1 << 20
	}
	return &Dialer{cfg: cfg, limits: watchLimits(&cfg.Phases), quic: &quic.Config{
		MaxIdleTimeout:                 maxSilence,
		KeepAlivePeriod:                pingPeriod,
		InitialStreamReceiveWindow:     uint64(cfg.StreamWindow),
		MaxStreamReceiveWindow:         uint64(cfg.StreamWindow),
		InitialConnectionReceiveWindow: uint64(cfg.ConnectionWindow),
		MaxConnectionReceiveWindow:     uint64(cfg.ConnectionWindow),
		MaxIncomingStreams:             -1,
		MaxIncomingUniStreams:          maxUniStreams,
		RequireStreamCreditRelease:     true,
	}}
}

var errDialerClosed = errors.New("the dialer of the cluster is closed")

func (d *Dialer) open() (*quic.Transport, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errDialerClosed
	}
	if d.transport != nil {
		return d.transport, nil
	}
	listen := d.cfg.Listen
	if listen == nil {
		listen = func() (net.PacketConn, error) { return net.ListenUDP("udp", nil) }
	}
	socket, err := listen()
	if err != nil {
		return nil, fmt.Errorf("open a UDP socket: %w", err)
	}
	d.socket, d.transport = socket, &quic.Transport{Conn: socket}
	return d.transport, nil
}

// Close ends every connection and the socket.
func (d *Dialer) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	if d.transport == nil {
		return nil
	}
	err := d.transport.Close()
	d.transport = nil
	return errors.Join(err, d.socket.Close())
}

// Dial opens a connection to addr until deadline (the zero time: none) or the
// end of ctx. The error is a *stream.Fault. ended is called exactly once for
// each exchange whose Serve returns a response, when that exchange is over.
func (d *Dialer) Dial(ctx context.Context, deadline time.Time, addr netip.AddrPort, tlsConf *tls.Config, ended func()) (*Client, error) {
	t, err := d.open()
	if err != nil {
		return nil, stream.Faultf(stream.ConnectFailed, stream.RetryUnsent, "%w", err)
	}
	if !deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	conn, err := t.Dial(ctx, net.UDPAddrFromAddrPort(addr), tlsConf, d.quic)
	if err != nil {
		return nil, dialFault(ctx, addr, err)
	}
	c := &Client{d: d, conn: conn, ended: ended, exchanges: make(map[*exchange]struct{}), settled: make(chan struct{})}
	if err := c.start(); err != nil {
		conn.CloseWithError(codeInternalError, "")
		return nil, stream.Faultf(stream.ConnectFailed, stream.RetryUnsent, "connect to %s by HTTP/3: %w", addr, err)
	}
	d.Stats.Open.Add(1)
	context.AfterFunc(conn.Context(), func() { d.Stats.Open.Add(-1) })
	return c, nil
}

// dialFault says in our words why no connection was made.
func dialFault(ctx context.Context, addr netip.AddrPort, err error) *stream.Fault {
	f := stream.Faultf(stream.ConnectFailed, stream.RetryUnsent, "connect to %s by HTTP/3: %w", addr, err)
	var transport *quic.TransportError
	var silent *quic.IdleTimeoutError
	var slow *quic.HandshakeTimeoutError
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		f.Kind = stream.ClientGone
	case ctx.Err() != nil, errors.As(err, &silent), errors.As(err, &slow):
		f.Kind = stream.ConnectTimeout
	case errors.As(err, &transport) && transport.ErrorCode.IsCryptoError():
		f.Kind = stream.TLSFailed
	case errors.As(err, &transport) && transport.ErrorCode == quic.ConnectionRefused:
		f.Kind = stream.ConnectRefused
	}
	return f
}
