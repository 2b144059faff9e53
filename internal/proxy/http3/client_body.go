package http3

import (
	"io"
	"time"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// reply is the body of a response.
type reply exchange

var _ stream.Awaiter = (*reply)(nil)

// Read reads content; see stream.Body.
func (r *reply) Read(p []byte) (int, error) {
	return r.wait(func(x *exchange) (int, error) { return x.in.read(p) })
}

// Await waits until Read has something to give; see stream.Awaiter.
func (r *reply) Await() error {
	_, err := r.wait(func(x *exchange) (int, error) {
		err := x.in.ready()
		if err == nil && x.in.buffered() == 0 {
			err = x.in.payload(x.in.fill())
		}
		return 0, err
	})
	if err == io.EOF {
		return nil // Read says so
	}
	return err
}

// wait makes one wait for the upstream.
func (r *reply) wait(read func(*exchange) (int, error)) (int, error) {
	x := (*exchange)(r)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed.Load() {
		return 0, &stream.Fault{Kind: stream.Internal, Cause: errReplyClosed}
	}
	if x.fault != nil {
		return 0, x.fault
	}
	if x.in.state == inDone {
		return 0, io.EOF
	}
	x.post.EnterUntil(uint8(stream.PhaseUpstreamBody), x.ctx, noDeadline)
	start := time.Now()
	n, err := read(x)
	if err == io.EOF {
		x.post.Rest()
		x.req.Exchange.UpstreamEnd = time.Now()
		return n, io.EOF
	}
	if err == nil {
		_, fired := x.post.Fired()
		v := x.pace.wait(time.Since(start), n)
		switch {
		case !x.post.Rest() && fired == watchdog.Canceled:
			err = &stream.Fault{Kind: stream.ClientGone}
		case fired != watchdog.None, v != watchdog.None:
			err = &stream.Fault{Kind: stream.UpstreamTooSlow}
		}
	}
	if err != nil {
		x.fault = x.bodyFault(err)
		return n, x.fault
	}
	return n, nil
}

// bodyFault says in our words why the body of the response broke off.
func (x *exchange) bodyFault(err error) *stream.Fault {
	if f, ok := err.(*stream.Fault); ok {
		return f
	}
	if f := x.up.downstreamFault(); f != nil {
		return f
	}
	switch _, v := x.post.Fired(); v {
	case watchdog.None:
	case watchdog.Canceled:
		return &stream.Fault{Kind: stream.ClientGone}
	default:
		return &stream.Fault{Kind: stream.UpstreamTooSlow}
	}
	if x.c.end(err) {
		return &stream.Fault{Kind: stream.ResponseMalformed, Cause: err}
	}
	if _, reset := resetCode(err); reset {
		return &stream.Fault{Kind: stream.UpstreamReset, Cause: err}
	}
	return &stream.Fault{Kind: stream.ResponseTruncated, Cause: err}
}

// Close gives the place back; see stream.Body.
func (r *reply) Close() error {
	x := (*exchange)(r)
	if x.closed.Swap(true) {
		return nil
	}
	if !x.mu.TryLock() {
		_ = x.str.SetReadDeadline(longAgo)
		x.mu.Lock()
	}
	defer x.mu.Unlock()
	x.close(true)
	return nil
}

// Trailer is the trailer section; see stream.Body.
func (r *reply) Trailer() *stream.Header {
	if !r.in.hasTrailer {
		return nil
	}
	return &r.in.trailer
}

// tunnel is the upstream end of a tunnel. One goroutine may be in Read and one
// in Write; Close ends both.
type tunnel struct {
	x    *exchange
	over chan struct{} // closed when the exchange is over
}

var (
	_ stream.Duplex  = (*tunnel)(nil)
	_ stream.Awaiter = (*tunnel)(nil)
)

// Await waits until Read has something to give.
func (t *tunnel) Await() error {
	x := t.x
	x.mu.Lock()
	defer x.mu.Unlock()
	err := x.in.ready()
	if err == nil && x.in.buffered() == 0 {
		err = x.in.payload(x.in.fill())
	}
	if err == io.EOF {
		return nil // Read says so
	}
	return t.fault(err)
}

// Read reads what the upstream sends.
func (t *tunnel) Read(p []byte) (int, error) {
	x := t.x
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed.Load() {
		return 0, &stream.Fault{Kind: stream.UpstreamClosed, Cause: errReplyClosed}
	}
	n, err := x.in.read(p)
	x.post.Moved(n)
	return n, t.fault(err)
}

// Write sends to the upstream.
func (t *tunnel) Write(p []byte) (int, error) {
	out := pages.Get().(*page)
	defer pages.Put(out)
	written := 0
	for len(p) > 0 {
		n := copy(out[frameRoom:], p)
		at := putFrame(out[:frameRoom], frameData, n)
		if _, err := t.x.str.Write(out[at : frameRoom+n]); err != nil {
			return written, t.fault(err)
		}
		t.x.post.Moved(n)
		p, written = p[n:], written+n
	}
	return written, nil
}

// CloseWrite tells the upstream that nothing more comes.
func (t *tunnel) CloseWrite() error {
	t.x.sentEnd.Store(true)
	return t.fault(t.x.str.Close())
}

// Trailer is nil; see stream.Body.
func (t *tunnel) Trailer() *stream.Header { return nil }

// Close ends both directions. Several may call it. The request belongs to its
// owner again as soon as one of these calls has returned, so none does before
// the exchange is over.
func (t *tunnel) Close() error {
	x := t.x
	if x.closed.Swap(true) {
		<-t.over
		return nil
	}
	defer close(t.over)
	_ = x.str.SetDeadline(longAgo)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.close(true)
	return nil
}

// fault says in our words why the upstream side of a tunnel failed; nil and
// io.EOF stay what they are.
func (t *tunnel) fault(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	switch _, v := t.x.post.Fired(); v {
	case watchdog.None:
	case watchdog.Canceled:
		return &stream.Fault{Kind: stream.ClientGone}
	default:
		return &stream.Fault{Kind: stream.BodyTimeout, Cause: err}
	}
	t.x.c.end(err)
	if _, reset := resetCode(err); reset {
		return &stream.Fault{Kind: stream.UpstreamReset, Cause: err}
	}
	return &stream.Fault{Kind: stream.UpstreamClosed, Cause: err}
}
