package cluster

import (
	"io"
	"sync"

	"github.com/weirproxy/weir/stream"
)

// replay keeps what was read of a request body, up to a limit, so that it can
// be sent again. Attempts read it through views, one after the other: a view
// that was closed or overtaken reads nothing any more.
type replay struct {
	body  stream.Body
	limit int

	mu      sync.Mutex
	kept    []byte // read from body so far; the content itself when it is in memory
	whole   bool   // kept is all of it
	end     error  // what the read behind kept returned, io.EOF included
	lost    bool   // more than limit was read, or a read was broken off: not repeatable
	reading bool   // a view is in body.Read
	final   bool   // no other attempt follows: the end of the view ends the body
	current *view
	first   view // of the first attempt, to save an allocation
}

func newReplay(body stream.Body, limit int) *replay {
	r := &replay{body: body, limit: limit}
	if w, ok := body.(stream.Whole); ok {
		if content, ok := w.Bytes(); ok {
			r.kept, r.whole, r.end = content, true, io.EOF
		}
	}
	r.first.replay = r
	r.current = &r.first
	return r
}

// view is the body for the attempt that begins.
func (r *replay) view() stream.Body {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current
}

// repeatable tells whether the body can be sent again.
func (r *replay) repeatable() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.lost && !r.reading
}

// rewind takes the body away from the present view and makes another one.
func (r *replay) rewind() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lost || r.reading {
		return false
	}
	r.current.closed = true
	r.current = &view{replay: r}
	return true
}

// last says that the present attempt is the last one.
func (r *replay) last() {
	r.mu.Lock()
	r.final = true
	over := r.current.closed
	r.mu.Unlock()
	if over {
		_ = r.body.Close()
	}
}

// view is what one attempt sees of the body.
type view struct {
	*replay
	at     int  // what was read of kept. Guarded by replay.mu, like closed
	closed bool // by the attempt, or overtaken
}

// Read implements stream.Body.
func (v *view) Read(p []byte) (int, error) {
	r := v.replay
	r.mu.Lock()
	switch {
	case v.closed:
		r.mu.Unlock()
		return 0, &stream.Fault{Kind: stream.Internal, Cause: io.ErrClosedPipe}
	case v.at < len(r.kept):
		n := copy(p, r.kept[v.at:])
		v.at += n
		r.mu.Unlock()
		return n, nil
	case r.end != nil:
		err := r.end
		r.mu.Unlock()
		return 0, err
	}
	r.reading = true
	r.mu.Unlock()

	n, err := r.body.Read(p)

	r.mu.Lock()
	defer r.mu.Unlock()
	r.reading = false
	r.keep(p[:n], err)
	if !r.lost {
		v.at = len(r.kept)
	}
	return n, err
}

// keep adds what was read, or gives up on it.
func (r *replay) keep(p []byte, err error) {
	r.end = err
	switch {
	case r.lost:
	case len(r.kept)+len(p) > r.limit || err != nil && err != io.EOF:
		r.lost, r.kept = true, nil
	default:
		r.kept = append(r.kept, p...)
	}
}

// Close implements stream.Body. While another attempt may follow the body
// stays open, unless a read has to be broken off.
func (v *view) Close() error {
	r := v.replay
	r.mu.Lock()
	if v.closed {
		r.mu.Unlock()
		return nil
	}
	v.closed = true
	if r.reading {
		r.lost = true
	}
	end := r.reading || r.final
	r.mu.Unlock()
	if end {
		return r.body.Close()
	}
	return nil
}

// Trailer implements stream.Body.
func (v *view) Trailer() *stream.Header { return v.body.Trailer() }

// Announced implements stream.Announcer.
func (v *view) Announced() string {
	if a, ok := v.body.(stream.Announcer); ok {
		return a.Announced()
	}
	return ""
}

// Bytes implements stream.Whole.
func (v *view) Bytes() ([]byte, bool) {
	r := v.replay
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.whole || v.closed {
		return nil, false
	}
	return r.kept[v.at:], true
}

// Prefetch implements stream.Prefetcher: the cluster has done it already.
func (v *view) Prefetch(int) error { return nil }
