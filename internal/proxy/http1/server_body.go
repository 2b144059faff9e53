package http1

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

var (
	errBodyClosed   = errors.New("the request body is closed")
	errBodyCutShort = errors.New("the client closed the connection inside the request body")
)

// serverBody is the body of the requests of one connection, one after the
// other. It is read by one goroutine at a time, which need not be that of the
// connection; Close comes from anywhere.
type serverBody struct {
	c      *serverConn
	handle *requestBody // what the present request carries; nil without content

	mu       sync.Mutex // held while a read is under way
	guard    watchdog.Guard
	watched  bool // the dog knows guard; from the first body that is waited for
	content  content
	pace     pace
	err      error // why it broke off
	pending  bool  // the client waits for 100 (Continue)
	closed   atomic.Bool
	complete atomic.Bool // all of it is read
	broken   atomic.Bool // the connection is of no use any more
	declared int64
	tunneled atomic.Int64 // bytes that came after the switch to another protocol
}

// requestBody is what a request carries of it: made anew for each request, so
// that whoever closes or reads a body too late does not reach the next one.
type requestBody struct {
	b    *serverBody
	over atomic.Bool // the exchange has ended
}

var _ stream.Prefetcher = (*requestBody)(nil)

// retire ends the use of the present body.
func (b *serverBody) retire() {
	if b.handle != nil {
		b.handle.over.Store(true)
		b.handle = nil
		b.guard.Bill(nil)
	}
}

func (r *requestBody) Read(p []byte) (int, error) {
	if r.over.Load() {
		return 0, &stream.Fault{Kind: stream.ClientGone, Cause: errBodyClosed}
	}
	return r.b.Read(p)
}

func (r *requestBody) Close() error {
	if r.over.Load() {
		return nil
	}
	return r.b.Close()
}

func (r *requestBody) Trailer() *stream.Header {
	if r.over.Load() {
		return nil
	}
	return r.b.Trailer()
}

func (r *requestBody) Bytes() ([]byte, bool) {
	if r.over.Load() {
		return nil, false
	}
	return r.b.Bytes()
}

func (r *requestBody) Prefetch(max int) error {
	if r.over.Load() {
		return nil
	}
	return r.b.Prefetch(max)
}

// Announced is the Trailer field; see stream.Announcer.
func (r *requestBody) Announced() string {
	if r.over.Load() || r.b.declared >= 0 {
		return ""
	}
	return announceable(r.b.c.reader.fr.trailer)
}

func (b *serverBody) init(c *serverConn) {
	b.c = c
	b.content = content{src: &c.src, from: b, m: &c.reader.m}
}

// begin makes the body of req.
func (b *serverBody) begin(req *stream.Request) {
	if req.Length == 0 {
		b.none()
		return
	}
	if req.Length < 0 {
		b.content.begin(chunkedContent, 0)
	} else {
		b.content.begin(knownContent, req.Length)
	}
	b.pace.begin(&b.c.srv.cfg.Phases[stream.PhaseBody])
	b.err, b.pending, b.declared = nil, req.ExpectContinue, req.Length
	b.closed.Store(false)
	b.complete.Store(false)
	b.broken.Store(false)
	b.handle = &requestBody{b: b}
	req.Body = b.handle
}

// none makes the body one that has no content.
func (b *serverBody) none() {
	if b.declared == 0 && b.complete.Load() { // as it was: the usual case
		return
	}
	b.content.begin(noContent, 0)
	b.err, b.pending, b.declared = nil, false, 0
	b.closed.Store(true)
	b.complete.Store(true)
	b.broken.Store(false)
}

// Read reads content; see stream.Body.
func (b *serverBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.ready(); err != nil {
		return 0, err
	}
	n, err := b.content.read(p)
	if b.content.done {
		b.complete.Store(true)
	}
	if err != nil && err != io.EOF {
		err = b.fail(err)
	}
	return n, err
}

// ready is what stands before every read. mu is held.
func (b *serverBody) ready() error {
	switch {
	case b.closed.Load():
		return &stream.Fault{Kind: stream.ClientGone, Cause: errBodyClosed}
	case b.err != nil:
		return b.err
	case !b.pending:
		return nil
	}
	b.pending = false
	if b.content.src.buffered() > 0 { // RFC 9110 section 10.1.1: content is here already
		return nil
	}
	if err := b.c.sendContinue(); err != nil {
		return b.fail(err)
	}
	return nil
}

// fail keeps the reason why the body broke off, as a fault. mu is held.
func (b *serverBody) fail(err error) error {
	if b.closed.Load() { // Close ended the read, not the client
		return &stream.Fault{Kind: stream.ClientGone, Cause: errBodyClosed}
	}
	b.broken.Store(true)
	f, ok := err.(*stream.Fault)
	if !ok {
		f = b.fault(err)
	}
	b.err = f
	return f
}

