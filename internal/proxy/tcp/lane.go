package tcp

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/weirproxy/weir/internal/prefixconn"
	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// pageSize is what one read copies at most.
const pageSize = 32 << 10

type page [pageSize]byte

// pages recycles pages among all connections.
var pages = sync.Pool{New: func() any { return new(page) }}

// end is one end of a lane.
type end uint8

const (
	source end = iota
	sink
)

// lane is one direction of a relay. It belongs to one goroutine; only count is
// read by others.
type lane struct {
	guard *watchdog.Guard
	count atomic.Int64 // bytes that the sink took

	from     io.Reader
	fromRaw  syscall.RawConn // nil unless from is a plain socket
	socketed stream.Socketed // may become a plain socket
	ahead    *prefixconn.Conn
	to       io.Writer
	toRaw    syscall.RawConn // nil unless to is a plain socket

	busy    bool // the last piece was large: the next one is worth a pipe
	unfit   bool // these sockets cannot be spliced
	spliced int64

	// Of the piece under way.
	page          *page
	holds         bool // the page is charged, because the sink takes nothing
	pipe          *pipe
	r, w          int // what is in page and not written
	failed        end
	err           error
	readFn        func(fd uintptr) bool // bound once, when first needed
	writeFn       func(fd uintptr) bool
	drawFn, popFn func(fd uintptr) bool
}

// run carries everything. The error is io.EOF of the source when all is well.
func (l *lane) run() (end, error) {
	if err := l.drain(); err != nil {
		return l.failed, err
	}
	for {
		l.findSocket()
		var err error
		if l.busy && l.fromRaw != nil && l.toRaw != nil && !l.unfit {
			err = l.spliceNext()
		} else {
			err = l.copyNext()
		}
		if err != nil {
			return l.failed, err
		}
	}
}

// drain carries what was read ahead of the connection.
func (l *lane) drain() error {
	for l.ahead != nil && l.ahead.Buffered() > 0 {
		l.takePage()
		n, err := l.ahead.Read(l.page[:])
		if err != nil {
			return l.fail(source, err)
		}
		l.w = n
		if err := l.write(); err != nil {
			return err
		}
	}
	l.ahead = nil
	return nil
}

// findSocket looks whether the source has become a plain socket.
func (l *lane) findSocket() {
	if l.socketed == nil {
		return
	}
	if nc := l.socketed.Socket(); nc != nil {
		l.fromRaw, l.socketed = rawConn(nc), nil
	}
}

func (l *lane) fail(at end, err error) error {
	l.failed, l.err = at, nil
	return err
}

// copyNext carries one piece through a page, which it takes when there is
// something to read.
func (l *lane) copyNext() error {
	err := l.read()
	if l.w > 0 {
		l.busy = l.w == pageSize
		if err := l.write(); err != nil {
			return err
		}
	}
	if err != nil {
		return l.fail(source, err)
	}
	return nil
}

func (l *lane) read() (err error) {
	if l.fromRaw != nil {
		if l.readFn == nil {
			l.readFn = l.tryRead
		}
		if err = l.fromRaw.Read(l.readFn); err == nil {
			err = l.err
		}
		return err
	}
	if a, ok := l.from.(awaiter); ok {
		if err := a.Await(); err != nil {
			return err
		}
	}
	l.takePage()
	l.w, err = l.from.Read(l.page[:])
	return err
}

// awaiter is the method of stream.Awaiter.
type awaiter interface{ Await() error }

// tryRead reads without blocking; false means: wait until there is something.
func (l *lane) tryRead(fd uintptr) bool {
	l.takePage()
	n, err := readNow(fd, l.page[:])
	if errors.Is(err, syscall.EAGAIN) {
		l.givePage()
		return false
	}
	l.w, l.err = n, err
	return true
}

// write writes what is in the page and gives it back.
func (l *lane) write() error {
	defer l.givePage()
	if l.toRaw == nil { // nobody says when it waits
		l.hold()
		n, err := l.to.Write(l.page[l.r:l.w])
		l.moved(n)
		if err != nil {
			return l.fail(sink, err)
		}
		return nil
	}
	if l.writeFn == nil {
		l.writeFn = l.tryWrite
	}
	l.err = nil
	err := l.toRaw.Write(l.writeFn)
	if err == nil {
		err = l.err
	}
	if err != nil {
		return l.fail(sink, err)
	}
	return nil
}

// tryWrite writes without blocking; false means: wait until there is room.
func (l *lane) tryWrite(fd uintptr) bool {
	for l.r < l.w {
		n, err := writeNow(fd, l.page[l.r:l.w])
		if errors.Is(err, syscall.EAGAIN) {
			l.hold()
			return false
		}
		if err != nil {
			l.err = err
			return true
		}
		l.r += n
		l.moved(n)
	}
	return true
}

func (l *lane) moved(n int) {
	l.count.Add(int64(n))
	l.guard.Moved(n)
}

// hold has the page charged until it is given back. The guard is that of both
// lanes.
func (l *lane) hold() {
	if !l.holds {
		l.holds = true
		l.guard.HoldMore(pageSize)
	}
}

func (l *lane) takePage() {
	if l.page == nil {
		l.page = pages.Get().(*page)
	}
	l.r, l.w = 0, 0
}

func (l *lane) givePage() {
	if l.holds {
		l.holds = false
		l.guard.HoldMore(-pageSize)
	}
	if l.page != nil {
		pages.Put(l.page)
	}
	l.page, l.r, l.w = nil, 0, 0
}

// release gives back what the lane has when it is cut.
func (l *lane) release() {
	l.givePage()
	l.dropPipe()
}
