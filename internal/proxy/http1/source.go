package http1

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
)

// pageSize holds a head and a small body of any usual message. A page is in
// use only while bytes are: neither an idle connection nor one that waits for
// its peer has one.
const pageSize = 32 << 10

type page [pageSize]byte

// pages recycles pages among all connections: the one that was written last is
// the next one read into, and still in the cache.
var pages = sync.Pool{New: func() any { return new(page) }}

// source reads the bytes of one connection. What is unread is buf[r:w]. It is
// not safe for concurrent use.
type source struct {
	nc  net.Conn
	raw syscall.RawConn // nil unless nc is a plain socket

	page *page  // that buf is a slice of; nil when buf was allocated for its content
	buf  []byte // nil when nothing is buffered
	r, w int

	onReadable func(fd uintptr) bool // tryRead, bound once
	err        error                 // of the last tryRead
	first      [1]byte               // what await waits with
	quiet      *quiet                // nil until fillQuiet needs it
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

func (s *source) buffered() int { return s.w - s.r }
func (s *source) bytes() []byte { return s.buf[s.r:s.w] }

// consume takes n buffered bytes away and lets the memory go with the last.
func (s *source) consume(n int) {
	s.r += n
	if s.r == s.w {
		s.release()
	}
}

// release gives the memory back together with what is unread.
func (s *source) release() {
	if s.page != nil {
		pages.Put(s.page)
	}
	s.page, s.buf, s.r, s.w = nil, nil, 0, 0
}

// fill reads at least one byte more. On a plain socket it blocks without holding
// a page.
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

// tryRead reads without blocking; false means: wait until there is something.
func (s *source) tryRead(fd uintptr) bool {
	s.makeRoom()
	n, err := readNow(fd, s.buf[s.w:])
	s.w += n
	if errors.Is(err, syscall.EAGAIN) {
		s.shrink()
		return false
	}
	if err != nil { // one half may have ended, and the connection goes on
		s.shrink()
	}
	s.err = err
	return true
}

// await is fill for what may be long in coming: a request, or the head of a
// response. Of a net.Conn whose readiness cannot be seen, such as TLS, the first
// byte is waited for without a page, and the next fill brings what came with it.
// That is no way to read content, which would come in pieces of one byte.
func (s *source) await() error {
	if s.raw != nil || s.buf != nil {
		return s.fill()
	}
	n, err := s.nc.Read(s.first[:])
	if n == 0 {
		return orEOF(err)
	}
	s.makeRoom()
	s.buf[0], s.w = s.first[0], 1
	return nil
}

// fillPlain is fill for a net.Conn whose readiness cannot be seen: it waits
// with a page.
func (s *source) fillPlain() error {
	s.makeRoom()
	n, err := s.nc.Read(s.buf[s.w:])
	s.w += n
	if n > 0 {
		return nil
	}
	return orEOF(err)
}

func orEOF(err error) error {
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// makeRoom leaves some place behind w.
func (s *source) makeRoom() {
	switch {
	case s.buf == nil:
		s.page = pages.Get().(*page)
		s.buf = s.page[:]
	case s.page == nil && len(s.buf) < pageSize: // after shrink
		p := pages.Get().(*page)
		s.w = copy(p[:], s.buf[s.r:s.w])
		s.page, s.buf, s.r = p, p[:], 0
	case s.w < len(s.buf):
	case s.r > 0:
		s.w = copy(s.buf, s.buf[s.r:s.w])
		s.r = 0
	default: // a head that is larger than a page; its limits bound it
		grown := make([]byte, 2*len(s.buf))
		n := copy(grown, s.buf[:s.w])
		s.release()
		s.buf, s.w = grown, n
	}
}

// shrink gives the page back before a wait: what is unread, part of a head
// that comes slowly, moves to memory of its own size.
func (s *source) shrink() {
	n := s.w - s.r
	switch {
	case n == 0:
		s.release()
	case s.page != nil && n <= pageSize/8:
		kept := make([]byte, n, n+64)
		copy(kept, s.buf[s.r:s.w])
		s.release()
		s.buf, s.w = kept, n
	}
}