// fault says in our words why a read of the connection failed.
func (b *serverBody) fault(err error) *stream.Fault {
	_, v := b.guard.Fired()
	switch v {
	case watchdog.Stalled, watchdog.TooLong:
		return &stream.Fault{Kind: stream.BodyTimeout}
	case watchdog.TooSlow:
		return &stream.Fault{Kind: stream.ClientTooSlow}
	case watchdog.Costly:
		return stream.Costly(err)
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = errBodyCutShort
	}
	return &stream.Fault{Kind: stream.ClientGone, Cause: err}
}

func paceFault(v watchdog.Verdict, tooLong, tooSlow stream.Kind) error {
	switch v {
	case watchdog.None:
		return nil
	case watchdog.TooSlow:
		return &stream.Fault{Kind: tooSlow}
	}
	return &stream.Fault{Kind: tooLong}
}

// fill is filler.fill.
func (b *serverBody) fill() error {
	had := b.content.src.buffered()
	start := b.startWait()
	err := b.content.src.fill()
	return b.endWait(start, b.content.src.buffered()-had, err)
}

// readInto is filler.readInto.
func (b *serverBody) readInto(p []byte) (int, error) {
	start := b.startWait()
	n, err := b.c.nc.Read(p)
	return n, b.endWait(start, n, err)
}

func (b *serverBody) startWait() time.Time {
	if !b.watched {
		b.watched = true
		b.c.srv.cfg.Dog.Watch(&b.guard, b.c.srv.limits, b.expire, nil)
	}
	b.guard.Enter(uint8(stream.PhaseBody))
	b.c.hold(&b.guard, pageSize) // of whoever reads
	return time.Now()
}

// endWait judges a wait that has ended with err. After an error the guard
// stays in its phase, so that fault can ask it for the verdict.
func (b *serverBody) endWait(start time.Time, n int, err error) error {
	if err != nil {
		return err
	}
	if b.closed.Load() {
		b.guard.Rest()
		return errBodyClosed
	}
	v := b.pace.wait(time.Since(start), n)
	if f := paceFault(v, stream.BodyTimeout, stream.ClientTooSlow); f != nil {
		return f
	}
	if !b.guard.Rest() {
		return &stream.Fault{Kind: stream.BodyTimeout}
	}
	return nil
}

// expire runs on the dog's goroutine. Only the reads are woken: the client may
// still get its answer.
func (b *serverBody) expire(uint8, watchdog.Verdict) { _ = b.c.nc.SetReadDeadline(longAgo) }

// Close gives up what is not read; see stream.Body. It returns when no read is
// under way any more.
func (b *serverBody) Close() error {
	if b.closed.Swap(true) {
		return nil
	}
	if !b.mu.TryLock() { // a read is under way: end it, and leave the connection as it was
		_ = b.c.nc.SetReadDeadline(longAgo)
		b.mu.Lock()
		_ = b.c.nc.SetReadDeadline(noDeadline)
	}
	defer b.mu.Unlock()
	b.guard.Rest()
	if _, ok := b.content.whole(); ok && !b.content.done && b.err == nil && !b.pending {
		b.content.takeWhole()
		b.complete.Store(true)
	}
	return nil
}

// Trailer is the trailer section; see stream.Body.
func (b *serverBody) Trailer() *stream.Header {
	if !b.content.hasTrailer {
		return nil
	}
	return &b.content.trailer
}

// Bytes is the rest of the body if it is in memory; see stream.Whole.
func (b *serverBody) Bytes() ([]byte, bool) {
	if b.closed.Load() || b.err != nil {
		return nil, false
	}
	return b.content.whole()
}

// Prefetch brings a small body into memory; see stream.Prefetcher.
func (b *serverBody) Prefetch(max int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := &b.content
	if b.pending || b.closed.Load() || c.kind != knownContent || c.left > int64(max) {
		return nil
	}
	if b.err != nil {
		return b.err
	}
	for int64(c.src.buffered()) < c.left {
		if err := b.fill(); err != nil {
			return b.fail(err)
		}
	}
	return nil
}

// received is the number of bytes of content that came.
func (b *serverBody) received() int64 { return b.content.total + b.tunneled.Load() }

// staysOpen tells, before the head of the response is written, whether the
// connection can serve another request behind this body.
func (b *serverBody) staysOpen() bool {
	switch {
	case b.complete.Load():
		return true
	case b.broken.Load(), b.declared < 0, b.declared > maxDrain:
		return false
	}
	// Whether a client that was not told to continue sends its content all the
	// same is not known (RFC 9110 section 10.1.1).
	return !b.c.req.ExpectContinue || b.c.continued()
}

// drain reads away what is left of a body that was closed, so that the next
// request can be read. It reports false when the connection must end.
func (b *serverBody) drain() bool {
	if b.complete.Load() {
		return true
	}
	if b.broken.Load() {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed.Store(false)
	if b.pending {
		return false
	}
	p := pages.Get().(*page)
	defer pages.Put(p)
	for !b.content.done {
		if _, err := b.content.read(p[:]); err != nil && err != io.EOF {
			return false
		}
	}
	b.guard.Rest()
	return true
}
