package tcp

import (
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/weirproxy/weir/internal/prefixconn"
	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

var (
	errIdle    = errors.New("nothing moved in either direction for too long")
	errTooLong = errors.New("the connection lasted as long as it may")
)

// relay carries both directions until both have ended, or one has failed, which
// cuts the other.
func (c *serverConn) relay(d stream.Duplex) {
	c.mu.Lock()
	c.tunnel = d
	c.mu.Unlock()
	c.join(d)
	ended := make(chan struct{})
	c.srv.cfg.Go(func() {
		defer close(ended)
		c.carry(&c.up, d.CloseWrite, false)
	})
	c.carry(&c.down, func() error { return closeWrite(c.nc) }, true)
	<-ended
	c.guard.Rest()
}

// join connects the lanes to the client and to the tunnel.
func (c *serverConn) join(d stream.Duplex) {
	c.up.to, c.down.from = d, d
	if s, ok := d.(stream.Socketed); ok {
		c.down.socketed = s
		c.up.toRaw = rawConn(s.Socket())
	}
	nc := c.nc
	c.down.to, c.down.toRaw = nc, rawConn(nc)
	c.quiet.nc = nc
	c.up.from = &c.quiet
	if ahead, ok := nc.(*prefixconn.Conn); ok {
		c.up.ahead = ahead
		nc = ahead.NetConn()
		c.down.to, c.down.toRaw = nc, rawConn(nc)
		c.quiet.nc = nc
	}
	c.up.fromRaw = rawConn(nc)
}

// carry runs one lane to its end and passes that on. It cuts the relay when
// the lane fails. It is the recover boundary of the goroutine too.
func (c *serverConn) carry(l *lane, finish func() error, down bool) {
	defer func() {
		if p := recover(); p != nil {
			c.fail(c.panicked(p, "lane"))
		}
		l.release()
	}()
	side, err := l.run()
	if err == io.EOF {
		side, err = sink, finish()
	}
	if err != nil {
		c.fail(c.faultOf(err, (side == source) == down))
	}
}

// fail cuts the relay. The first fault is the reason, later ones follow from it.
func (c *serverConn) fail(f *stream.Fault) {
	c.mu.Lock()
	first := c.fault == nil
	if first {
		c.fault = f
	}
	c.mu.Unlock()
	if first {
		c.tunnel.Close()
		c.poke()
	}
}

// faultOf says in our words why one side of the relay failed.
func (c *serverConn) faultOf(err error, upstream bool) *stream.Fault {
	switch _, v := c.guard.Fired(); v {
	case watchdog.None, watchdog.Canceled:
		if c.ctx.Err() != nil {
			return &stream.Fault{Kind: stream.ClientGone, Cause: c.ctx.Err()}
		}
	case watchdog.Late, watchdog.TooLong:
		return &stream.Fault{Kind: stream.BodyTimeout, Limit: "tunnel_max", Cause: errTooLong}
	case watchdog.Costly:
		return stream.Costly(err)
	case watchdog.Shortened:
		return &stream.Fault{Kind: stream.BodyTimeout, Limit: "overload", Cause: errIdle}
	default:
		return &stream.Fault{Kind: stream.BodyTimeout, Limit: "tunnel_idle", Cause: errIdle}
	}
	if f, ok := err.(*stream.Fault); ok {
		return f
	}
	if upstream {
		return upstreamFault(err)
	}
	return &stream.Fault{Kind: stream.ClientGone, Cause: err}
}

// upstreamFault says in our words why the upstream side of a tunnel failed.
func upstreamFault(err error) *stream.Fault {
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return &stream.Fault{Kind: stream.UpstreamReset, Cause: err}
	}
	return &stream.Fault{Kind: stream.UpstreamClosed, Cause: err}
}

// halfCloser is a connection whose two directions close apart: TCP, Unix and TLS.
type halfCloser interface{ CloseWrite() error }

// closeWrite tells the peer that nothing more comes. One that has closed its
// end already need not be told.
func closeWrite(nc net.Conn) error {
	h, ok := nc.(halfCloser)
	if !ok {
		return nil
	}
	if err := h.CloseWrite(); err != nil && !errors.Is(err, syscall.ENOTCONN) {
		return err
	}
	return nil
}

// plain is the connection under nc: under TLS, the one that carries it.
func plain(nc net.Conn) net.Conn {
	for {
		t, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return nc
		}
		nc = t.NetConn()
	}
}

// reset closes nc so that the peer sees an error and no orderly end.
func reset(nc net.Conn) {
	under := plain(nc)
	if t, ok := under.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // without it the close is an orderly one
	}
	under.Close()
}

// rawConn is the descriptor of a plain socket, else nil. Only the very types of
// package net: a type around one may hold bytes back that a descriptor does not
// have.
func rawConn(nc net.Conn) syscall.RawConn {
	var sc syscall.Conn
	switch nc := nc.(type) {
	case *net.TCPConn:
		sc = nc
	case *net.UnixConn:
		sc = nc
	default:
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// turnAway closes a connection that got no tunnel so that the client sees an
// error. One that began with a TLS hello is told in the words of TLS (RFC 8446
// section 6.2), as nobody else has spoken on it yet.
func (c *serverConn) turnAway(f *stream.Fault) {
	if c.facts.Hello == nil || c.facts.TLS != nil || c.req.Exchange.Status != 0 {
		reset(c.nc)
		return
	}
	const unrecognizedName, internalError = 112, 80
	reason := byte(internalError)
	if f.Kind == stream.NoRoute {
		reason = unrecognizedName
	}
	_, _ = c.nc.Write([]byte{21, 3, 3, 0, 2, 2, reason}) // 7 bytes into an empty buffer: never blocks
}
