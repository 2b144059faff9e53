package http2

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

var (
	errNoSettings     = errors.New("the upstream has not begun to speak HTTP/2 in time")
	errRetired        = errors.New("the connection takes no new requests")
	errClosed         = errors.New("the connection was closed on our side")
	errNotRead        = errors.New("the upstream does not read the connection")
	errSilent         = errors.New("the upstream does not answer a PING")
	errServerGone     = errors.New("the upstream closed the connection")
	errGoneAway       = errors.New("the upstream said with GOAWAY that it has not processed the request")
	errLocalDeadline  = errors.New("the deadline of the attempt had passed before it began")
	errReplyClosed    = errors.New("the response body is closed")
	errStatus         = errors.New("the response has no status of three digits, or 101")
	errInterims       = errors.New("too many interim responses")
	errInterimEnd     = errors.New("an interim response ends the stream")
	errContentLong    = errors.New("the response has more content than its Content-Length says")
	errContentShort   = errors.New("the response has less content than its Content-Length says")
	errContentNone    = errors.New("content in a response that has none")
	errContentFirst   = errors.New("content in front of the head of a response")
	errStreamWindow   = errors.New("the upstream sends more than the window of the stream")
	errBodyLength     = errors.New("the request body does not have its declared length")
	errUploadStuck    = errors.New("the request body gives nothing")
	errNoExtended     = errors.New("the upstream does not take upgrades over HTTP/2 (SETTINGS_ENABLE_CONNECT_PROTOCOL)")
	errProtocolName   = errors.New("the protocol of the upgrade is no token")
	errZeroIncrement  = errors.New("WINDOW_UPDATE of nothing")
	errWindowOverflow = errors.New("WINDOW_UPDATE beyond the largest window")
)

// resetError is what the upstream said when it reset a stream or the connection.
type resetError struct {
	code   errCode
	goAway bool
}

func (e *resetError) Error() string {
	if e.goAway {
		return "the upstream ended the connection: " + e.code.String()
	}
	return "the upstream reset the stream: " + e.code.String()
}

// connectionFault says in our words why a connection ended. Nobody knows then
// what became of the requests on it.
func connectionFault(err error) *stream.Fault {
	f := &stream.Fault{Kind: stream.UpstreamClosed, Retry: stream.RetryIdempotent, Cause: err}
	var bad *failure
	switch {
	case errors.As(err, &bad):
		f.Kind = stream.ResponseMalformed
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		f.Kind = stream.UpstreamReset
	case err == io.EOF, errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
		f.Cause = errServerGone
	}
	return f
}

// resetFault is that of a stream that the upstream reset.
func resetFault(code errCode) *stream.Fault {
	f := &stream.Fault{Kind: stream.UpstreamReset, Retry: stream.RetryIdempotent, Cause: &resetError{code: code}}
	switch code {
	case codeRefusedStream: // RFC 9113 section 8.7: it did not process it
		f.Retry = stream.RetryUnsent
	case codeHTTP11Required:
		f.Retry = stream.RetryNever
	}
	return f
}

// verdictFault is a verdict of the watchdog about an exchange.
func verdictFault(phase stream.Phase, v watchdog.Verdict) *stream.Fault {
	switch {
	case v == watchdog.Canceled:
		return &stream.Fault{Kind: stream.ClientGone}
	case phase == stream.PhaseUpstreamHead:
		return &stream.Fault{Kind: stream.UpstreamTimeout, Retry: stream.RetryIdempotent}
	case phase == stream.PhaseTunnel:
		return &stream.Fault{Kind: stream.BodyTimeout, Cause: errTunnelIdle}
	}
	return &stream.Fault{Kind: stream.UpstreamTooSlow}
}
