package framed

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/weirproxy/weir/config"
)

// The refusals of frames, without a byte of the peer.
var (
	errTooLarge  = errors.New("the content of a frame is larger than framing.max")
	errShort     = errors.New("the length of a frame is less than the size of the length itself")
	errDelimiter = errors.New("the content has the delimiter, and would be more than one frame")
	errNumber    = errors.New("the content is longer than the length of a frame can say")
)

// framing says where a frame ends (config.Framing).
type framing struct {
	delimiter []byte // of a line; nil: a number comes first
	number    int    // bytes of the number
	little    bool
	inclusive bool // the number counts itself
	max       int
}

func newFraming(f *config.Framing) (framing, error) {
	made := framing{max: int(f.Max)}
	if made.max <= 0 {
		return framing{}, errors.New("framing: max is 0; give the largest content of a frame")
	}
	switch f.Type {
	case "line":
		if f.Delimiter == "" {
			return framing{}, errors.New("framing: a line needs a delimiter")
		}
		made.delimiter = []byte(f.Delimiter)
		return made, nil
	case "length":
		switch f.LengthBytes {
		case 1, 2, 4, 8:
		default:
			return framing{}, fmt.Errorf("framing: length_bytes is %d; it is 1, 2, 4 or 8", f.LengthBytes)
		}
		made.number, made.little, made.inclusive = f.LengthBytes, f.ByteOrder == "little", f.Inclusive
		return made, nil
	}
	return framing{}, fmt.Errorf("framing: type is %q; it is line or length", f.Type)
}

// find looks for a frame at the start of b, of which the first seen bytes were
// looked at before. size is that of the whole frame, 0 when not all of it is
// there.
func (f *framing) find(b []byte, seen int) (content []byte, size int, err error) {
	if f.delimiter != nil {
		return f.findLine(b, seen)
	}
	if len(b) < f.number {
		return nil, 0, nil
	}
	n := f.length(b)
	if f.inclusive {
		if n < uint64(f.number) {
			return nil, 0, errShort
		}
		n -= uint64(f.number)
	}
	if n > uint64(f.max) {
		return nil, 0, errTooLarge
	}
	if size = f.number + int(n); len(b) < size {
		return nil, 0, nil
	}
	return b[f.number:size], size, nil
}

func (f *framing) findLine(b []byte, seen int) (content []byte, size int, err error) {
	partial := len(f.delimiter) - 1 // that much of it may have been at the end
	from := max(0, min(seen, len(b))-partial)
	end := bytes.Index(b[from:], f.delimiter)
	if end < 0 {
		if len(b)-partial > f.max {
			return nil, 0, errTooLarge
		}
		return nil, 0, nil
	}
	if end += from; end > f.max {
		return nil, 0, errTooLarge
	}
	return b[:end], end + len(f.delimiter), nil
}

// length is the number at the start of b.
func (f *framing) length(b []byte) uint64 {
	var order binary.ByteOrder = binary.BigEndian
	if f.little {
		order = binary.LittleEndian
	}
	switch f.number {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(order.Uint16(b))
	case 4:
		return uint64(order.Uint32(b))
	}
	return order.Uint64(b)
}

// open begins a frame in dst, which is empty: content is appended behind it.
func (f *framing) open(dst []byte) []byte { return append(dst, make([]byte, f.number)...) }

// content is what stands behind open so far.
func (f *framing) content(frame []byte) []byte { return frame[f.number:] }

// seal ends a frame that open has begun.
func (f *framing) seal(frame []byte) ([]byte, error) {
	if f.delimiter != nil {
		// The end of the content and the delimiter may make one earlier.
		size := len(frame)
		frame = append(frame, f.delimiter...)
		if bytes.Index(frame, f.delimiter) != size {
			return nil, errDelimiter
		}
		return frame, nil
	}
	n := uint64(len(frame))
	if !f.inclusive {
		n -= uint64(f.number)
	}
	if f.number < 8 && n>>(8*f.number) != 0 {
		return nil, errNumber
	}
	for i := range f.number {
		at := f.number - 1 - i
		if f.little {
			at = i
		}
		frame[at] = byte(n >> (8 * i))
	}
	return frame, nil
}
