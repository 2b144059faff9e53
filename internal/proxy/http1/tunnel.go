package http1

import (
	"io"
	"time"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// tunnel carries an upgraded connection until both directions have ended, one
// has failed, or nothing moved for too long. Bytes that the client sent ahead
// of the 101 go first; they never went anywhere before.
func (c *serverConn) tunnel(d stream.Duplex) bool {
	c.last, c.leaving = true, true
	if !c.writeHead(101, c.writer.out) {
		return false
	}
	pages.Put(c.writer.page)
	c.writer.page = nil
	c.srv.Stats.Upgrades.Add(1)
	c.enter(stream.PhaseTunnel)

	up := make(chan error, 1)
	c.srv.cfg.Go(func() {
		err := error(stream.Faultf(stream.Internal, stream.RetryNever, "the tunnel panicked"))
		defer func() { up <- err }()
		defer c.contain()
		err = c.tunnelUp(d)
		if err != nil {
			d.Close()
			c.poke()
		}
	})
	err := c.tunnelDown(d)
	if err != nil {
		d.Close()
		c.poke()
	}
	if upErr := <-up; err == nil {
		err = upErr
	}
	c.req.Exchange.End = time.Now()
	if err != nil {
		c.broken(stream.AsFault(err))
	}
	return err == nil
}

// tunnelUp carries downstream to upstream.
func (c *serverConn) tunnelUp(d stream.Duplex) error {
	for {
		if c.src.buffered() == 0 {
			if err := c.src.fill(); err == io.EOF {
				return d.CloseWrite()
			} else if err != nil {
				return c.tunnelFault(err)
			}
		}
		n, err := d.Write(c.src.bytes())
		if err != nil {
			return err
		}
		c.src.consume(n)
		c.body.tunneled.Add(int64(n))
		c.guard.Moved(n)
	}
}

// tunnelDown carries upstream to downstream.
func (c *serverConn) tunnelDown(d stream.Duplex) error {
	for {
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

// waiter is a body that waits until it has something to read, so that a quiet
// stream or tunnel holds no page.
type waiter interface{ await() error }

// tunnelPiece carries what one read gives.
func (c *serverConn) tunnelPiece(d stream.Duplex) (int, error) {
	if w, ok := d.(waiter); ok {
		if err := w.await(); err != nil {
			return 0, err
		}
	}
	p := pages.Get().(*page)
	defer pages.Put(p)
	n, err := d.Read(p[:])
	if n == 0 {
		return 0, err
	}
	if _, err := c.nc.Write(p[:n]); err != nil {
		return 0, c.tunnelFault(err)
	}
	return n, err
}

// tunnelFault says in our words why the downstream side of a tunnel failed.
func (c *serverConn) tunnelFault(err error) error {
	if err == nil {
		return nil
	}
	if c.fired() != watchdog.None {
		return &stream.Fault{Kind: stream.BodyTimeout, Cause: errTunnelIdle}
	}
	return &stream.Fault{Kind: stream.ClientGone, Cause: err}
}
