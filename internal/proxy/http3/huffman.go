package http3

import "errors"

var (
	errHuffmanEnd = errors.New("a Huffman string does not end in at most seven bits of padding")
	errTooLong    = errors.New("a decoded string is longer than it may be")
)

// huffmanLengths has the bits of the code of each byte (RFC 7541 appendix B,
// which QPACK uses). The code is canonical: shorter codes come first, equally
// long ones in the order of their bytes, so the lengths say it all. The code of
// the end of a string, which must not stand in one, is the last of 30 bits.
var huffmanLengths = [256]uint8{
	13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
	28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
	6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
	5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
	13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
	7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
	15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
	6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
	20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
	24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
	22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
	21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
	26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
	19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
	20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
	26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
}

const (
	huffmanShortest = 5
	huffmanLongest  = 30
)

// huffmanCode is the table turned round: for each length the first code of
// that length, how many there are, and where their bytes begin in symbols.
type huffmanCode struct {
	first   [huffmanLongest + 1]uint32
	count   [huffmanLongest + 1]uint32
	start   [huffmanLongest + 1]uint32
	symbols [256]byte
}

// huffman is built once and never written again.
var huffman = func() (h huffmanCode) {
	code, at := uint32(0), uint32(0)
	for bits := uint8(huffmanShortest); bits <= huffmanLongest; bits++ {
		code <<= 1
		h.first[bits], h.start[bits] = code, at
		for c, n := range huffmanLengths {
			if n == bits {
				h.symbols[at] = byte(c)
				at++
			}
		}
		h.count[bits] = at - h.start[bits]
		code += h.count[bits]
	}
	return h
}()

// appendHuffman appends what src decodes to, at most limit bytes of it. The
// limit is judged while it decodes: no more than that is ever written.
func appendHuffman(dst, src []byte, limit int64) ([]byte, error) {
	var window uint64 // the bits not yet decoded, at the low end
	bits := uint(0)   // how many
	for len(src) > 0 || bits >= huffmanShortest {
		for bits <= 56 && len(src) > 0 {
			window, bits, src = window<<8|uint64(src[0]), bits+8, src[1:]
		}
		c, n := huffman.next(window, bits)
		if n == 0 {
			break // padding, or a code that does not exist
		}
		if limit--; limit < 0 {
			return dst, errTooLong
		}
		dst = append(dst, c)
		bits -= n
		window &= 1<<bits - 1
	}
	if len(src) > 0 || bits > 7 || window != 1<<bits-1 {
		return dst, errHuffmanEnd
	}
	return dst, nil
}

// next decodes one byte of the highest of bits bits; n is how many it took, 0
// when they hold no whole code.
func (h *huffmanCode) next(window uint64, bits uint) (c byte, n uint) {
	for n = huffmanShortest; n <= huffmanLongest && n <= bits; n++ {
		code := uint32(window >> (bits - n))
		if at := code - h.first[n]; code >= h.first[n] && at < h.count[n] {
			return h.symbols[h.start[n]+at], n
		}
	}
	return 0, 0
}
