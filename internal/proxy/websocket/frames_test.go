package websocket

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// frame makes a frame the long way: the reference of these tests.
func frame(first byte, mask []byte, payload string) []byte {
	b := []byte{first}
	bit := byte(0)
	if mask != nil {
		bit = 0x80
	}
	switch n := len(payload); {
	case n < 126:
		b = append(b, bit|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, bit|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, bit|127), uint64(n))
	}
	b = append(b, mask...)
	for i := range len(payload) {
		c := payload[i]
		if mask != nil {
			c ^= mask[i%4]
		}
		b = append(b, c)
	}
	return b
}

var mask = []byte{1, 2, 3, 4}

func TestFrames(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 127, 65535, 65536} {
		for _, m := range [][]byte{nil, mask} {
			text := string(bytes.Repeat([]byte{0x88}, size)) // looks like the head of a Close everywhere
			b := frame(0x82, m, text)
			both := append(bytes.Clone(b), frame(0x88, m, "")...)
			for _, step := range []int{1, 2, 3, 5, 7, len(both)} {
				var f frames
				for at := 0; at < len(both); at += step {
					p := both[at:min(at+step, len(both))]
					if was := f.boundary(); was != (at == 0 || at == len(b)) {
						t.Fatalf("size %d, mask %v, step %d: boundary %v at %d", size, m, step, was, at)
					}
					begins := at <= len(b) && len(b) < at+len(p)
					if closes := f.advance(p); closes != begins {
						t.Fatalf("size %d, mask %v, step %d: Close %v at %d", size, m, step, closes, at)
					}
				}
				if !f.boundary() {
					t.Errorf("size %d, mask %v, step %d: not at the end", size, m, step)
				}
			}
			var f frames
			if n, closes := f.untilClose(both); n != len(b) || !closes {
				t.Errorf("size %d, mask %v: Close at %d, %v", size, m, n, closes)
			}
		}
	}
}

// A length that no frame may have ends nothing and overflows nothing.
func TestFramesHugeLength(t *testing.T) {
	var f frames
	f.advance([]byte{0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	if f.advance(bytes.Repeat([]byte{0x88}, 1000)) || f.boundary() {
		t.Error("a frame ended")
	}
}

// However a stream is cut into pieces, its frames are the same.
func FuzzFrames(f *testing.F) {
	f.Add(append(frame(0x81, mask, "hello"), frame(0x88, nil, "\x03\xe9")...), uint8(3))
	f.Add(frame(0x82, nil, string(make([]byte, 70000))), uint8(1))
	f.Add([]byte{0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, uint8(2))
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		var whole, cut frames
		n, closes := whole.untilClose(b)
		at, found := 0, false
		for at < len(b) && !found {
			p := b[at:min(at+int(step)+1, len(b))]
			var m int
			m, found = cut.untilClose(p)
			at += m
		}
		if n != at || closes != found || whole.boundary() != cut.boundary() || whole.left != cut.left {
			t.Errorf("whole: %d %v %+v; in pieces: %d %v %+v", n, closes, whole, at, found, cut)
		}
	})
}

func TestCloseFrames(t *testing.T) {
	plain := closeFrame()
	if want := frame(0x88, nil, "\x03\xe9"); !bytes.Equal(plain[:], want) {
		t.Errorf("got % x, want % x", plain, want)
	}
	masked := maskedClose()
	if want := frame(0x88, masked[2:6], "\x03\xe9"); !bytes.Equal(masked[:], want) {
		t.Errorf("got % x, want % x", masked, want)
	}
	if other := maskedClose(); masked == other {
		t.Error("two masks are the same")
	}
}

func BenchmarkAdvance(b *testing.B) {
	one := frame(0x82, nil, string(make([]byte, 32<<10)))
	b.SetBytes(int64(len(one)))
	var f frames
	for b.Loop() {
		f.advance(one)
	}
}
