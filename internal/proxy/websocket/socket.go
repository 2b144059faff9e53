package websocket

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/stream"
)

const (
	// answerTime is how long the upstream may take to answer a Close; what it
	// sent before reaches the client in that time.
	answerTime = 4 * time.Second
	// cutTime is how much longer it is waited for the end of a frame.
	cutTime = time.Second
	// clientTime is how long the client may take to answer.
	clientTime = 5 * time.Second
)

var errNoAnswer = errors.New("the client did not answer the Close frame (1001) in time")

// What a socket that leaves has come to.
const (
	open   int32 = iota
	asked        // the upstream is sent a Close; its own is waited for
	urgent       // its time is over: the client gets one at the next boundary
)

// socket is the body of a 101. One goroutine is in Read or Await, one in Write
// or CloseWrite; timers do the rest, and only while the stage drains.
//
// To leave, it sends a Close to the upstream as the client would, and goes on
// until the upstream answers with its own. In place of that one the client gets
// ours. When the client has answered too, both ends close.
type socket struct {
	stage *Stage
	d     stream.Duplex
	req   *stream.Request

	phase atomic.Int32

	// Of the reader.
	down    frames
	ended   bool // a Close went to the client: the upstream's, or ours
	told    bool // it was ours
	pending uint8
	result  error // of the wait for the client; nil until it is over

	// Guarded by writing, which is held during a write to the upstream.
	writing sync.Mutex
	up      frames
	sent    bool // our Close went to the upstream; nothing follows it
	upEnded bool // the client sent a Close by itself

	mu       sync.Mutex
	timer    *time.Timer   // nil until the stage drains
	answered chan struct{} // made when somebody waits for the client
	woken    bool          // answered is closed
	said     bool          // the client sent a Close, or its end
	closed   bool
}

var (
	_ stream.Duplex  = (*socket)(nil)
	_ stream.Awaiter = (*socket)(nil)
)

// later runs f after a time, instead of what was to run before.
func (c *socket) later(after time.Duration, f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	c.timer = time.AfterFunc(after, func() {
		defer c.stage.contain(c)
		f()
	})
}

// leave begins the end, on a timer's goroutine. The write to the upstream may
// block; the next timer ends that.
func (c *socket) leave() {
	c.phase.Store(asked)
	c.later(answerTime, c.hurry)
	c.writing.Lock()
	defer c.writing.Unlock()
	c.tellUpstream()
}

// hurry is the end of the upstream's time.
func (c *socket) hurry() {
	c.stage.stats.Forced.Add(1)
	c.phase.Store(urgent)
	c.later(cutTime, c.cut)
}

// cut ends the upstream, which wakes a Read.
func (c *socket) cut() {
	c.later(clientTime, c.giveUp)
	_ = c.d.Close()
}

// tellUpstream sends the Close, if a frame may begin and none was sent. The
// caller holds c.writing. When the write fails, whoever reads sees it too.
func (c *socket) tellUpstream() {
	if c.sent || c.upEnded || !c.up.boundary() {
		return
	}
	c.sent = true
	frame := maskedClose()
	_, _ = c.d.Write(frame[:])
}

// Write sends to the upstream what the client says.
func (c *socket) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	n := 0
	if c.phase.Load() != open && !c.sent && !c.upEnded { // since the middle of a frame
		end := c.up
		var err error
		if n, err = c.pass(p[:end.frame(p)]); err != nil {
			return n, err
		}
		c.tellUpstream()
	}
	if !c.sent {
		m, err := c.pass(p[n:])
		return n + m, err
	}
	if c.up.advance(p[n:]) { // nothing may follow a Close: it is for us
		c.clientSaid()
	}
	return len(p), nil
}

// pass passes p on to the upstream.
func (c *socket) pass(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := c.d.Write(p)
	if c.up.advance(p[:n]) {
		c.upEnded = true
		c.clientSaid()
	}
	return n, err
}

// CloseWrite passes the end of the client on.
func (c *socket) CloseWrite() error {
	c.clientSaid()
	return c.d.CloseWrite()
}

// clientSaid notes that nothing more is to be waited for from the client.
func (c *socket) clientSaid() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said = true
	c.wake()
}

// wake ends the wait for the client. The caller holds c.mu.
func (c *socket) wake() {
	if c.answered != nil && !c.woken {
		c.woken = true
		close(c.answered)
	}
}

// Await waits until Read has something to give; see stream.Awaiter.
func (c *socket) Await() error {
	switch {
	case c.pending > 0:
		return nil
	case c.told:
		return c.awaitClient()
	}
	if a, ok := c.d.(stream.Awaiter); ok {
		if err := a.Await(); err != nil && c.phase.Load() == open {
			return err
		}
	}
	return nil // when it leaves, Read makes the best of an error
}

// Read reads what the upstream sends, and at the end what we put there.
func (c *socket) Read(p []byte) (int, error) {
	if c.pending > 0 {
		return c.takePending(p), nil
	}
	if c.told {
		return 0, c.awaitClient()
	}
	n, err := c.d.Read(p)
	phase := c.phase.Load()
	if phase == open || c.ended {
		c.ended = c.down.advance(p[:n]) || c.ended
		return n, err
	}
	return c.leaving(p, n, phase, err)
}

// leaving looks in p[:n], which was read from the upstream, for the place of
// our Close: where the upstream's is, or where its time is over.
func (c *socket) leaving(p []byte, n int, phase int32, err error) (int, error) {
	var at int
	var found bool
	switch {
	case phase == urgent && c.down.boundary():
		found = true
	case phase == urgent:
		at = c.down.frame(p[:n])
		found = c.down.boundary()
	default:
		at, found = c.down.untilClose(p[:n])
	}
	if !found && (err == nil || !c.down.boundary()) {
		return at, err
	}
	c.ended, c.told, c.pending = true, true, closeSize
	c.req.Exchange.Draining = true
	c.stage.stats.ClosedByDrain.Add(1)
	c.later(clientTime, c.giveUp)
	return at + c.takePending(p[at:]), nil
}

// takePending copies what is left of our Close.
func (c *socket) takePending(p []byte) int {
	frame := closeFrame()
	n := copy(p, frame[closeSize-c.pending:])
	c.pending -= uint8(n)
	return n
}

// awaitClient waits until the client has answered our Close, after which the
// server closes first (RFC 6455 section 7.1.1). The result is io.EOF, or a
// fault when it did not answer.
func (c *socket) awaitClient() error {
	if c.result != nil {
		return c.result
	}
	c.mu.Lock()
	if c.answered == nil {
		c.answered = make(chan struct{})
		if c.said || c.closed {
			c.wake()
		}
	}
	answered := c.answered
	c.mu.Unlock()
	<-answered
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.result = io.EOF; !c.said {
		c.result = &stream.Fault{Kind: stream.Draining, Cause: errNoAnswer}
	}
	return c.result
}

// giveUp ends the wait for the client.
func (c *socket) giveUp() {
	c.stage.stats.Forced.Add(1)
	_ = c.Close()
}

// Close ends both directions.
func (c *socket) Close() error {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	if c.timer != nil {
		c.timer.Stop()
	}
	c.wake()
	c.mu.Unlock()
	if first {
		c.stage.closed(c)
	}
	return c.d.Close()
}

// Trailer is nil; see stream.Body.
func (c *socket) Trailer() *stream.Header { return nil }
