package cache

import (
	"context"
	"io"
	"sync"

	"github.com/weirproxy/weir/stream"
)

// fill is content on its way into the store, read by any number of readers at
// once. Nobody pumps: the reader that needs more than there is, while no other
// is reading, reads from the source for all of them. So it goes as fast as the
// fastest reader, and no goroutine stands behind it.
type fill struct {
	source  stream.Body
	length  int64 // -1: not known
	max     int64 // more is not kept
	budget  *budget
	done    func(content []byte, ok bool) // called once: the content, whole or given up
	release func()                        // the exchange with the upstream is over

	mu       sync.Mutex
	buf      []byte
	ended    bool
	kept     bool // buf will be stored; false: it is a window for the only reader
	err      *stream.Fault
	trailer  *stream.Header
	reading  bool
	changed  chan struct{} // closed when there is more; nil when nobody waits
	readers  int
	reserved int64
}

// budget bounds the bytes of all fills together.
type budget struct {
	mu   sync.Mutex
	used int64
	max  int64
}

func (b *budget) take(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used+n > b.max {
		return false
	}
	b.used += n
	return true
}

func (b *budget) resize(most int64) {
	b.mu.Lock()
	b.max = most
	b.mu.Unlock()
}

func (b *budget) taken() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

func (b *budget) give(n int64) {
	b.mu.Lock()
	b.used -= n
	b.mu.Unlock()
}

// smallest is the least room that is made at a time; largest is the most that is
// made on the word of a Content-Length; window is the room for content that is
// passed on and not kept.
const (
	smallest = 4 << 10
	largest  = 256 << 10
	window   = 32 << 10
)

// newFill has one reader, which the caller takes with reader. Room for a known
// length has been taken from the budget.
func newFill(source stream.Body, length, most int64, b *budget, release func(), done func([]byte, bool)) *fill {
	f := &fill{source: source, length: length, max: most, budget: b, done: done, release: release, kept: true, readers: 1}
	f.reserved = max(length, 0)
	return f
}

// join adds a reader; false when the content broke off or is not kept.
func (f *fill) join() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.kept || f.err != nil {
		return false
	}
	f.readers++
	return true
}

// more waits until there is content behind at, or the end. Only the reader that
// asks first reads from the source.
func (f *fill) more(ctx context.Context, at int, watching bool) *stream.Fault {
	f.mu.Lock()
	if at < len(f.buf) || f.ended || watching && !f.kept {
		f.mu.Unlock()
		return nil
	}
	if !f.reading {
		f.reading = true
		room := f.room()
		f.mu.Unlock()
		f.read(room)
		return nil
	}
	if f.changed == nil {
		f.changed = make(chan struct{})
	}
	changed := f.changed
	f.mu.Unlock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return &stream.Fault{Kind: stream.ClientGone, Cause: context.Cause(ctx)}
	}
}

// room is where the next read goes: behind what is there. Readers look at what
// is in front of it only.
func (f *fill) room() []byte {
	if len(f.buf) == cap(f.buf) {
		f.grow()
	}
	return f.buf[len(f.buf):cap(f.buf)]
}

func (f *fill) grow() {
	size := max(2*int64(cap(f.buf)), smallest)
	if f.length >= 0 {
		// One byte more than the content: the read that fills it sees the end, too.
		whole := f.length + 1
		if f.buf == nil {
			size = min(whole, largest)
		}
		size = min(size, whole)
	}
	size = max(size, int64(len(f.buf))+1)
	grown := make([]byte, len(f.buf), size)
	copy(grown, f.buf)
	f.buf = grown
}

// read reads once from the source. It is the only one to do so.
func (f *fill) read(room []byte) {
	n, err := 0, error(&stream.Fault{Kind: stream.Internal})
	defer func() { f.took(n, err) }() // also when the source panics: others wait
	n, err = f.source.Read(room)
}

func (f *fill) took(n int, err error) {
	f.mu.Lock()
	f.reading = false
	if f.ended { // everybody left meanwhile
		f.mu.Unlock()
		f.source.Close()
		return
	}
	f.buf = f.buf[:len(f.buf)+n]
	if f.length >= 0 && int64(len(f.buf)) > f.length {
		err = stream.Faultf(stream.ResponseMalformed, stream.RetryNever, "cache: more than the %d bytes that were declared", f.length)
	}
	if err == nil && f.full() && nothingFollows(f.source) {
		err = io.EOF
	}
	freed := int64(0)
	if f.kept && !f.fits() {
		f.kept = false
		freed, f.reserved = f.reserved, 0
	}
	over := err != nil
	if over {
		f.ended = true
		f.end(err)
	}
	kept, content := f.kept, f.buf
	if f.changed != nil {
		close(f.changed)
		f.changed = nil
	}
	if over {
		freed += f.reserved
		f.reserved = 0
	}
	f.mu.Unlock()
	f.budget.give(freed)
	if !over && !kept {
		f.finish(nil, false)
	}
	if over {
		f.source.Close()
		f.release()
		f.finish(content, kept && f.err == nil && f.trailer == nil)
	}
}

// full tells whether all content that was declared is there. Who writes a
// response of known length reads no further.
func (f *fill) full() bool { return f.length >= 0 && int64(len(f.buf)) == f.length }

