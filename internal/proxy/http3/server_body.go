package http3

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

var errBodyClosed = errors.New("the request body is closed")

// serverBody is the content of one request. It is read by one goroutine at a
// time, which need not be that of the stream; Close comes from anywhere.
type serverBody struct {
	st       *serverStream // nil without content
	mu       sync.Mutex    // held while a read is under way
	post     *post
	pace     pace
	err      error  // io.EOF, or why it broke off
	page     *page  // memory of Prefetch
	ahead    []byte // what Prefetch has read
	whole    bool   // and that is all
	pending  bool   // the client waits for 100 (Continue)
	closed   atomic.Bool
	received atomic.Int64
}

var (
	_ stream.Prefetcher = (*serverBody)(nil)
	_ stream.Announcer  = (*serverBody)(nil)
)

func (b *serverBody) begin(st *serverStream) {
	b.st, b.pending = st, st.req.ExpectContinue
	b.pace.limit = &st.c.cfg.Phases[stream.PhaseBody]
}

// Read reads content; see stream.Body.
func (b *serverBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed.Load() {
		return 0, &stream.Fault{Kind: stream.ClientGone, Cause: errBodyClosed}
	}
	if len(b.ahead) > 0 {
		n := copy(p, b.ahead)
		b.ahead = b.ahead[n:]
		return n, nil
	}
	return b.read(p)
}

// read reads what is not in memory. mu is held.
func (b *serverBody) read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.pending {
		b.pending = false
		if err := b.st.sendContinue(); err != nil {
			return 0, b.fail(err)
		}
	}
	if b.post == nil {
		b.post = b.st.c.posts.take(b.expire)
	}
	b.post.Enter(uint8(stream.PhaseBody))
	b.st.hold(&b.post.Guard) // of whoever reads
	start := time.Now()
	n, err := b.st.in.read(p)
	b.received.Add(int64(n))
	if err == io.EOF {
		b.post.Rest()
		b.err = io.EOF
		return n, io.EOF
	}
	if err != nil {
		return n, b.fail(err)
	}
	switch v := b.pace.wait(time.Since(start), n); {
	case v == watchdog.TooSlow:
		return 0, b.fail(&stream.Fault{Kind: stream.ClientTooSlow})
	case v != watchdog.None, !b.post.Rest():
		return 0, b.fail(&stream.Fault{Kind: stream.BodyTimeout})
	}
	return n, nil
}

// fail keeps the reason why the body broke off, as a fault. mu is held.
func (b *serverBody) fail(err error) error {
	if b.closed.Load() { // Close ended the read, not the client
		return &stream.Fault{Kind: stream.ClientGone, Cause: errBodyClosed}
	}
	c := b.st.c
	f, ok := err.(*stream.Fault)
	switch {
	case ok:
		b.st.str.CancelRead(codeMessageError)
	case c.end(err):
		f = &stream.Fault{Kind: stream.RequestMalformed, Cause: err}
	default:
		f = b.fault(err)
	}
	b.err = f
	return f
}

// fault says in our words why a read of the stream failed.
func (b *serverBody) fault(err error) *stream.Fault {
	if b.post != nil {
		switch _, v := b.post.Fired(); v {
		case watchdog.Stalled, watchdog.TooLong:
			return &stream.Fault{Kind: stream.BodyTimeout}
		case watchdog.TooSlow:
			return &stream.Fault{Kind: stream.ClientTooSlow}
		case watchdog.Costly:
			return stream.Costly(err)
		}
	}
	if _, gave := resetCode(err); gave {
		b.st.c.srv.Stats.Resets.Add(1)
		if err := b.st.c.score.add(pointsReset); err != nil {
			b.st.c.end(err)
		}
		b.st.cancel()
	}
	return &stream.Fault{Kind: stream.ClientGone, Cause: err}
}

// expire runs on the dog's goroutine. Only the reads are woken: the client may
// still get its answer.
func (b *serverBody) expire(uint8, watchdog.Verdict) { _ = b.st.str.SetReadDeadline(longAgo) }

// Close gives up what is not read; see stream.Body. It returns when no read is
// under way any more.
func (b *serverBody) Close() error {
	if b.st == nil || b.closed.Swap(true) {
		return nil
	}
	if !b.mu.TryLock() {
		_ = b.st.str.SetReadDeadline(longAgo)
		b.mu.Lock()
	}
	defer b.mu.Unlock()
	if b.page != nil {
		pages.Put(b.page)
		b.page, b.ahead = nil, nil
	}
	if b.post != nil {
		b.st.c.posts.give(b.post)
		b.post = nil
	}
	return nil
}

func (b *serverBody) shut() { _ = b.Close() } // never fails

// Trailer is the trailer section; see stream.Body.
func (b *serverBody) Trailer() *stream.Header {
	if b.st == nil || !b.st.in.hasTrailer {
		return nil
	}
	return &b.st.in.trailer
}

// Announced is the Trailer field; see stream.Announcer.
func (b *serverBody) Announced() string { return announceable(b.st.facts.trailer) }

// Bytes is the rest of the body if it is in memory; see stream.Whole.
func (b *serverBody) Bytes() ([]byte, bool) {
	if b.closed.Load() || !b.whole || b.st.in.hasTrailer {
		return nil, false
	}
	return b.ahead, true
}

// Prefetch brings a small body into memory; see stream.Prefetcher.
func (b *serverBody) Prefetch(limit int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	length := b.st.in.declared
	if b.pending || b.closed.Load() || b.err != nil || b.page != nil || length < 0 || length > int64(min(limit, pageSize)) ||
		b.received.Load() > 0 {
		return nil
	}
	b.page = pages.Get().(*page)
	got := 0
	for {
		n, err := b.read(b.page[got:])
		got += n
		b.ahead = b.page[:got]
		switch {
		case err == io.EOF:
			b.whole = true
			return nil
		case err != nil:
			return err
		case got == pageSize: // only the end is missing
			var none [1]byte
			if _, err := b.read(none[:]); err != io.EOF {
				return stream.AsFault(err)
			}
			b.whole = true
			return nil
		}
	}
}
