package http1

import (
	"syscall"

	"github.com/weirproxy/weir/internal/peek"
)

// quietSize is what fillQuiet waits with. No power of two, and no round number,
// since a record of just that size would be taken for the beginning of a longer
// one.
const quietSize = 1021

// bulkSize is how much one read brings of something large.
const bulkSize = 4 << 10

// quiet is the memory of a tunnel over TLS, whose readiness cannot be seen: the
// socket below may be empty while bytes are decrypted already, and have bytes
// that are no content.
type quiet struct {
	small [quietSize]byte
	more  bool            // what is decrypted most likely did not end with the last read
	bulk  bool            // much came lately
	under syscall.RawConn // of the socket below; may be nil
	look  func(fd uintptr)
	ready bool // what look found
}

// fillQuiet is fill for a tunnel, where the next bytes may be long in coming: it
// waits without a page. A page is taken for what is there already: the rest of a
// record, or, after much, bytes on the socket below.
func (s *source) fillQuiet() error {
	if s.raw != nil || s.buf != nil {
		return s.fill()
	}
	q := s.quiet
	if q == nil {
		q = new(quiet)
		if below := plain(s.nc); below != s.nc {
			q.under = rawConn(below)
		}
		q.look = func(fd uintptr) { q.ready = peek.Look(fd) == nil }
		s.quiet = q
	}
	if q.more || q.bulk && q.readable() {
		err := s.fillPlain()
		q.more, q.bulk = false, s.w >= bulkSize
		return err
	}
	n, err := s.nc.Read(q.small[:])
	q.bulk, q.more = false, n == quietSize
	if n == 0 {
		return orEOF(err)
	}
	s.buf, s.r, s.w = q.small[:], 0, n
	return nil
}

func (q *quiet) readable() bool {
	q.ready = false
	return q.under != nil && q.under.Control(q.look) == nil && q.ready
}
