package http1

import (
	"errors"
	"io"
	"sync"
	"syscall"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

var (
	errTunnelIdle = errors.New("nothing moved through the tunnel for too long")
	errTunnelMax  = errors.New("the tunnel has lasted as long as it may")
)

// switched is the body of a 101 or of a 2xx to CONNECT: the upstream end of a
// tunnel. One goroutine
// may be in Read and one in Write; Close ends both.
type switched struct {
	reply

	mu     sync.Mutex
	busy   int  // reads and writes under way
	closed bool // no further ones
	ended  bool // whoever came last gives the client back

	over chan struct{} // closed when it was given back
}

var (
	_ stream.Duplex  = (*switched)(nil)
	_ stream.Awaiter = (*switched)(nil)
)

// switchProtocols makes the tunnel. The connection is never used for another
// request. How long the tunnel may last is for the downstream side to say.
func (c *Client) switchProtocols(resp *stream.Response) (*stream.Response, *stream.Fault) {
	if resp.Status == 101 && !c.reader.switched(c.req.Upgrade) {
		return nil, responseSide.bad(errSwitch)
	}
	if c.key != "" {
		if err := checkAccept(c.key, &resp.Header); err != nil {
			return nil, responseSide.bad(err)
		}
	}
	s := &switched{reply: reply{c: c, Response: *resp}, over: make(chan struct{})}
	s.Length, s.Body = -1, s
	c.last = true
	c.content.begin(contentToClose, 0)
	c.guard.EnterIdle(uint8(stream.PhaseTunnel), c.ctx, noDeadline, c.req.Tunnel.Idle)
	return &s.Response, nil
}

// begin is the start of a read or write; false when the tunnel is closed.
func (s *switched) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.busy++
	return true
}

// finish is its end.
func (s *switched) finish() {
	s.mu.Lock()
	s.busy--
	s.endIfLast()
}

// Close ends both directions. The client is given back once nobody is inside.
// Several may call it. The request belongs to its owner again as soon as one of
// these calls has returned, so none does before the exchange is over.
func (s *switched) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		s.c.nc.SetDeadline(longAgo)
	}
	s.endIfLast()
	<-s.over
	return nil
}

// endIfLast unlocks s.mu.
func (s *switched) endIfLast() {
	last := s.closed && s.busy == 0 && !s.ended
	s.ended = s.ended || last
	s.mu.Unlock()
	if last {
		s.c.end(false)
		close(s.over)
	}
}

// Await waits until Read has something to give; see stream.Awaiter.
func (s *switched) Await() error {
	if !s.begin() {
		return s.fault(errReplyClosed)
	}
	var err error
	if s.c.src.buffered() == 0 { // in this frame, which waits for hours: see serverConn.serve
		err = s.c.src.fillQuiet()
	}
	s.finish()
	return s.fault(err)
}

// Read reads what the upstream sends.
func (s *switched) Read(p []byte) (int, error) {
	if !s.begin() {
		return 0, s.fault(errReplyClosed)
	}
	defer s.finish()
	src := &s.c.src
	if src.buffered() == 0 {
		if err := src.fillQuiet(); err != nil {
			return 0, s.fault(err)
		}
	}
	n := copy(p, src.bytes())
	src.consume(n)
	s.c.guard.Moved(n)
	return n, nil
}

// Write sends to the upstream.
func (s *switched) Write(p []byte) (int, error) {
	if !s.begin() {
		return 0, s.fault(errReplyClosed)
	}
	defer s.finish()
	n, err := s.c.nc.Write(p)
	s.c.guard.Moved(n)
	return n, s.fault(err)
}

// CloseWrite tells the upstream that nothing more comes.
func (s *switched) CloseWrite() error {
	if !s.begin() {
		return s.fault(errReplyClosed)
	}
	defer s.finish()
	return s.fault(closeWrite(s.c.nc))
}

// Trailer is nil; see stream.Body.
func (s *switched) Trailer() *stream.Header { return nil }

// Bytes says that nobody knows what comes; see stream.Whole.
func (s *switched) Bytes() ([]byte, bool) { return nil, false }

func (s *switched) hasBuffered() bool { return false }

// fault says in our words why the upstream side of a tunnel failed; nil and
// io.EOF stay what they are.
func (s *switched) fault(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	switch _, v := s.c.guard.Fired(); v {
	case watchdog.None:
	case watchdog.Canceled:
		return &stream.Fault{Kind: stream.ClientGone}
	default:
		return &stream.Fault{Kind: stream.BodyTimeout, Limit: "tunnel_idle", Cause: errTunnelIdle}
	}
	if errors.Is(err, syscall.ECONNRESET) {
		return &stream.Fault{Kind: stream.UpstreamReset, Cause: err}
	}
	return &stream.Fault{Kind: stream.UpstreamClosed, Cause: err}
}
