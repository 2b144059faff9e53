package http1

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

var errBodyLength = errors.New("the request body does not have its declared length")

// upload writes a request body that is not small and in memory, on a goroutine
// of its own, while the goroutine of the exchange waits for the response: an
// upstream may answer before it has read everything.
type upload struct {
	c       *Client
	guard   watchdog.Guard
	watched bool
	pace    pace
	run     func()        // bound once
	done    chan struct{} // one message when run has ended
	started bool          // owned by the goroutine of the exchange

	// budget is how much time the upstream has for the head of the response
	// once it has the whole request; 0: no limit.
	budget time.Duration

	mu       sync.Mutex
	final    bool          // the last piece is being written
	complete bool          // the whole body is written
	fault    *stream.Fault // why it is not, once that is known
	headHere bool          // the response has begun
	stopped  bool          // end does not want the rest
}

func (u *upload) init(c *Client) {
	u.c = c
	u.run = u.serve
	u.done = make(chan struct{}, 1)
}

// start begins the upload.
func (u *upload) start() {
	u.final, u.complete, u.fault, u.headHere, u.stopped = false, false, nil, false, false
	u.pace.begin(&u.c.cfg.Phases[stream.PhaseUpstreamSend])
	if !u.watched {
		u.watched = true
		u.c.cfg.Dog.Watch(&u.guard, u.c.cfg.watchLimits(), u.expire, nil)
	}
	if payer := u.c.cfg.Payer; payer != nil {
		u.guard.Bill(payer(u.c.req))
	}
	u.started = true
	u.c.cfg.Go(u.run)
}

// expire runs on the dog's goroutine.
func (u *upload) expire(uint8, watchdog.Verdict) { _ = u.c.nc.SetWriteDeadline(longAgo) }

func (u *upload) serve() {
	f := &stream.Fault{Kind: stream.Internal}
	defer func() {
		if p := recover(); p != nil {
			f.Cause = fmt.Errorf("panic: %v", p)
			slog.Error("panic while sending a request body; the exchange ends",
				"component", "http1", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
		u.finish(f)
		u.done <- struct{}{}
	}()
	f = u.copy(u.c.req.Body, u.c.req.Length)
}

// copy writes the body. The result is nil when all of it is written.
func (u *upload) copy(body stream.Body, left int64) *stream.Fault {
	p := pages.Get().(*page)
	defer pages.Put(p)
	chunked := left < 0
	for empty := 0; ; {
		n, err := body.Read(p[reserveChunk : pageSize-2])
		if err != nil && err != io.EOF {
			return stream.AsFault(err)
		}
		if empty++; n > 0 {
			empty = 0
		} else if empty > maxEmptyReads {
			return &stream.Fault{Kind: stream.Internal, Cause: errNoProgress}
		}
		end := err == io.EOF
		out := p[reserveChunk : reserveChunk+n]
		if !chunked {
			if left -= int64(n); left < 0 || end && left > 0 {
				return &stream.Fault{Kind: stream.Internal, Cause: errBodyLength}
			}
			end = left == 0
		} else if out, err = frameChunk(p, n, end, body); err != nil {
			return &stream.Fault{Kind: stream.Internal, Cause: err}
		}
		if end {
			u.mu.Lock()
			u.final = true
			u.mu.Unlock()
		}
		if f := u.write(out); f != nil {
			return f
		}
		if end {
			return nil
		}
	}
}

// frameChunk puts the framing around n bytes of data in p, and the end of the
// body behind them if they are the last.
func frameChunk(p *page, n int, end bool, body stream.Body) ([]byte, error) {
	out := p[reserveChunk:reserveChunk]
	if n > 0 {
		at := putChunkSize(p[:reserveChunk], n)
		out = append(p[at:reserveChunk+n], '\r', '\n')
	}
	if !end {
		return out, nil
	}
	return appendLastChunk(out, body.Trailer())
}

func (u *upload) write(p []byte) *stream.Fault {
	if len(p) == 0 {
		return nil
	}
	u.guard.Enter(uint8(stream.PhaseUpstreamSend))
	u.guard.Hold(pageSize)
	start := time.Now()
	n, err := u.c.nc.Write(p)
	u.c.guard.Moved(n)
	if err != nil {
		switch _, v := u.guard.Fired(); v {
		case watchdog.None:
		case watchdog.Costly:
			return stream.Costly(err)
		default:
			return &stream.Fault{Kind: stream.UpstreamTooSlow, Cause: err}
		}
		return &stream.Fault{Kind: stream.UpstreamReset, Cause: err}
	}
	v := u.pace.wait(time.Since(start), n)
	if !u.guard.Rest() || v != watchdog.None {
		return &stream.Fault{Kind: stream.UpstreamTooSlow}
	}
	return nil
}

// finish keeps the result. When the upload broke off for a reason that the
// upstream does not know yet, the wait for its response ends; when the
// upstream closed, its response may be there to read.
func (u *upload) finish(f *stream.Fault) {
	u.guard.Rest()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.fault, u.complete = f, f == nil
	switch {
	case u.stopped:
	case f == nil:
		if !u.headHere && u.budget > 0 {
			u.c.precise = true
			_ = u.c.nc.SetReadDeadline(time.Now().Add(u.budget))
		}
	case f.Kind != stream.UpstreamReset:
		_ = u.c.nc.SetReadDeadline(longAgo)
	}
}

// headIsHere says that the response has begun, which ends the budget.
func (u *upload) headIsHere() {
	if !u.started {
		return
	}
	u.mu.Lock()
	u.headHere = true
	u.mu.Unlock()
}

// downstreamFault is why the upload broke off, if the upstream does not know.
func (u *upload) downstreamFault() *stream.Fault {
	if !u.started {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.fault != nil && u.fault.Kind != stream.UpstreamReset {
		return u.fault
	}
	return nil
}

// finalGrace is how long the last write of a body may still take when the
// response to it has been read: it is most likely done, only not yet told.
const finalGrace = time.Second

// end waits for the upload to end, and ends it if need be. It reports whether
// the connection is as after a request that was sent in full.
func (u *upload) end() bool {
	u.budget = 0
	if !u.started {
		return true
	}
	u.started = false
	u.mu.Lock()
	running, final := !u.complete && u.fault == nil, u.final
	u.stopped = true
	u.mu.Unlock()
	switch {
	case running && final:
		_ = u.c.nc.SetWriteDeadline(time.Now().Add(finalGrace))
	case running:
		_ = u.c.nc.SetWriteDeadline(longAgo)
		u.c.req.Body.Close()
	}
	<-u.done
	if u.complete && running {
		_ = u.c.nc.SetWriteDeadline(noDeadline)
	}
	return u.complete
}
