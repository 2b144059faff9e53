package framed

import (
	"io"
	"net"
	"sync"
	"time"
)

// A page holds any usual frame. It is in use only while bytes are: what waits
// for a frame has the small buffer of its connection.
const (
	pageSize  = 32 << 10
	smallSize = 512
)

type page [pageSize]byte

var pages = sync.Pool{New: func() any { return new(page) }}

var (
	longAgo    = time.Unix(1, 0) // a deadline that has passed
	noDeadline time.Time
)

// input reads the frames of one connection. What is unread is buf[r:w]. It is
// not safe for concurrent use.
type input struct {
	nc      net.Conn
	framing *framing

	buf  []byte // small, page, or memory of its own for what is larger
	r, w int
	seen int // bytes of the frame at r that were looked at

	page  *page
	small [smallSize]byte
}

func (in *input) buffered() int { return in.w - in.r }

// next is the content of the next frame, if all of it is there: it is consumed,
// and valid until the next call of fill or release.
func (in *input) next() (content []byte, ok bool, err error) {
	b := in.buf[in.r:in.w]
	content, size, err := in.framing.find(b, in.seen)
	if err != nil || size == 0 {
		in.seen = len(b)
		return nil, false, err
	}
	in.r += size
	in.seen = 0
	return content, true, nil
}

// fill reads at least one byte more.
func (in *input) fill() (n int, err error) {
	in.makeRoom()
	n, err = in.nc.Read(in.buf[in.w:])
	in.w += n
	switch {
	case n > 0:
		return n, nil
	case err == nil:
		return 0, io.ErrNoProgress
	}
	return 0, err
}

// makeRoom leaves some place behind w. It grows with what has come, never with
// what a length promises; find bounds it.
func (in *input) makeRoom() {
	if in.r == in.w {
		in.release()
		in.buf = in.small[:]
	}
	if in.w < len(in.buf) {
		return
	}
	if in.r > 0 {
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
		return
	}
	if in.page == nil && len(in.buf) < pageSize {
		in.page = pages.Get().(*page)
		in.w = copy(in.page[:], in.buf[:in.w])
		in.buf = in.page[:]
		return
	}
	grown := make([]byte, 2*len(in.buf))
	n := copy(grown, in.buf[:in.w])
	in.release()
	in.buf, in.w, in.seen = grown, n, n
}

// release gives the memory back together with what is unread.
func (in *input) release() {
	if in.page != nil {
		pages.Put(in.page)
	}
	in.page, in.buf, in.r, in.w, in.seen = nil, nil, 0, 0, 0
}

// rest gives the memory back if nothing is unread.
func (in *input) rest() {
	if in.r == in.w {
		in.release()
	}
}
