package http2

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

var errBodyClosed = errors.New("the request body is closed")

// requestBody is the body of one request. It is read by one goroutine at a
// time, which need not be that of the worker; Close comes from anywhere. After
// the exchange it has no stream any more.
type requestBody struct {
	mu      sync.Mutex // held while a read is under way
	life    sync.Mutex // held while s is used without mu
	s       *serverStream
	w       *worker
	pending bool // the client waits for 100 (Continue)
	pace    pace
}

var (
	_ stream.Prefetcher = (*requestBody)(nil)
	_ stream.Awaiter    = (*requestBody)(nil)
	_ stream.Announcer  = (*requestBody)(nil)
)

func closedFault() error { return &stream.Fault{Kind: stream.ClientGone, Cause: errBodyClosed} }

// begin makes the body that of the request, unless that has none.
func (b *requestBody) begin(w *worker) {
	s := b.s
	b.w = w
	b.pace.begin(&w.c.srv.cfg.Phases[stream.PhaseBody])
	b.pending = s.req.ExpectContinue
	if s.req.Length != 0 && s.malformed == nil {
		s.req.Body = b
		w.keepContent(s)
	}
}

// retire ends the use of the body: it returns when nobody reads any more.
func (b *requestBody) retire() {
	_ = b.Close()
	b.mu.Lock()
	b.life.Lock()
	if b.s != nil && b.w != nil { // nil: it never began
		b.w.letContent()
	}
	b.s = nil
	b.life.Unlock()
	b.mu.Unlock()
}

// Read reads content; see stream.Body.
func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.s == nil {
		return 0, closedFault()
	}
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, err := b.s.inbox.get(p)
		switch {
		case n > 0:
			b.s.c.consumed(b.s, n)
			return n, err
		case err == io.EOF:
			return 0, err
		case errors.Is(err, errInboxClosed):
			return 0, closedFault()
		case err != nil:
			return 0, err
		}
		if err := b.wait(); err != nil {
			return 0, err
		}
	}
}

// consumed opens the windows for what was read; only that of the connection
// when s is nil.
func (c *serverConn) consumed(s *serverStream, n int) {
	c.out.mu.Lock()
	before := len(c.out.buf)
	c.giveBack(s, n)
	flush := len(c.out.buf) > before
	c.out.mu.Unlock()
	if flush {
		c.out.flush()
	}
}

// wait waits for content. mu is held.
func (b *requestBody) wait() error {
	s := b.s
	if s.inbox.ready() {
		return nil
	}
	if b.pending {
		b.pending = false
		if err := s.sendContinue(); err != nil {
			return err
		}
	}
	return b.waitFor(false)
}

// waitFor is wait, with more set for more than there is.
func (b *requestBody) waitFor(more bool) error {
	s := b.s
	g := &b.w.read
	g.watch(s.c, b.w.expireRead)
	g.Enter(uint8(stream.PhaseBody))
	start := time.Now()
	before := s.inbox.arrived()
	s.inbox.await(more)
	n := int(s.inbox.arrived() - before)
	g.Rest()
	switch b.pace.wait(time.Since(start), n) {
	case watchdog.None:
		return nil
	case watchdog.TooSlow:
		return &stream.Fault{Kind: stream.ClientTooSlow}
	}
	return &stream.Fault{Kind: stream.BodyTimeout}
}

// expireRead runs on the dog's goroutine. The stream goes on: the client may
// still get its answer.
func (w *worker) expireRead(_ uint8, v watchdog.Verdict) {
	kind := stream.BodyTimeout
	if v == watchdog.TooSlow {
		kind = stream.ClientTooSlow
	}
	w.c.out.mu.Lock()
	defer w.c.out.mu.Unlock()
	if _, now := w.read.Fired(); w.s == nil || now == watchdog.None {
		return
	}
	if v == watchdog.Costly {
		w.c.resetStream(w.s, codeEnhanceYourCalm, stream.Costly(errCostly))
		return
	}
	w.s.inbox.fail(&stream.Fault{Kind: kind})
}

// Await waits until Read has something to give; see stream.Awaiter.
func (b *requestBody) Await() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.s == nil || b.s.inbox.ready() {
		return nil // Read says what
	}
	return b.wait()
}

// Close gives up what is not read; see stream.Body.
func (b *requestBody) Close() error {
	b.life.Lock()
	defer b.life.Unlock()
	if b.s == nil {
		return nil
	}
	if unread := b.s.inbox.close(); unread > 0 {
		b.s.c.consumed(nil, unread)
	}
	return nil
}

// Trailer is the trailer section; see stream.Body.
func (b *requestBody) Trailer() *stream.Header {
	b.life.Lock()
	defer b.life.Unlock()
	if b.s == nil {
		return nil
	}
	in := &b.s.inbox
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.ended || !in.trailers {
		return nil
	}
	return &in.trailer
}

// Announced is the Trailer field; see stream.Announcer.
func (b *requestBody) Announced() string {
	b.life.Lock()
	defer b.life.Unlock()
	if b.s == nil {
		return ""
	}
	return announceable(b.s.announced)
}

// Bytes is the rest of the body if it is in memory; see stream.Whole.
func (b *requestBody) Bytes() ([]byte, bool) {
	b.life.Lock()
	defer b.life.Unlock()
	if b.s == nil || b.pending {
		return nil, false
	}
	return b.s.inbox.whole()
}

// Prefetch brings a small body into memory; see stream.Prefetcher.
func (b *requestBody) Prefetch(max int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.s == nil || b.pending || b.s.req.Length < 0 || b.s.req.Length > int64(min(max, largeChunk)) {
		return nil
	}
	for {
		done, fault := b.s.inbox.settled()
		if fault != nil {
			return fault
		}
		if done {
			return nil
		}
		if err := b.waitFor(true); err != nil {
			return err
		}
	}
}
