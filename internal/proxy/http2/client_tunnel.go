package http2

import (
	"sync"
	"time"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// clientTunnel is the body of a response that turned a stream into a tunnel:
// the upstream end of it. One goroutine may be in Read and one in Write; Close
// ends both.
type clientTunnel struct {
	stream.Response
	s *clientStream

	mu     sync.Mutex
	busy   int  // reads and writes under way
	closed bool // no further ones
	ended  bool // whoever came last ends the exchange

	over chan struct{} // closed when the exchange is over
}

var (
	_ stream.Duplex  = (*clientTunnel)(nil)
	_ stream.Awaiter = (*clientTunnel)(nil)
)

// openTunnel makes the tunnel of a 2xx: 101 to an upgrade, 200 to CONNECT.
func (s *clientStream) openTunnel() *stream.Response {
	t := &clientTunnel{s: s, over: make(chan struct{})}
	t.Status, t.Length, t.Body = 200, -1, t
	if s.req.Upgrade != "" {
		t.Status = 101
	}
	t.Header, s.header = s.header, stream.Header{}
	var end time.Time
	if limit := s.req.Tunnel.Max; limit > 0 {
		end = time.Now().Add(limit)
	}
	s.guard.EnterIdle(uint8(stream.PhaseTunnel), s.ctx, end, s.req.Tunnel.Idle)
	return &t.Response
}

// begin is the start of a read or write; false when the tunnel is closed.
func (t *clientTunnel) begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.busy++
	return true
}

// finish is its end.
func (t *clientTunnel) finish() {
	t.mu.Lock()
	t.busy--
	t.endIfLast()
}

// endIfLast unlocks t.mu.
func (t *clientTunnel) endIfLast() {
	last := t.closed && t.busy == 0 && !t.ended
	t.ended = t.ended || last
	t.mu.Unlock()
	if last {
		ended := t.s.c.ended
		t.s.end()
		ended()
		close(t.over)
	}
}

// Close ends both directions; see stream.Body. Several may call it. The request
// belongs to its owner again as soon as one of these calls has returned, so none
// does before the exchange is over.
func (t *clientTunnel) Close() error {
	t.mu.Lock()
	if !t.closed {
		t.closed = true
		t.s.cut(&stream.Fault{Kind: stream.Internal, Cause: errReplyClosed})
	}
	t.endIfLast()
	<-t.over
	return nil
}

// cut wakes who is inside.
func (s *clientStream) cut(f *stream.Fault) {
	s.in.fail(f)
	o := &s.c.out
	o.mu.Lock()
	o.fail(&s.send, f)
	o.mu.Unlock()
}

var errTunnelClosed = &stream.Fault{Kind: stream.Internal, Cause: errReplyClosed}

// Read reads what the upstream sends.
func (t *clientTunnel) Read(p []byte) (int, error) {
	if !t.begin() {
		return 0, errTunnelClosed
	}
	defer t.finish()
	s := t.s
	for {
		n, err := s.in.get(p)
		if n > 0 {
			s.guard.Moved(n)
			s.took(n)
		}
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
		t.wait()
	}
}

// Await waits until Read gives something; see stream.Awaiter.
func (t *clientTunnel) Await() error {
	if !t.begin() {
		return errTunnelClosed
	}
	defer t.finish()
	if !t.s.in.ready() {
		t.wait()
	}
	return nil
}

// wait waits for bytes. Once the watchdog has spoken, nothing comes any more.
func (t *clientTunnel) wait() {
	t.s.in.wait()
	if phase, v := t.s.guard.Fired(); v != watchdog.None {
		t.s.cut(verdictFault(stream.Phase(phase), v))
	}
}

// Write sends to the upstream.
func (t *clientTunnel) Write(p []byte) (int, error) {
	if !t.begin() {
		return 0, errTunnelClosed
	}
	defer t.finish()
	s, o := t.s, &t.s.c.out
	written := 0
	for written < len(p) {
		o.mu.Lock()
		n := 0
		for s.sendFault() == nil {
			if n = o.allow(&s.send, min(len(p)-written, minFrame)); n > 0 {
				break
			}
			o.await(&s.send)
		}
		if f := s.sendFault(); f != nil {
			unwanted := s.unwanted
			o.mu.Unlock()
			if unwanted { // the upstream has ended as it should, and what a client still says, such as its own close frame, is no failure
				return len(p), nil
			}
			return written, f
		}
		o.begin()
		o.appendData(s.send.id, p[written:written+n], false)
		o.mu.Unlock()
		s.c.earn(framesPerData)
		s.c.flush()
		written += n
		s.guard.Moved(n)
	}
	return written, nil
}

// CloseWrite tells the upstream that nothing more comes.
func (t *clientTunnel) CloseWrite() error {
	if !t.begin() {
		return errTunnelClosed
	}
	defer t.finish()
	s, o := t.s, &t.s.c.out
	o.mu.Lock()
	f := s.sendFault()
	switch {
	case s.unwanted:
		f = nil
	case f == nil && !s.sentEnd:
		s.sentEnd = true
		o.begin()
		o.appendData(s.send.id, nil, true)
	}
	o.mu.Unlock()
	if f != nil {
		return f
	}
	s.c.flush()
	return nil
}

// Trailer is nil; see stream.Body.
func (t *clientTunnel) Trailer() *stream.Header { return nil }