// nothingFollows tells whether a body is known to have ended, without a trailer.
func nothingFollows(body stream.Body) bool {
	whole, ok := body.(stream.Whole)
	if !ok {
		return false
	}
	rest, ok := whole.Bytes()
	return ok && len(rest) == 0
}

// fits tells whether what is there is still worth keeping. What is not known in
// advance takes room as it comes.
func (f *fill) fits() bool {
	if f.length >= 0 {
		return true
	}
	if int64(len(f.buf)) > f.max {
		return false
	}
	if need := int64(cap(f.buf)) - f.reserved; need > 0 {
		if !f.budget.take(need) {
			return false
		}
		f.reserved += need
	}
	return true
}

// rewind makes the buffer a window: what is in it has been read by the only
// reader. Content of unknown length has one reader, so long as it is not whole.
func (f *fill) rewind() {
	if cap(f.buf) > window {
		f.buf = make([]byte, 0, window)
	}
	f.buf = f.buf[:0]
}

// end notes how the content ended. The trailer is copied: its memory is that of
// a connection.
func (f *fill) end(err error) {
	if err != io.EOF {
		f.err = stream.AsFault(err)
		return
	}
	if f.length >= 0 && int64(len(f.buf)) != f.length && f.kept {
		f.err = stream.Faultf(stream.ResponseTruncated, stream.RetryNever, "cache: %d bytes of %d came", len(f.buf), f.length)
		return
	}
	if t := f.source.Trailer(); t != nil && t.Len() > 0 {
		own := t.Clone()
		f.trailer = &own
	}
}

// finish says once what became of the content.
func (f *fill) finish(content []byte, ok bool) {
	f.mu.Lock()
	done := f.done
	f.done = nil
	f.mu.Unlock()
	if done == nil {
		return
	}
	if ok && cap(content)-len(content) > len(content)/8+64 {
		content = append(make([]byte, 0, len(content)), content...)
	}
	done(content, ok)
}

// leave takes a reader away; with the last one the exchange ends. If somebody
// is reading from the source at that moment (the client whose connection has
// just ended), the read ends with the exchange, and that reader closes it.
func (f *fill) leave() {
	f.mu.Lock()
	f.readers--
	if f.readers == 0 && !f.ended && !f.reading && f.full() {
		// All content is there; nobody has looked for its end yet.
		f.reading = true
		room := f.room()
		f.mu.Unlock()
		f.read(room)
		f.mu.Lock()
	}
	abandoned := f.readers == 0 && !f.ended
	if !abandoned {
		f.mu.Unlock()
		return
	}
	reading, reserved := f.reading, f.reserved
	f.ended, f.err, f.reserved = true, &stream.Fault{Kind: stream.ClientGone}, 0
	f.mu.Unlock()
	f.release()
	f.budget.give(reserved)
	if !reading {
		f.source.Close()
	}
	f.finish(nil, false)
}

// watch reads until the content is whole, without taking it; false when it will
// not be stored.
func (f *fill) watch(ctx context.Context) (bool, *stream.Fault) {
	for {
		f.mu.Lock()
		have, ended, kept := len(f.buf), f.ended, f.kept
		ok := f.err == nil && f.trailer == nil
		f.mu.Unlock()
		switch {
		case !kept:
			return false, nil
		case ended:
			return ok, nil
		case ctx.Err() != nil:
			return false, &stream.Fault{Kind: stream.ClientGone, Cause: ctx.Err()}
		}
		if fault := f.more(ctx, have, true); fault != nil {
			return false, fault
		}
	}
}

// reader is the content as one client reads it.
type reader struct {
	fill  *fill
	ctx   context.Context // of the client
	at    int
	leave func() // gives the place up, however often it is called
	onEnd func() // the content has ended; may be nil
}

var _ stream.Whole = (*reader)(nil)

func (r *reader) Read(p []byte) (int, error) {
	f := r.fill
	for {
		f.mu.Lock()
		if r.at < len(f.buf) {
			n := copy(p, f.buf[r.at:])
			r.at += n
			f.mu.Unlock()
			return n, nil
		}
		if !f.kept && !f.ended && r.at > 0 {
			f.rewind()
			r.at = 0
		}
		ended, err := f.ended, f.err
		f.mu.Unlock()
		switch {
		case ended && err != nil:
			own := *err
			return 0, &own
		case ended:
			if r.onEnd != nil {
				r.onEnd()
				r.onEnd = nil
			}
			return 0, io.EOF
		}
		if fault := f.more(r.ctx, r.at, false); fault != nil {
			return 0, fault
		}
	}
}

// Close gives up what was not read.
func (r *reader) Close() error {
	r.leave()
	return nil
}

// Trailer is that of the source.
func (r *reader) Trailer() *stream.Header {
	r.fill.mu.Lock()
	defer r.fill.mu.Unlock()
	return r.fill.trailer
}

// Bytes are ok once all of the content is there.
func (r *reader) Bytes() ([]byte, bool) {
	f := r.fill
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.ended || f.err != nil || f.trailer != nil {
		return nil, false
	}
	return f.buf[r.at:], true
}
