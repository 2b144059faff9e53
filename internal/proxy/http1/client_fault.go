package http1

import (
	"errors"
	"io"
	"os"
	"syscall"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

var (
	errInterims     = errors.New("too many interim responses")
	errStale        = errors.New("the upstream had closed the pooled connection")
	errPoisoned     = errors.New("the upstream sent bytes on a connection without a request")
	errHeadCut      = errors.New("the upstream closed the connection inside a response head")
	errNoResponse   = errors.New("the upstream closed the connection without a response")
	errBodyCut      = errors.New("the upstream closed the connection inside a response body")
	errReplyClosed  = errors.New("the response body is closed")
	errDeadlinePast = errors.New("the deadline of the attempt had passed before it began")
)

// retry is what is known of the request when no response has come.
func (c *Client) retry() stream.Retry {
	if c.turn.state == turnUnsent {
		return stream.RetryUnsent
	}
	return stream.RetryIdempotent
}

// verdictFault is a verdict of the watchdog before the head of the response.
func (c *Client) verdictFault(v watchdog.Verdict) *stream.Fault {
	if v == watchdog.Canceled {
		return &stream.Fault{Kind: stream.ClientGone}
	}
	return &stream.Fault{Kind: stream.UpstreamTimeout, Retry: c.retry()}
}

// headFault says in our words why no head came. A request body that broke off
// is the client's fault, whatever the upstream made of it.
func (c *Client) headFault(err error) *stream.Fault {
	if f := c.up.downstreamFault(); f != nil {
		return f
	}
	if _, v := c.guard.Fired(); v != watchdog.None {
		return c.verdictFault(v)
	}
	f := &stream.Fault{Retry: c.retry(), Cause: err}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		f.Kind, f.Cause = stream.UpstreamTimeout, nil
	case err == io.EOF && c.src.buffered() > 0:
		f.Kind, f.Cause = stream.ResponseTruncated, errHeadCut
	case err == io.EOF:
		f.Kind, f.Cause = stream.UpstreamClosed, errNoResponse
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		f.Kind = stream.UpstreamReset
	default:
		f.Kind = stream.UpstreamClosed
	}
	return f
}

// bodyFault says in our words why the body of the response broke off.
func (c *Client) bodyFault(err error) *stream.Fault {
	if f, ok := err.(*stream.Fault); ok {
		return f
	}
	if f := c.up.downstreamFault(); f != nil {
		return f
	}
	switch _, v := c.guard.Fired(); v {
	case watchdog.None:
	case watchdog.Canceled:
		return &stream.Fault{Kind: stream.ClientGone}
	default:
		return &stream.Fault{Kind: stream.UpstreamTooSlow}
	}
	switch {
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return &stream.Fault{Kind: stream.ResponseTruncated, Cause: errBodyCut}
	case errors.Is(err, syscall.ECONNRESET):
		return &stream.Fault{Kind: stream.UpstreamReset, Cause: err}
	}
	return &stream.Fault{Kind: stream.ResponseTruncated, Cause: err}
}
