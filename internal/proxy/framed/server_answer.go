package framed

import (
	"errors"
	"time"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

var errTunnel = errors.New("a tunnel is no answer to a frame")

// statusReason is the reason word of a response that is no success and no fault
// of ours: what it is stands in its status.
const statusReason = "status"

// exchange answers the request that next has read. It reports whether the
// connection goes on.
func (c *serverConn) exchange() bool {
	if !c.enter(stream.PhaseWait) { // the frame came as its time ran out
		c.req.Exchange.Fault = &stream.Fault{Kind: stream.HeadTimeout}
		c.finish()
		return false
	}
	resp, sound := c.ask()
	p := pages.Get().(*page)
	defer pages.Put(p)
	frame, status := c.answer(p[:0], resp)
	written := c.respond(frame, status)
	c.finish()
	if !written || !sound || c.ctx.Err() != nil {
		return false
	}
	if !c.last && !c.srv.retired.Load() && !c.srv.draining.Load() {
		return true
	}
	c.linger()
	return false
}

// ask runs the Service. It reports false after a panic: then nothing is known
// of who still uses the connection.
func (c *serverConn) ask() (resp *stream.Response, sound bool) {
	defer func() {
		if p := recover(); p != nil {
			c.panicked(p)
			resp, sound = c.instead(stream.Faultf(stream.Internal, stream.RetryNever, "panic: %v", p)), false
		}
	}()
	resp, err := c.srv.cfg.Service.Serve(c.ctx, &c.req)
	if err != nil {
		resp = c.instead(stream.AsFault(err))
	}
	return resp, true
}

// instead is the response to a fault that no stage has answered.
func (c *serverConn) instead(f *stream.Fault) *stream.Response {
	c.req.Exchange.Fault = f
	return c.srv.cfg.Refuse(c.ctx, &c.req, f)
}

// answer makes the frame of a response, nil when there is none to send, and
// closes its body.
func (c *serverConn) answer(dst []byte, resp *stream.Response) (frame []byte, status int) {
	if c.req.Exchange.Fault.HangsUp() {
		resp.Body.Close()
		c.srv.Stats.Errors.Add(1)
		c.last = true
		return nil, 0
	}
	if resp.Status/100 == 2 {
		frame, f := c.content(dst, resp)
		resp.Body.Close()
		if f == nil {
			return frame, resp.Status
		}
		resp = c.instead(f)
	}
	resp.Body.Close()
	return c.failure(dst, resp.Status), resp.Status
}

// content makes the frame of a response that is a success.
func (c *serverConn) content(dst []byte, resp *stream.Response) ([]byte, *stream.Fault) {
	if _, ok := resp.Body.(stream.Duplex); ok {
		return nil, &stream.Fault{Kind: stream.Internal, Cause: errTunnel}
	}
	fr := &c.srv.framing
	frame, err := appendBody(fr.open(dst), resp.Body, resp.Length, fr.max)
	if err == nil {
		c.req.Exchange.BytesOut = int64(len(fr.content(frame)))
		frame, err = fr.seal(frame)
	}
	switch f, _ := err.(*stream.Fault); {
	case err == nil:
		return frame, nil
	case f != nil:
		return nil, f
	case errors.Is(err, errDelimiter):
		return nil, &stream.Fault{Kind: stream.ResponseMalformed, Cause: err}
	}
	return nil, &stream.Fault{Kind: stream.ResponseTooLarge, Limit: "framing.max", Cause: err}
}

// failure makes the error frame. Without one the connection ends, which is the
// only thing that a client can notice then.
func (c *serverConn) failure(dst []byte, status int) []byte {
	c.srv.Stats.Errors.Add(1)
	c.req.Exchange.BytesOut = 0
	if c.srv.cfg.Framed.Error == "" {
		c.last = true
		return nil
	}
	reason := statusReason
	if f := c.req.Exchange.Fault; f != nil {
		reason = f.Kind.String()
	}
	frame, err := c.srv.errorFrame(dst, status, reason)
	if err != nil { // a word that the framing cannot hold
		c.last = true
		return nil
	}
	c.req.Exchange.BytesOut = int64(len(c.srv.framing.content(frame)))
	return frame
}

// respond writes a frame. It reports whether all of it was written.
func (c *serverConn) respond(frame []byte, status int) bool {
	ex := &c.req.Exchange
	ex.Draining = c.srv.draining.Load() || c.srv.retired.Load()
	gone := c.fired() == watchdog.PeerGone
	if !c.enter(stream.PhaseWrite) || c.ctx.Err() != nil {
		c.last = true
	}
	if gone {
		c.broken(&stream.Fault{Kind: stream.ClientGone})
		return false
	}
	for rest := frame; len(rest) > 0; {
		n, err := c.nc.Write(rest[:min(len(rest), writeSlice)])
		c.guard.Moved(n)
		if err != nil {
			c.broken(c.writeFault(err))
			return false
		}
		rest = rest[n:]
	}
	now := time.Now()
	if frame != nil {
		ex.Status, ex.HeadSent = status, now
	}
	ex.End = now
	return true
}

func (c *serverConn) writeFault(err error) *stream.Fault {
	if c.fired() != watchdog.None {
		return &stream.Fault{Kind: stream.ClientTooSlow, Cause: err}
	}
	return &stream.Fault{Kind: stream.ClientGone, Cause: err}
}

// broken keeps the first reason why an answer broke off.
func (c *serverConn) broken(f *stream.Fault) {
	if c.req.Exchange.Fault == nil {
		c.req.Exchange.Fault = f
	}
	c.req.Exchange.BytesOut = 0
}

// finish ends the exchange.
func (c *serverConn) finish() {
	ex := &c.req.Exchange
	c.bytesOut.Add(ex.BytesOut)
	if ex.End.IsZero() {
		ex.End = time.Now()
	}
	if c.srv.cfg.Done != nil {
		c.srv.cfg.Done(&c.req)
	}
}

// refuse answers a frame that could not be read and ends the connection: where
// the next one begins is not known.
func (c *serverConn) refuse(f *stream.Fault) {
	c.srv.Stats.Refused[f.Kind].Add(1)
	_ = c.nc.SetDeadline(noDeadline) // of the wait that has ended
	resp := c.instead(f)
	resp.Body.Close()
	written := c.respond(c.failure(nil, resp.Status), resp.Status)
	c.finish()
	if written {
		c.linger()
	}
}

// maxLinger bounds what is read and thrown away before a close.
const maxLinger = 1 << 20

// linger lets the client read the last answer before the connection closes:
// closed with unread bytes it would be reset, and the reset may overtake the
// answer. Nothing that is read here is looked at.
func (c *serverConn) linger() {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	c.enter(stream.PhaseLinger)
	c.in.release()
	for total := 0; total < maxLinger && c.ctx.Err() == nil; {
		n, err := c.in.fill()
		if err != nil {
			return
		}
		total += n
		c.guard.Moved(n)
		c.in.release()
	}
}
