package http2

import (
	"errors"
	"io"
	"time"

	"github.com/weirproxy/weir/stream"
)

var errTunnelIdle = errors.New("nothing moved through the tunnel for too long")

// tunnels tells whether resp makes a tunnel of a plain CONNECT.
func (s *serverStream) tunnels(resp *stream.Response) bool {
	if s.req.Method != "CONNECT" || resp.Status < 200 || resp.Status > 299 {
		return false
	}
	_, ok := resp.Body.(stream.Duplex)
	return ok
}

// tunnel carries DATA both ways until both directions have ended, one has
// failed, or nothing moved for too long. END_STREAM closes one direction,
// RST_STREAM both.
func (w *worker) tunnel(resp *stream.Response) {
	c, s := w.c, w.s
	d, ok := resp.Body.(stream.Duplex)
	if !ok || resp.Status == 101 && s.req.Upgrade == "" {
		w.respondInstead(&stream.Fault{Kind: stream.Internal, Cause: errWriteStatus})
		return
	}
	if !w.putTunnelHead(resp) {
		return
	}
	c.out.flush()
	c.srv.Stats.Upgrades.Add(1)
	w.watchTunnel()

	up := make(chan struct{})
	body := &s.x.body
	c.srv.cfg.Go(func() {
		defer close(up)
		defer c.contain()
		if err := w.tunnelUp(body, d); err != nil {
			w.breakTunnel(s, err)
			d.Close()
		}
	})
	// A client that resets the stream wakes neither the read of the upstream nor
	// the write to it: closing the upstream's end does.
	stop := s.x.ctx.AfterFunc(func() { d.Close() })
	if err := w.tunnelDown(d); err != nil {
		w.breakTunnel(s, err)
		d.Close()
	}
	<-up
	stop()
	w.write.Rest()
	w.endTunnel(s)
	s.req.Exchange.End = time.Now()
}

// putTunnelHead appends the head: 200 in the place of 101, and without the
// fields that only HTTP/1 needs (RFC 8441 section 5).
func (w *worker) putTunnelHead(resp *stream.Response) bool {
	c, s := w.c, w.s
	resp.Header.DelID(stream.SecWebSocketAccept)
	status := resp.Status
	if status == 101 {
		status = 200
	}
	head := stream.Response{Status: status, Header: resp.Header}
	r := reply{s: s, left: -1}
	c.out.mu.Lock()
	if s.gone {
		c.out.mu.Unlock()
		return false
	}
	if err := c.putHead(s, &head, &r); err != nil {
		c.out.mu.Unlock()
		w.respondInstead(&stream.Fault{Kind: stream.Internal, Cause: err})
		return false
	}
	c.out.mu.Unlock()
	s.headSent(resp.Status)
	return true
}

// watchTunnel starts the clock of the tunnel.
func (w *worker) watchTunnel() {
	s := w.s
	w.write.watch(w.c, w.expireWrite)
	if payer := w.c.srv.cfg.Payer; payer != nil {
		w.write.Bill(payer(&s.req))
	}
	longest := s.req.Tunnel.Max
	if longest == 0 {
		longest = w.c.srv.cfg.TunnelMax
	}
	var end time.Time
	if longest > 0 {
		end = time.Now().Add(longest)
	}
	w.write.EnterIdle(uint8(stream.PhaseTunnel), &s.x.ctx, end, s.req.Tunnel.Idle)
}

// tunnelUp carries what the client sends.
func (w *worker) tunnelUp(body *requestBody, d stream.Duplex) error {
	for {
		n, err := w.upPiece(body, d)
		if err == io.EOF {
			return d.CloseWrite()
		}
		if err != nil {
			return err
		}
		w.write.Moved(n)
	}
}

// upPiece carries what one read gives; a quiet tunnel holds no page.
func (w *worker) upPiece(body *requestBody, d stream.Duplex) (int, error) {
	body.awaitQuietly()
	p := pages.Get().(*page)
	defer pages.Put(p)
	n, err := body.Read(p[:])
	if n > 0 {
		w.write.HoldMore(pageSize)
		_, werr := d.Write(p[:n])
		w.write.HoldMore(-pageSize)
		if werr != nil {
			return n, werr
		}
	}
	return n, err
}

// awaitQuietly waits without the clock of a body.
func (b *requestBody) awaitQuietly() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.s != nil {
		b.s.inbox.wait()
	}
}

// tunnelDown carries what the upstream sends.
func (w *worker) tunnelDown(d stream.Duplex) error {
	r := reply{s: w.s, left: -1}
	for {
		n, err := w.downPiece(&r, d)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		w.write.Moved(n)
		w.c.out.flush()
	}
}

func (w *worker) downPiece(r *reply, d stream.Duplex) (int, error) {
	if a, ok := d.(stream.Awaiter); ok {
		if err := a.Await(); err != nil {
			return 0, err
		}
	}
	p := pages.Get().(*page)
	defer pages.Put(p)
	n, err := d.Read(p[:])
	if err != nil && err != io.EOF {
		return n, err
	}
	if n > 0 && !w.send(r, p[:n], false) {
		return n, &stream.Fault{Kind: stream.ClientGone, Cause: errReset}
	}
	if err == io.EOF {
		w.closeDown(r.s)
	}
	return n, err
}

// closeDown tells the client that nothing more comes; it may go on sending.
func (w *worker) closeDown(s *serverStream) {
	c := w.c
	c.out.mu.Lock()
	if !s.gone {
		c.out.begin()
		c.out.appendData(s.send.id, nil, true)
	}
	c.out.mu.Unlock()
	c.out.flush()
}

// breakTunnel resets the stream: the other direction ends too.
func (w *worker) breakTunnel(s *serverStream, err error) {
	f := stream.AsFault(err)
	w.c.out.mu.Lock()
	w.c.resetStream(s, codeConnect, f)
	w.c.out.mu.Unlock()
}

// endTunnel is the end of both directions.
func (w *worker) endTunnel(s *serverStream) {
	c := w.c
	c.out.mu.Lock()
	if !s.gone {
		c.sent(s)
	}
	c.out.mu.Unlock()
}
