package framed

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/weirproxy/weir/internal/peek"
	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

var (
	errStale        = errors.New("the upstream had closed the pooled connection, or sent bytes that no request asked for")
	errNoResponse   = errors.New("the upstream closed the connection without an answer")
	errFrameCut     = errors.New("the upstream closed the connection inside a frame")
	errDeadlinePast = errors.New("the deadline of the attempt had passed before it began")
)

// deadlineNear is when the coarse watch of a deadline is not exact enough.
const deadlineNear = 2 * time.Second

// writeSlice is the most that one write carries, so that a peer that takes it
// slowly is seen to make progress.
const writeSlice = 64 << 10

// begin makes sure that the connection is fit for the request, of which nothing
// has left.
func (c *Client) begin() *stream.Fault {
	if c.exchanges > 1 && !c.quiet() {
		c.touched = true
		return &stream.Fault{Kind: stream.UpstreamClosed, Retry: stream.RetryUnsent, Cause: errStale}
	}
	if c.deadline.IsZero() {
		return nil
	}
	left := time.Until(c.deadline)
	if left <= 0 {
		return &stream.Fault{Kind: stream.UpstreamTimeout, Retry: stream.RetryUnsent, Cause: errDeadlinePast}
	}
	if left < deadlineNear {
		c.precise = true
		_ = c.nc.SetDeadline(c.deadline)
	}
	return nil
}

// quiet tells whether the connection is open and has nothing to read. What TLS
// has decrypted already is not on the socket: a read whose deadline has passed
// gives that, and asks the socket for nothing.
func (c *Client) quiet() bool {
	switch c.nc.(type) {
	case *net.TCPConn, *net.UnixConn:
	default:
		var one [1]byte
		_ = c.nc.SetReadDeadline(longAgo)
		_, err := c.nc.Read(one[:])
		_ = c.nc.SetReadDeadline(noDeadline)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		}
	}
	return peek.Quiet(c.nc)
}

// send writes the frame.
func (c *Client) send(frame []byte) *stream.Fault {
	c.touched = true
	c.guard.EnterUntil(uint8(stream.PhaseUpstreamSend), c.ctx, c.deadline)
	for len(frame) > 0 {
		n, err := c.nc.Write(frame[:min(len(frame), writeSlice)])
		c.sent = c.sent || n > 0
		if err != nil {
			return c.fault(err)
		}
		c.guard.Moved(n)
		frame = frame[n:]
	}
	return nil
}

// fault says in our words why the connection failed.
func (c *Client) fault(err error) *stream.Fault {
	f := &stream.Fault{Retry: stream.RetryIdempotent, Cause: err}
	if !c.sent {
		f.Retry = stream.RetryUnsent
	}
	phase, v := c.guard.Fired()
	switch {
	case v == watchdog.Canceled:
		return &stream.Fault{Kind: stream.ClientGone}
	case v == watchdog.Stalled && phase != uint8(stream.PhaseUpstreamHead), v == watchdog.TooSlow:
		f.Kind, f.Cause = stream.UpstreamTooSlow, nil
	case v != watchdog.None, errors.Is(err, os.ErrDeadlineExceeded):
		f.Kind, f.Cause = stream.UpstreamTimeout, nil
	case err == io.EOF && c.in.buffered() > 0:
		f.Kind, f.Cause = stream.ResponseTruncated, errFrameCut
	case err == io.EOF:
		f.Kind, f.Cause = stream.UpstreamClosed, errNoResponse
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		f.Kind = stream.UpstreamReset
	default:
		f.Kind = stream.UpstreamClosed
	}
	return f
}
