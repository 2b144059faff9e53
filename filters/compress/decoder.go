package compress

import (
	"errors"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/weirproxy/weir/stream"
)

// decoder is a decoder of one of the libraries. Reset reads the head of the
// content where the coding has one.
type decoder interface {
	io.Reader
	Reset(io.Reader) error
}

// take is a decoder that is not bound to a source yet.
func (u *unpacker) take(c coding) decoder {
	if d, ok := u.pools[c].Get().(decoder); ok {
		return d
	}
	switch c {
	case zstdCoding:
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(uint64(u.maxWindow)))
		if err != nil {
			panic("compress: zstd refuses its options: " + err.Error())
		}
		return d
	case brCoding:
		return new(brotli.Reader)
	default:
		return new(gzip.Reader)
	}
}

// give puts a decoder back, without the source that it held.
func (u *unpacker) give(c coding, d decoder) {
	if c == zstdCoding {
		d.Reset(nil) //nolint:errcheck // a decoder without a source
	} else {
		d.Reset(nothing{}) //nolint:errcheck // an empty source has no head to read
	}
	u.pools[c].Put(d)
}

type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, io.EOF }

// source is what a decoder reads: the content as it came, counted.
type source struct {
	body  stream.Body
	bytes int64
	err   error // what ended it; io.EOF for its end
	first byte
}

func (s *source) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.body.Read(p)
	if n > 0 && s.bytes == 0 {
		s.first = p[0]
	}
	s.bytes += int64(n)
	s.err = err
	return n, err
}

var errWindow = errors.New("it refers further back than a decoder may keep")

// brotliWindow is the size of the window that the first byte of a Brotli
// stream declares (RFC 7932 section 9.1). The library has no bound of its own.
func brotliWindow(first byte) int64 {
	switch {
	case first&1 == 0:
		return 1 << 16
	case first>>1&7 != 0:
		return 1 << (17 + first>>1&7)
	case first>>4&7 != 0:
		return 1 << (8 + first>>4&7)
	}
	return 1 << 17
}
