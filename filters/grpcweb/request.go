package grpcweb

import (
	"errors"
	"io"

	"github.com/weirproxy/weir/stream"
)

// decoder is a request body out of base64: pieces of whole groups, each of
// which may end with padding. Nothing else may stand in it (RFC 4648 section
// 3.3): not even line ends, and no bits that a decoder would drop.
type decoder struct {
	body  stream.Body
	carry [3]byte // of a group that is not complete
	held  int     // bytes in carry
	rest  []byte  // decoded and not read yet; of room
	room  [64]byte
	err   error // what ends the body
}

var (
	errBase64 = errors.New("the content is not base64, as its type says")
	errCut    = errors.New("the content ends within a group of base64")
)

// Read implements stream.Body.
func (d *decoder) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(d.rest) == 0 && d.err == nil {
		if len(p) >= len(d.room) { // decoded in place: it gets shorter
			if n := d.fill(p); n > 0 {
				return n, nil
			}
			continue
		}
		d.rest = d.room[:d.fill(d.room[:])]
	}
	if len(d.rest) == 0 {
		return 0, d.err
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

// fill reads into buf once and decodes there.
func (d *decoder) fill(buf []byte) (decoded int) {
	start := copy(buf, d.carry[:d.held])
	n, err := d.body.Read(buf[start:])
	encoded := buf[:start+n]
	whole := len(encoded) &^ 3
	d.held = copy(d.carry[:], encoded[whole:])
	decoded, ok := decode(encoded[:whole])
	switch {
	case !ok:
		d.err = &stream.Fault{Kind: stream.ContentUnsupported, Cause: errBase64}
	case err == io.EOF && d.held > 0:
		d.err = &stream.Fault{Kind: stream.ContentUnsupported, Cause: errCut}
	default:
		d.err = err
	}
	return decoded
}

// decode decodes groups in place, up to the first that is none.
func decode(groups []byte) (decoded int, ok bool) {
	for at := 0; at+4 <= len(groups); at += 4 {
		a, b, c, d := sextets[groups[at]], sextets[groups[at+1]], sextets[groups[at+2]], sextets[groups[at+3]]
		switch {
		case a|b|c|d < 64:
			groups[decoded], groups[decoded+1], groups[decoded+2] = a<<2|b>>4, b<<4|c>>2, c<<6|d
			decoded += 3
		case a|b|c < 64 && d == padding && c&3 == 0:
			groups[decoded], groups[decoded+1] = a<<2|b>>4, b<<4|c>>2
			decoded += 2
		case a|b < 64 && c == padding && d == padding && b&15 == 0:
			groups[decoded] = a<<2 | b>>4
			decoded++
		default:
			return decoded, false
		}
	}
	return decoded, true
}

// What a byte is that stands for no six bits.
const (
	padding = 64
	invalid = 128
)

var sextets = func() (table [256]uint8) {
	for i := range table {
		table[i] = invalid
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for i := range len(alphabet) {
		table[alphabet[i]] = uint8(i)
	}
	table['='] = padding
	return table
}()

// Close implements stream.Body.
func (d *decoder) Close() error { return d.body.Close() }

// Trailer implements stream.Body.
func (d *decoder) Trailer() *stream.Header { return d.body.Trailer() }
