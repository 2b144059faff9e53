package http1

import (
	"context"
	"io"
	"time"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// tunnel carries an upgraded connection, or one of CONNECT, until both
// directions have ended, one has failed, nothing moved for too long or its time
// is up. Bytes that the client sent ahead of the response go first; they never
// went anywhere before.
func (c *serverConn) tunnel(d stream.Duplex) bool {
	c.enterTunnel()
	// One direction that fails ends the other; the first reason is the reason.
	reasons := make(chan error, 2)
	fail := func(err error) {
		if err != nil {
			reasons <- err
			d.Close()
			c.poke()
		}
	}
	up := make(chan struct{})
	c.srv.cfg.Go(func() {
		defer close(up)
		err := error(stream.Faultf(stream.Internal, stream.RetryNever, "the tunnel panicked"))
		defer func() { fail(err) }()
		defer c.contain()
		err = c.tunnelUp(d)
	})
	fail(c.tunnelDown(d))
	<-up
	c.req.Exchange.End = time.Now()
	select {
	case err := <-reasons:
		c.broken(stream.AsFault(err))
		return false
	default:
		return true
	}
}

// enterTunnel starts the clock of the tunnel. It stays out of the frame of
// tunnel, which waits for hours: see serve.
//
//go:noinline
func (c *serverConn) enterTunnel() {
	c.last, c.leaving = true, true
	c.srv.Stats.Upgrades.Add(1)
	limits, end := c.req.Tunnel, noDeadline
	if limits.Max > 0 {
		end = time.Now().Add(limits.Max)
	}
	if payer := c.srv.cfg.Payer; payer != nil {
		c.guard.Bill(payer(&c.req))
	}
	c.guard.EnterIdle(uint8(stream.PhaseTunnel), context.Background(), end, limits.Idle)
}

// tunnelUp carries downstream to upstream.
func (c *serverConn) tunnelUp(d stream.Duplex) error {
	for {
		if c.src.buffered() == 0 {
			if err := c.src.fillQuiet(); err == io.EOF {
				return d.CloseWrite()
			} else if err != nil {
				return c.tunnelFault(err)
			}
		}
		c.guard.HoldMore(pageSize)
		n, err := d.Write(c.src.bytes())
		c.guard.HoldMore(-pageSize)
		if err != nil {
			return err
		}
		c.src.consume(n)
		c.body.tunneled.Add(int64(n))
		c.guard.Moved(n)
	}
}

// tunnelDown carries upstream to downstream. A Duplex that cannot wait holds a
// page while it is quiet.
func (c *serverConn) tunnelDown(d stream.Duplex) error {
	w, waits := d.(stream.Awaiter)
	for {
		if waits {
			if err := w.Await(); err != nil && err != io.EOF {
				return err
			}
		}
		n, err := c.tunnelPiece(d)
		if err == io.EOF {
			return c.tunnelFault(closeWrite(c.nc))
		}
		if err != nil {
			return err
		}
		c.req.Exchange.BytesOut += int64(n)
		c.guard.Moved(n)
	}
}

// tunnelPiece carries what one read gives. It is not part of the frame that
// waits.
//
//go:noinline
func (c *serverConn) tunnelPiece(d stream.Duplex) (int, error) {
	p := pages.Get().(*page)
	defer pages.Put(p)
	n, err := d.Read(p[:])
	if n == 0 {
		return 0, err
	}
	c.guard.HoldMore(pageSize)
	_, werr := c.nc.Write(p[:n])
	c.guard.HoldMore(-pageSize)
	if werr != nil {
		return 0, c.tunnelFault(werr)
	}
	return n, err
}

// tunnelFault says in our words why the downstream side of a tunnel failed.
func (c *serverConn) tunnelFault(err error) error {
	if err == nil {
		return nil
	}
	switch c.fired() {
	case watchdog.None:
	case watchdog.Late:
		return &stream.Fault{Kind: stream.BodyTimeout, Limit: "tunnel_max", Cause: errTunnelMax}
	case watchdog.Costly:
		return stream.Costly(err)
	case watchdog.Shortened:
		return &stream.Fault{Kind: stream.BodyTimeout, Limit: "overload", Cause: errTunnelIdle}
	default:
		return &stream.Fault{Kind: stream.BodyTimeout, Limit: "tunnel_idle", Cause: errTunnelIdle}
	}
	return &stream.Fault{Kind: stream.ClientGone, Cause: err}
}
