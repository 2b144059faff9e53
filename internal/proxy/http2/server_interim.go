package http2

import "github.com/weirproxy/weir/stream"

// Expect: 100-continue ends here, as in the HTTP/1 codec: the first read of the
// request body tells the client to send it.

// sendContinue tells the client to send the body. Any goroutine.
func (s *serverStream) sendContinue() error {
	s.interimMu.Lock()
	defer s.interimMu.Unlock()
	if s.told {
		return nil
	}
	if s.sealed {
		return closedFault()
	}
	s.told = true
	return s.writeInterim(100, nil)
}

// interim is Request.Interim. What comes too late or is one too many is
// dropped: an interim response is a courtesy. Any goroutine.
func (s *serverStream) interim(status int, h *stream.Header) error {
	switch {
	case status == 100:
		return nil // ours to send
	case status < 102 || status > 199:
		return stream.Faultf(stream.Internal, stream.RetryNever, "%d is no interim status", status)
	}
	s.interimMu.Lock()
	defer s.interimMu.Unlock()
	if s.interims++; s.sealed || s.interims > maxInterim {
		return nil
	}
	return s.writeInterim(status, h)
}

// writeInterim writes an interim head. interimMu is held.
func (s *serverStream) writeInterim(status int, h *stream.Header) error {
	c := s.c
	c.out.mu.Lock()
	if s.gone {
		defer c.out.mu.Unlock()
		return &stream.Fault{Kind: stream.ClientGone, Cause: errReset}
	}
	at := c.beginBlock()
	out := appendStatus(c.out.buf, status)
	if h != nil {
		var err error
		if out, err = appendFields(out, h); err != nil {
			c.out.buf = c.out.buf[:at]
			c.out.mu.Unlock()
			return stream.Faultf(stream.Internal, stream.RetryNever, "interim response: %w", err)
		}
	}
	c.out.buf = out
	c.endBlock(at, s.send.id, false)
	c.out.mu.Unlock()
	c.out.flush()
	return nil
}

// seal ends the time of interim responses.
func (s *serverStream) seal() {
	s.interimMu.Lock()
	s.sealed = true
	s.interimMu.Unlock()
}
