package http2

import (
	"errors"
	"io"
	"sync"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// Content waits in memory of two sizes: most messages are short.
const (
	smallChunk = 2 << 10
	largeChunk = 16 << 10
)

type chunk struct {
	next *chunk
	b    []byte
	r, w int
}

var (
	smallChunks = sync.Pool{New: func() any { return &chunk{b: make([]byte, smallChunk)} }}
	largeChunks = sync.Pool{New: func() any { return &chunk{b: make([]byte, largeChunk)} }}
)

func newChunk(size int) *chunk {
	var c *chunk
	if size <= smallChunk {
		c = smallChunks.Get().(*chunk)
	} else {
		c = largeChunks.Get().(*chunk)
	}
	c.next, c.r, c.w = nil, 0, 0
	return c
}

func (c *chunk) release() {
	if len(c.b) == smallChunk {
		smallChunks.Put(c)
	} else {
		largeChunks.Put(c)
	}
}

// errInboxClosed is what get says behind close; the half makes a fault of it.
var errInboxClosed = errors.New("the body is closed")

// inbox is the content of one stream that came and was not read yet; the
// receive windows bound it. For the author of either half: the goroutine that
// reads the connection puts, one goroutine at a time gets, Close comes from
// anywhere. Who gets bytes must open the windows again (recvWindow.take); what
// put does not keep, and what drop returns, was never read and is to be
// returned to the window of the connection at once.
type inbox struct {
	mu       sync.Mutex
	head     *chunk
	tail     *chunk
	size     int           // bytes that wait
	total    int64         // bytes that came
	ended    bool          // END_STREAM came
	fault    *stream.Fault // why it broke off; behind what came
	closed   bool          // nobody wants the rest
	waiting  bool
	wake     chan struct{}
	keeper   *watchdog.Guard // told of size; nil: nobody is
	trailer  stream.Header
	trailers bool
}

// reset makes the inbox one of a new stream.
func (b *inbox) reset() {
	b.drop()
	b.keeper = nil
	b.total, b.ended, b.fault, b.closed, b.waiting = 0, false, nil, false, false
	if b.trailers {
		b.trailer.Reset()
		b.trailers = false
	}
	b.wake = nil // a late signal must not reach the next stream
}

// put appends p; false: nobody wants it.
func (b *inbox) put(p []byte) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.fault != nil {
		return false
	}
	b.resize(b.size + len(p))
	b.total += int64(len(p))
	for len(p) > 0 {
		if b.tail == nil || b.tail.w == len(b.tail.b) {
			c := newChunk(len(p))
			if b.tail == nil {
				b.head = c
			} else {
				b.tail.next = c
			}
			b.tail = c
		}
		n := copy(b.tail.b[b.tail.w:], p)
		b.tail.w += n
		p = p[n:]
	}
	b.signal()
	return true
}

// end says that the content is complete.
func (b *inbox) end() {
	b.mu.Lock()
	b.ended = true
	b.signal()
	b.mu.Unlock()
}

// fail says that it broke off. What came can still be read.
func (b *inbox) fail(f *stream.Fault) {
	b.mu.Lock()
	if b.fault == nil && !b.ended {
		b.fault = f
	}
	b.signal()
	b.mu.Unlock()
}

// signal wakes who waits. mu is held.
func (b *inbox) signal() {
	if b.waiting {
		b.waiting = false
		b.wake <- struct{}{}
	}
}

// get reads what is there. n is 0 and err nil when there is nothing yet: wait.
func (b *inbox) get(p []byte) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for n < len(p) && b.head != nil {
		c := b.head
		m := copy(p[n:], c.b[c.r:c.w])
		c.r += m
		n += m
		if c.r == c.w {
			if b.head = c.next; b.head == nil {
				b.tail = nil
			}
			c.release()
		}
	}
	b.resize(b.size - n)
	switch {
	case b.closed:
		return 0, errInboxClosed
	case b.size > 0:
		return n, nil
	case b.fault != nil && n == 0:
		return 0, b.fault
	case b.ended:
		return n, io.EOF
	}
	return n, nil
}

// wait waits until get has something to give. The caller may not hold memory
// for it meanwhile, and a guard watches it.
func (b *inbox) wait() { b.await(false) }

// await is wait; with more set, what is there already is not enough.
func (b *inbox) await(more bool) {
	b.mu.Lock()
	if b.size > 0 && !more || b.ended || b.fault != nil || b.closed {
		b.mu.Unlock()
		return
	}
	if b.wake == nil {
		b.wake = make(chan struct{}, 1)
	}
	b.waiting = true
	b.mu.Unlock()
	<-b.wake
}

// ready tells whether get gives something at once.
func (b *inbox) ready() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.size > 0 || b.ended || b.fault != nil || b.closed
}

// whole is the rest of the content if it is complete, without a trailer, and in
// one piece.
func (b *inbox) whole() ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed, b.fault != nil, !b.ended, b.trailers:
		return nil, false
	case b.head == nil:
		return nil, true
	case b.size > largeChunk:
		return nil, false
	case b.head != b.tail:
		b.gather()
	}
	return b.head.b[b.head.r:b.head.w], true
}

// gather makes one chunk of all.
func (b *inbox) gather() {
	one := newChunk(largeChunk)
	for c := b.head; c != nil; {
		next := c.next
		one.w += copy(one.b[one.w:], c.b[c.r:c.w])
		c.release()
		c = next
	}
	b.head, b.tail = one, one
}

// close says that nobody wants the rest, and returns how much of it came.
func (b *inbox) close() (unread int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	unread = b.drop()
	b.signal()
	return unread
}

func (b *inbox) drop() (unread int) {
	for c := b.head; c != nil; {
		next := c.next
		c.release()
		c = next
	}
	unread = b.size
	b.head, b.tail = nil, nil
	b.resize(0)
	return unread
}

// muchContent is from when on content is worth an account.
const muchContent = 64 << 10

// keep has what waits charged through g, until the inbox is another stream's.
func (b *inbox) keep(g *watchdog.Guard) {
	b.mu.Lock()
	b.keeper = g
	b.resize(b.size)
	b.mu.Unlock()
}

// resize notes how much waits. mu is held.
func (b *inbox) resize(n int) {
	b.size = n
	if b.keeper != nil {
		b.keeper.Hold(n)
	}
}

// arrived is how many bytes came so far.
func (b *inbox) arrived() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total
}

// settled tells whether nothing more comes, and why if that is too early.
func (b *inbox) settled() (bool, *stream.Fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ended || b.closed || b.fault != nil, b.fault
}
