package http3

import (
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// upload writes a request body that is not small and in memory, on a goroutine
// of its own, while the goroutine of the exchange waits for the response: an
// upstream may answer before it has read everything.
type upload struct {
	x       *exchange // nil when there is nothing to upload
	post    *post
	pace    pace
	done    chan struct{}
	started bool

	// budget is how much time the upstream has for the head of the response
	// once it has the whole request; 0: no limit.
	budget time.Duration

	mu       sync.Mutex
	complete bool
	fault    *stream.Fault // why it is not complete, once that is known
	stopped  bool          // the upstream does not want the rest
	headHere bool
	ending   bool
}

func (u *upload) start(x *exchange) {
	u.x, u.started, u.done = x, true, make(chan struct{})
	u.pace.limit = &x.c.d.cfg.Phases[stream.PhaseUpstreamSend]
	u.post = x.c.posts.take(func(uint8, watchdog.Verdict) { _ = x.str.SetWriteDeadline(longAgo) })
	if payer := x.c.d.cfg.Payer; payer != nil {
		u.post.Bill(payer(x.req))
	}
	x.c.d.cfg.Go(u.serve)
}

func (u *upload) serve() {
	f := &stream.Fault{Kind: stream.Internal}
	defer func() {
		if p := recover(); p != nil {
			f.Cause = fmt.Errorf("panic: %v", p)
			slog.Error("panic while sending a request body; the exchange ends",
				"component", "http3", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
		u.finish(f)
		close(u.done)
	}()
	f = u.copy(u.x.req.Body, u.x.req.Length)
}

// copy writes the body. The result is nil when all of it is written.
func (u *upload) copy(body stream.Body, left int64) *stream.Fault {
	p := pages.Get().(*page)
	defer pages.Put(p)
	known := left >= 0
	for empty := 0; ; {
		n, err := body.Read(p[frameRoom:])
		if err != nil && err != io.EOF {
			return stream.AsFault(err)
		}
		if known {
			if left -= int64(n); left < 0 || err == io.EOF && left > 0 {
				return &stream.Fault{Kind: stream.Internal, Cause: errBodyShorter}
			}
		}
		if n > 0 {
			empty = 0
			at := putFrame(p[:frameRoom], frameData, n)
			if f := u.write(p[at : frameRoom+n]); f != nil {
				return f
			}
		} else if empty++; empty > maxEmptyReads {
			return &stream.Fault{Kind: stream.Internal, Cause: errNoProgress}
		}
		if err == io.EOF {
			return u.last(p, body.Trailer())
		}
	}
}

// last writes the trailers and ends the request.
func (u *upload) last(p *page, trailer *stream.Header) *stream.Fault {
	if trailer != nil && trailer.Len() > 0 {
		out, err := appendFields(appendPrefix(p[:frameRoom]), trailer)
		if err != nil {
			return &stream.Fault{Kind: stream.Internal, Cause: err}
		}
		if f := u.write(headersFrame(out)); f != nil {
			return f
		}
	}
	_ = u.x.str.Close() // fails only when the upstream stopped it
	return nil
}

func (u *upload) write(p []byte) *stream.Fault {
	for len(p) > 0 {
		u.post.Enter(uint8(stream.PhaseUpstreamSend))
		u.post.Hold(pageSize)
		start := time.Now()
		n, err := u.x.str.Write(p[:min(len(p), writeSlice)])
		u.x.post.Moved(n)
		if err != nil {
			switch _, v := u.post.Fired(); v {
			case watchdog.None:
			case watchdog.Costly:
				return stream.Costly(err)
			default:
				return &stream.Fault{Kind: stream.UpstreamTooSlow, Cause: err}
			}
			u.mu.Lock()
			u.stopped = true
			u.mu.Unlock()
			return &stream.Fault{Kind: stream.UpstreamReset, Cause: err}
		}
		p = p[n:]
		v := u.pace.wait(time.Since(start), n)
		if !u.post.Rest() || v != watchdog.None {
			return &stream.Fault{Kind: stream.UpstreamTooSlow}
		}
	}
	return nil
}

// finish keeps the result. When the upload broke off for a reason that the
// upstream does not know yet, the wait for its response ends; when the upstream
// wanted no more, its response may be there to read.
func (u *upload) finish(f *stream.Fault) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.fault, u.complete = f, f == nil
	switch {
	case u.ending:
	case f == nil:
		if !u.headHere && u.budget > 0 {
			_ = u.x.str.SetReadDeadline(time.Now().Add(u.budget))
		}
	case !u.stopped:
		u.x.str.CancelWrite(codeRequestCancelled)
		_ = u.x.str.SetReadDeadline(longAgo)
	}
}

// headIsHere says that the response has begun, which ends the budget.
func (u *upload) headIsHere() {
	u.mu.Lock()
	u.headHere = true
	u.mu.Unlock()
}

// downstreamFault is why the upload broke off, if the upstream does not know.
func (u *upload) downstreamFault() *stream.Fault {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.fault != nil && !u.stopped {
		return u.fault
	}
	return nil
}

// end waits for the upload to end, and ends it if need be. It reports whether
// the request was sent in full.
func (u *upload) end() bool {
	if !u.started {
		return true
	}
	u.started = false
	u.mu.Lock()
	running := !u.complete && u.fault == nil
	u.ending = true
	u.mu.Unlock()
	if running {
		_ = u.x.str.SetWriteDeadline(longAgo)
		u.x.req.Body.Close()
	}
	<-u.done
	u.x.c.posts.give(u.post)
	return u.complete
}
