package http3

import (
	"io"
	"time"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// tunnel carries a stream that became a tunnel until both directions have
// ended, one has failed, or nothing moved for too long.
func (st *serverStream) tunnel(d stream.Duplex) bool {
	if !st.writeHead(200, st.out) {
		return false
	}
	pages.Put(st.page)
	st.page = nil
	st.c.srv.Stats.Upgrades.Add(1)
	longest := st.req.Tunnel.Max
	if longest == 0 {
		longest = st.c.cfg.TunnelMax
	}
	var end time.Time
	if longest > 0 {
		end = time.Now().Add(longest)
	}
	if payer := st.c.cfg.Payer; payer != nil {
		st.post.Bill(payer(&st.req))
	}
	st.post.EnterIdle(uint8(stream.PhaseTunnel), st.ctx, end, st.req.Tunnel.Idle)

	up := make(chan error, 1)
	st.c.cfg.Go(func() {
		err := error(stream.Faultf(stream.Internal, stream.RetryNever, "the tunnel panicked"))
		defer func() { up <- err }()
		defer st.c.contain()
		if err = st.tunnelUp(d); err != nil {
			d.Close()
			_ = st.str.SetWriteDeadline(longAgo)
		}
	})
	err := st.tunnelDown(d)
	if err != nil {
		d.Close()
		_ = st.str.SetDeadline(longAgo)
	}
	if upErr := <-up; err == nil {
		err = upErr
	}
	st.req.Exchange.End = time.Now()
	if err != nil {
		st.broken(stream.AsFault(err))
	}
	return err == nil
}

// tunnelUp carries downstream to upstream.
func (st *serverStream) tunnelUp(d stream.Duplex) error {
	for {
		n, err := st.tunnelUpPiece(d)
		if err == io.EOF {
			return d.CloseWrite()
		}
		if err != nil {
			return err
		}
		st.body.received.Add(int64(n))
		st.post.Moved(n)
	}
}

// tunnelUpPiece holds a page only once there is something to read.
func (st *serverStream) tunnelUpPiece(d stream.Duplex) (int, error) {
	if err := st.in.ready(); err != nil {
		return 0, st.tunnelFault(err)
	}
	if st.in.buffered() == 0 {
		if err := st.in.payload(st.in.fill()); err != nil {
			return 0, st.tunnelFault(err)
		}
	}
	p := pages.Get().(*page)
	defer pages.Put(p)
	n, err := st.in.read(p[:])
	if err != nil {
		return 0, st.tunnelFault(err)
	}
	st.post.HoldMore(pageSize)
	defer st.post.HoldMore(-pageSize)
	return d.Write(p[:n])
}

// tunnelDown carries upstream to downstream.
func (st *serverStream) tunnelDown(d stream.Duplex) error {
	for {
		n, err := st.tunnelDownPiece(d)
		st.req.Exchange.BytesOut += int64(n)
		st.post.Moved(n)
		if err == io.EOF {
			return st.tunnelFault(st.str.Close())
		}
		if err != nil {
			return err
		}
	}
}

func (st *serverStream) tunnelDownPiece(d stream.Duplex) (int, error) {
	if a, ok := d.(stream.Awaiter); ok {
		if err := a.Await(); err != nil {
			return 0, err
		}
	}
	p := pages.Get().(*page)
	defer pages.Put(p)
	n, err := d.Read(p[frameRoom:])
	if n == 0 {
		return 0, err
	}
	at := putFrame(p[:frameRoom], frameData, n)
	st.post.HoldMore(pageSize)
	_, werr := st.str.Write(p[at : frameRoom+n])
	st.post.HoldMore(-pageSize)
	if werr != nil {
		return 0, st.tunnelFault(werr)
	}
	return n, err
}

// tunnelFault says in our words why the downstream side of a tunnel failed; nil
// and io.EOF stay what they are.
func (st *serverStream) tunnelFault(err error) error {
	switch {
	case err == nil || err == io.EOF:
		return err
	case st.fired() == watchdog.Costly:
		return stream.Costly(err)
	case st.fired() == watchdog.Shortened:
		return &stream.Fault{Kind: stream.BodyTimeout, Limit: "overload"}
	case st.fired() != watchdog.None:
		return &stream.Fault{Kind: stream.BodyTimeout}
	}
	st.c.end(err)
	return &stream.Fault{Kind: stream.ClientGone, Cause: err}
}
