package http1

import (
	"time"

	"github.com/weirproxy/weir/stream"
)

// Expect: 100-continue ends here. The field is not passed on; the first read
// of the request body sends 100 (Continue) downstream, and that read is made
// once the head is on its way upstream. So neither connection is ever in doubt
// about whether content follows: upstream it always does (or the connection is
// not used again), and downstream a client that was not told to continue
// before the final response finds the connection closed behind it
// (CVE-2024-24791 is what comes of the doubt).

const continueHead = "HTTP/1.1 100 Continue\r\n\r\n"

// sendContinue tells the client to send the body. Any goroutine.
func (c *serverConn) sendContinue() error {
	c.interimMu.Lock()
	defer c.interimMu.Unlock()
	if c.told {
		return nil
	}
	if c.sealed {
		return &stream.Fault{Kind: stream.ClientGone, Cause: errBodyClosed}
	}
	c.told = true
	return c.writeInterim([]byte(continueHead))
}

// continued tells whether the client was told to send the body.
func (c *serverConn) continued() bool {
	c.interimMu.Lock()
	defer c.interimMu.Unlock()
	return c.told
}

// interim is Request.Interim. What comes too late or is one too many is
// dropped: an interim response is a courtesy. Any goroutine.
func (c *serverConn) interim(status int, h *stream.Header) error {
	switch {
	case status == 100:
		return nil // ours to send
	case status < 102 || status > 199:
		return stream.Faultf(stream.Internal, stream.RetryNever, "%d is no interim status", status)
	}
	c.interimMu.Lock()
	defer c.interimMu.Unlock()
	if c.interims++; c.sealed || c.interims > maxInterim {
		return nil
	}
	p := pages.Get().(*page)
	defer pages.Put(p)
	out := appendStatusLine(p[:0], status)
	out, err := appendFields(out, h)
	if err != nil {
		return stream.Faultf(stream.Internal, stream.RetryNever, "interim response: %w", err)
	}
	return c.writeInterim(append(out, "\r\n"...))
}

// writeInterim writes under a deadline of its own: the guard belongs to the
// goroutine of the connection and is in another phase. interimMu is held.
func (c *serverConn) writeInterim(p []byte) error {
	limit := c.srv.cfg.Phases[stream.PhaseWrite]
	_ = c.nc.SetWriteDeadline(time.Now().Add(max(limit.Idle, limit.Ceiling)))
	_, err := c.nc.Write(p)
	if err != nil {
		return &stream.Fault{Kind: stream.ClientGone, Cause: err}
	}
	_ = c.nc.SetWriteDeadline(noDeadline)
	return nil
}

// seal ends the time of interim responses.
func (c *serverConn) seal() {
	c.interimMu.Lock()
	c.sealed = true
	c.interimMu.Unlock()
}
