package tcp

import (
	"errors"
	"io"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// pipeSize is the room of a pipe. Its slots hold pieces of the socket
	// buffer, which are smaller than a page each when they come from a network
	// card. A user may have 64 MiB of it by default (pipe-user-pages-soft).
	pipeSize = 256 << 10
	// pipeLeast is what makes a pipe worth having: a user with too many gets
	// ones with two slots.
	pipeLeast = 64 << 10
	// spliceMax bounds one call: a lane must not keep its thread for long. More
	// than this was not faster.
	spliceMax = 256 << 10
	// spliceMin is the piece from which a pipe is cheaper than a copy.
	spliceMin = 16 << 10
)

// pipe is where bytes are between two sockets. In the pool it is empty.
type pipe struct {
	r, w    int
	held    int             // bytes inside
	cleanup runtime.Cleanup // closes it when it is collected
}

// pipes recycles pipes among all connections. One that the pool forgets is
// closed when it is collected.
var pipes sync.Pool

var errPipe = errors.New("the pipe is too small: too many pages are in pipes already")

func takePipe() (*pipe, error) {
	if p, ok := pipes.Get().(*pipe); ok {
		return p, nil
	}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return nil, err
	}
	// Where the user has too many pipes this fails; a smaller one works too.
	_, _ = unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, pipeSize)
	if size, err := unix.FcntlInt(uintptr(fds[0]), unix.F_GETPIPE_SZ, 0); err != nil || size < pipeLeast {
		closePipe(fds)
		return nil, errPipe
	}
	p := &pipe{r: fds[0], w: fds[1]}
	p.cleanup = runtime.AddCleanup(p, closePipe, fds)
	return p, nil
}

func closePipe(fds [2]int) {
	_ = unix.Close(fds[0])
	_ = unix.Close(fds[1])
}

// dropPipe gives the pipe back. One with bytes inside is of no use to anybody
// else.
func (l *lane) dropPipe() {
	p := l.pipe
	l.pipe = nil
	switch {
	case p == nil:
	case p.held == 0:
		pipes.Put(p)
	default:
		p.cleanup.Stop()
		closePipe([2]int{p.r, p.w})
	}
}

// spliceNext carries one piece from socket to socket without copying it.
func (l *lane) spliceNext() error {
	if l.drawFn == nil {
		l.drawFn, l.popFn = l.tryDraw, l.tryPop
	}
	l.err = nil
	err := l.fromRaw.Read(l.drawFn)
	if err == nil {
		err = l.err
	}
	if err != nil {
		l.dropPipe()
		if l.unfit {
			return nil // nothing was read: copy
		}
		return l.fail(source, err)
	}
	l.busy = l.pipe.held >= spliceMin
	l.spliced += int64(l.pipe.held)
	err = l.toRaw.Write(l.popFn)
	if err == nil {
		err = l.err
	}
	l.dropPipe()
	if err != nil {
		return l.fail(sink, err)
	}
	return nil
}

// tryDraw fills the pipe without blocking; false means: wait until there is
// something to read.
func (l *lane) tryDraw(fd uintptr) bool {
	if l.pipe == nil {
		if l.pipe, l.err = takePipe(); l.err != nil {
			l.unfit = true
			return true
		}
	}
	n, err := splice(int(fd), l.pipe.w, spliceMax)
	switch {
	case errors.Is(err, syscall.EAGAIN):
		l.dropPipe()
		return false
	case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.EPERM):
		l.unfit = true
	case err == nil && n == 0:
		err = io.EOF
	}
	l.pipe.held, l.err = n, err
	return true
}

// tryPop empties the pipe without blocking; false means: wait until there is
// room.
func (l *lane) tryPop(fd uintptr) bool {
	for l.pipe.held > 0 {
		n, err := splice(l.pipe.r, int(fd), l.pipe.held)
		if errors.Is(err, syscall.EAGAIN) {
			return false
		}
		if err == nil && n == 0 {
			err = io.ErrUnexpectedEOF // cannot be: the pipe is not empty
		}
		if err != nil {
			l.err = err
			return true
		}
		l.pipe.held -= n
		l.moved(n)
	}
	return true
}

// splice is splice(2) between non-blocking descriptors, without the notice to
// the scheduler that it may block.
func splice(from, to, most int) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0,
			uintptr(most), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}
