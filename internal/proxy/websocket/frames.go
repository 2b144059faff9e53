package websocket

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
)

// What the next byte is.
const (
	atFirst    uint8 = iota // of a frame: the boundary
	atLength                // the one with the mask bit and the short length
	atExtended              // of an extended length
	atRest                  // of mask and payload
)

// frames follows one direction of a socket (RFC 6455 section 5.2).
type frames struct {
	left   uint64 // bytes of the frame behind its length
	state  uint8
	need   uint8 // bytes of the extended length to come
	masked bool
	closes bool // the frame under way, or the last one, is a Close
}

const opClose = 8

// boundary tells whether a frame may begin here.
func (f *frames) boundary() bool { return f.state == atFirst }

// frame consumes p up to the end of the frame under way, or of p.
func (f *frames) frame(p []byte) int {
	i := 0
	for i < len(p) {
		switch f.state {
		case atFirst:
			f.closes = p[i]&0x0f == opClose
			f.state = atLength
			i++
		case atLength:
			f.length(p[i])
			i++
		case atExtended:
			f.left = f.left<<8 | uint64(p[i])
			f.need--
			i++
		case atRest:
			n := min(f.left, uint64(len(p)-i))
			f.left -= n
			i += int(n)
		}
		if f.settle() {
			return i
		}
	}
	return i
}

func (f *frames) length(b byte) {
	f.masked, f.left, f.need = b&0x80 != 0, 0, 0
	switch b &= 0x7f; b {
	case 126:
		f.need = 2
	case 127:
		f.need = 8
	default:
		f.left = uint64(b)
	}
	f.state = atExtended
}

// settle moves on when a part of the frame is complete. It reports the end of
// the frame.
func (f *frames) settle() bool {
	if f.state == atExtended && f.need == 0 {
		if f.masked && f.left <= math.MaxUint64-4 {
			f.left += 4
		}
		f.state = atRest
	}
	if f.state == atRest && f.left == 0 {
		f.state = atFirst
		return true
	}
	return false
}

// advance consumes p. It reports whether a Close frame began in it.
func (f *frames) advance(p []byte) (closes bool) {
	for len(p) > 0 {
		begins := f.boundary()
		p = p[f.frame(p):]
		closes = closes || begins && f.closes
	}
	return closes
}

// untilClose consumes p up to a Close frame that begins in it.
func (f *frames) untilClose(p []byte) (n int, closes bool) {
	for n < len(p) {
		if f.boundary() && p[n]&0x0f == opClose {
			return n, true
		}
		n += f.frame(p[n:])
	}
	return n, false
}

// goingAway is status 1001 (RFC 6455 section 7.4.1).
const goingAway = 1001

const closeSize = 4 // of closeFrame

// closeFrame is a Close frame as a server sends it.
func closeFrame() (b [closeSize]byte) {
	b[0], b[1] = 0x80|opClose, 2
	binary.BigEndian.PutUint16(b[2:], goingAway)
	return b
}

// maskedClose is a Close frame as a client sends it (RFC 6455 section 5.3).
func maskedClose() (b [closeSize + 4]byte) {
	b[0], b[1] = 0x80|opClose, 0x80|2
	binary.BigEndian.PutUint32(b[2:], rand.Uint32())
	binary.BigEndian.PutUint16(b[6:], goingAway)
	b[6] ^= b[2]
	b[7] ^= b[3]
	return b
}
