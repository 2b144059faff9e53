package http2

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// pageSize holds the largest frame that we take and, usually, many small ones.
const pageSize = 32 << 10

type page [pageSize]byte

// pages recycles pages among all connections.
var pages = sync.Pool{New: func() any { return new(page) }}

var (
	longAgo    = time.Unix(1, 0) // a deadline that has passed
	noDeadline time.Time
)

// source reads the bytes of one connection. What is unread is buf[r:w]. A
// connection that waits with nothing unread holds no page. For the author of
// either half: one goroutine reads; nothing that bytes returned lives past fill.
type source struct {
	nc   net.Conn
	raw  syscall.RawConn // nil unless nc is a plain socket
	page *page
	r, w int

	onReadable func(fd uintptr) bool
	err        error
	first      [1]byte
}

func (s *source) init(nc net.Conn) {
	s.nc, s.raw = nc, rawConn(nc)
	s.onReadable = s.tryRead
}

// rawConn is the descriptor of a plain socket. Only the very types of package
// net: a type around one may hold bytes back that a descriptor does not have.
func rawConn(nc net.Conn) syscall.RawConn {
	var sc syscall.Conn
	switch nc := nc.(type) {
	case *net.TCPConn:
		sc = nc
	case *net.UnixConn:
		sc = nc
	default:
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

func (s *source) bytes() []byte {
	if s.page == nil {
		return nil
	}
	return s.page[s.r:s.w]
}

func (s *source) buffered() int { return s.w - s.r }

// consume takes n bytes off. The page is kept until the next wait: the frame
// that was cut out of it is still in use.
func (s *source) consume(n int) { s.r += n }

// release gives the page back together with what is unread.
func (s *source) release() {
	if s.page != nil {
		pages.Put(s.page)
	}
	s.page, s.r, s.w = nil, 0, 0
}

// fill reads at least one byte more.
func (s *source) fill() error {
	if s.raw == nil {
		return s.fillPlain()
	}
	s.err = nil
	if err := s.raw.Read(s.onReadable); err != nil {
		return err
	}
	return s.err
}

// tryRead reads without blocking; false waits, without a page unless part of a
// frame is in it.
func (s *source) tryRead(fd uintptr) bool {
	s.makeRoom()
	for {
		n, err := receive(fd, s.page[s.w:])
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			if s.r == s.w {
				s.release()
			}
			return false
		case err == nil && n == 0:
			err = io.EOF
		}
		s.w += max(n, 0)
		s.err = err
		return true
	}
}

// fillPlain is fill for a net.Conn whose readiness cannot be seen, such as TLS:
// the first byte is waited for without a page; what came with it is in the
// memory of nc by then.
func (s *source) fillPlain() error {
	if s.buffered() == 0 {
		s.release()
		n, err := s.nc.Read(s.first[:])
		if n == 0 {
			return orNoProgress(err)
		}
		s.makeRoom()
		s.page[0], s.w = s.first[0], 1
		return nil // the rest of the record with the next call, which does not block
	}
	s.makeRoom()
	n, err := s.nc.Read(s.page[s.w:])
	s.w += n
	if n > 0 {
		return nil
	}
	return orNoProgress(err)
}

func orNoProgress(err error) error {
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// makeRoom leaves place behind w for the rest of the largest frame.
func (s *source) makeRoom() {
	switch {
	case s.page == nil:
		s.page = pages.Get().(*page)
		s.r, s.w = 0, 0
	case s.r == s.w:
		s.r, s.w = 0, 0
	case s.r > 0 && pageSize-s.r < frameHeaderSize+minFrame || s.w == pageSize:
		s.w = copy(s.page[:], s.page[s.r:s.w])
		s.r = 0
	}
}
