package http2

import (
	"errors"
	"net"
	"runtime"
	"sync"
	"syscall"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

const (
	// maxQueued is how many bytes wait before DATA has to.
	maxQueued = 64 << 10
	// maxControl is how many bytes wait before the peer, which makes us answer
	// and does not read the answers, is given up.
	maxControl = 1 << 20
	// writeSlice is the most that one write carries, so that a peer that takes it
	// slowly is seen to make progress.
	writeSlice = 64 << 10
	// keepBuffer is the largest buffer that goes back to the pool.
	keepBuffer = 128 << 10
)

// buffer is memory for frames that wait to be written.
type buffer struct{ b []byte }

var buffers = sync.Pool{New: func() any { return &buffer{b: make([]byte, 0, 4<<10)} }}

var (
	errConnectionOver = errors.New("the connection is over")
	errCostly         = errors.New("it kept more in memory for longer than others when memory ran out")
)

// outbox is the sending side of a connection, with the windows for sending.
// Any goroutine appends frames under mu and then flushes: who finds nobody
// writing writes for all who append meanwhile, so that one call to the system
// carries the frames of many streams.
//
// For the author of either half:
//
//	o.mu.Lock()
//	o.begin()                   // makes room in o.buf
//	o.buf = appendX(o.buf, ...) // any number of whole frames
//	o.mu.Unlock()
//	o.flush()
//
// DATA goes through allow and await. The goroutine that reads must not flush
// (it could block while the peer waits for it to read): it hands that to
// another one. Everything in the struct is under mu but nc, raw and guard; the
// guard belongs to who writes and must be watched before the first flush.
type outbox struct {
	mu      sync.Mutex
	nc      net.Conn
	raw     syscall.RawConn
	guard   watchdog.Guard // PhaseWrite or PhaseUpstreamSend while somebody writes
	phase   stream.Phase
	buf     []byte  // nil or the unsent part of own
	own     *buffer // what buf is part of
	writing bool
	quiet   sync.Cond // on mu: nobody writes any more
	over    error     // why nothing is written any more
	unsent  []byte    // what was queued then: frames of which no byte has left

	window  int64 // of the connection, for DATA
	peer    settings
	queue   []*sender // who waits for the connection, not for a window of its own
	called  *sender   // the one of them whose turn it is
	senders *sender   // every open sending half

	pending []byte // what the callback of writeRaw has to write
	rawErr  error
	onReady func(fd uintptr) bool
}

// sender is the sending half of one stream. Under outbox.mu.
type sender struct {
	id      uint32
	window  int64
	urgency uint8         // RFC 9218: 0 first, 7 last
	fault   *stream.Fault // why nothing more can be sent
	wake    chan struct{}
	queued  bool
	open    bool

	next, prev *sender // in outbox.senders
}

func (o *outbox) init(nc net.Conn, phase stream.Phase) {
	o.nc, o.raw, o.phase = nc, rawConn(nc), phase
	o.window, o.peer = firstCover, firstSettings
	o.onReady = o.transmit
	o.quiet.L = &o.mu
}

// open begins a sending half. mu is held.
func (o *outbox) open(s *sender, id uint32) {
	s.id, s.window, s.fault, s.urgency, s.open = id, o.peer.initialWindow, nil, defaultUrgency, true
	s.wake = nil // a late signal must not reach the next stream
	s.prev, s.next = nil, o.senders
	if s.next != nil {
		s.next.prev = s
	}
	o.senders = s
}

// defaultUrgency is that of RFC 9218 section 4.1.
const defaultUrgency = 3

// close ends one, once. mu is held.
func (o *outbox) close(s *sender) {
	if !s.open {
		return
	}
	s.open = false
	if s.prev == nil {
		o.senders = s.next
	} else {
		s.prev.next = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	}
	s.next, s.prev = nil, nil
	o.leave(s)
	o.callNext()
}

// begin makes sure that frames can be appended to buf. mu is held.
func (o *outbox) begin() {
	if o.own == nil {
		o.own = buffers.Get().(*buffer)
		o.buf = o.own.b[:0]
	}
}

// adopt applies the SETTINGS of the peer. mu is held.
func (o *outbox) adopt(payload []byte) *failure {
	before := o.peer.initialWindow
	if bad := o.peer.apply(payload); bad != nil {
		return bad
	}
	change := o.peer.initialWindow - before
	if change == 0 {
		return nil
	}
	for s := o.senders; s != nil; s = s.next {
		if !grow(&s.window, change) {
			return broken(codeFlowControl, "SETTINGS_INITIAL_WINDOW_SIZE makes a window larger than a window can be")
		}
		if s.window > 0 {
			s.signal()
		}
	}
	return nil
}

// allow takes up to want bytes of DATA from the windows; 0: await first. mu is
// held.
func (o *outbox) allow(s *sender, want int) int {
	if len(o.queue) > 0 && o.called != s || len(o.buf) >= maxQueued {
		return 0
	}
	n := int(min(int64(want), s.window, o.window))
	if n <= 0 {
		return 0
	}
	s.window -= int64(n)
	o.window -= int64(n)
	if o.called == s {
		o.called = nil
		o.leave(s)
		o.callNext()
	}
	return n
}

// await waits until allow is worth another try; s.fault says when it never will
// be. mu is held before and after.
func (o *outbox) await(s *sender) {
	if s.fault != nil {
		return
	}
	if s.wake == nil {
		s.wake = make(chan struct{}, 1)
	}
	if s.window > 0 && !s.queued {
		s.queued = true
		o.queue = append(o.queue, s)
		o.callNext()
	} else if s.window <= 0 && s.queued {
		o.leave(s)
		o.callNext()
	} else if o.called == s { // its turn came when the queue of bytes was full
		o.called = nil
		o.callNext()
	}
	o.mu.Unlock()
	<-s.wake
	o.mu.Lock()
}

// leave takes s out of the queue.
func (o *outbox) leave(s *sender) {
	if o.called == s {
		o.called = nil
	}
	if !s.queued {
		return
	}
	s.queued = false
	for i, other := range o.queue {
		if other == s {
			o.queue = append(o.queue[:i], o.queue[i+1:]...)
			return
		}
	}
}

// callNext gives the turn to the most urgent of those who wait, the first come
// among equals, when there is something to take.
func (o *outbox) callNext() {
	if o.called != nil || len(o.queue) == 0 || o.window <= 0 || len(o.buf) >= maxQueued {
		return
	}
	next := o.queue[0]
	for _, s := range o.queue[1:] {
		if s.urgency < next.urgency {
			next = s
		}
	}
	o.called = next
	next.signal()
}

func (s *sender) signal() {
	if s.wake == nil {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// fail ends what s has to send. mu is held.
func (o *outbox) fail(s *sender, f *stream.Fault) {
	if s.fault == nil {
		s.fault = f
	}
	o.leave(s)
	o.callNext()
	s.signal()
}

// credit applies WINDOW_UPDATE of the connection (nil) or of a stream. mu is
// held.
func (o *outbox) credit(s *sender, n int64) bool {
	if s != nil {
		ok := grow(&s.window, n)
		s.signal()
		return ok
	}
	ok := grow(&o.window, n)
	o.callNext()
	return ok
}

// appendData appends one DATA frame, or several when the peer takes none as
// large; n bytes were allowed. mu is held.
func (o *outbox) appendData(id uint32, p []byte, end bool) {
	for {
		n := min(len(p), o.peer.maxFrame)
		var flags uint8
		if end && n == len(p) {
			flags = flagEndStream
		}
		o.buf = appendFrameHeader(o.buf, n, frameData, flags, id)
		o.buf = append(o.buf, p[:n]...)
		if p = p[n:]; len(p) == 0 {
			return
		}
	}
}

// flooded tells whether the peer makes us answer without reading. mu is held.
func (o *outbox) flooded() bool { return len(o.buf) > maxControl }

// idle tells whether there is nothing to write that nobody writes. mu is held.
func (o *outbox) idle() bool { return len(o.buf) == 0 || o.writing || o.over != nil }

// flush writes what was appended, unless somebody does.
func (o *outbox) flush() {
	o.mu.Lock()
	if o.idle() {
		o.mu.Unlock()
		return
	}
	o.writing = true
	o.mu.Unlock()
	// Who is ready to run may be about to append: a turn of theirs costs less
	// than a call to the system for each.
	runtime.Gosched()
	o.mu.Lock()
	for len(o.buf) > 0 && o.over == nil {
		out, own := o.buf, o.own
		o.buf, o.own = nil, nil
		o.callNext()
		o.mu.Unlock()
		err := o.write(out)
		if own.b = out[:0]; cap(own.b) <= keepBuffer {
			buffers.Put(own)
		}
		o.mu.Lock()
		if err != nil {
			o.end(err)
			_ = o.nc.SetReadDeadline(longAgo) // who reads ends the connection
		}
	}
	o.writing = false
	o.quiet.Broadcast()
	o.mu.Unlock()
}

// settle is flush that returns when all that was appended is written, by
// whomever. The connection has a deadline, so that it ends.
func (o *outbox) settle() {
	o.flush()
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.writing {
		o.quiet.Wait()
	}
}

// end says that nothing is written any more. mu is held.
func (o *outbox) end(err error) {
	if o.over == nil {
		o.over, o.unsent = err, o.buf
	}
	o.buf, o.own = nil, nil
}

// write writes p in its phase.
func (o *outbox) write(p []byte) error {
	o.guard.Enter(uint8(o.phase))
	err := o.writeAll(p)
	_, v := o.guard.Fired()
	switch fine := o.guard.Rest(); {
	case v == watchdog.Costly:
		err = errCostly
	case !fine && err == nil:
		err = errConnectionOver
	}
	return err
}

func (o *outbox) writeAll(p []byte) error {
	if o.raw != nil {
		o.pending, o.rawErr = p, nil
		err := o.raw.Write(o.onReady)
		if err == nil {
			err = o.rawErr
		}
		o.pending = nil
		return err
	}
	for len(p) > 0 {
		o.guard.Hold(len(p)) // nobody says when it waits
		n, err := o.nc.Write(p[:min(len(p), writeSlice)])
		if err != nil {
			return err
		}
		p = p[n:]
		o.guard.Moved(n)
	}
	return nil
}

// transmit is the callback of writeAll: false waits until the socket takes more.
func (o *outbox) transmit(fd uintptr) bool {
	for len(o.pending) > 0 {
		n, err := transmit(fd, o.pending[:min(len(o.pending), writeSlice)])
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			o.guard.Hold(len(o.pending))
			return false
		case err != nil:
			o.rawErr = err
			return true
		}
		o.pending = o.pending[n:]
		o.guard.Moved(n)
	}
	return true
}
