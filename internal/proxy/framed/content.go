package framed

import (
	"errors"
	"io"
	"slices"

	"github.com/weirproxy/weir/stream"
)

// maxEmptyReads bounds reads of a body that give nothing.
const maxEmptyReads = 100

var errNoProgress = errors.New("the body gives neither bytes nor an end")

// appendBody appends a whole body of at most max bytes. An error is errTooLarge,
// or a fault of the body.
func appendBody(dst []byte, body stream.Body, length int64, max int) ([]byte, error) {
	if length > int64(max) {
		return dst, errTooLarge
	}
	if w, ok := body.(stream.Whole); ok {
		if rest, ok := w.Bytes(); ok {
			if len(rest) > max {
				return dst, errTooLarge
			}
			return append(dst, rest...), nil
		}
	}
	begin := len(dst)
	for empty := 0; empty < maxEmptyReads; empty++ {
		if len(dst) == cap(dst) {
			dst = slices.Grow(dst, len(dst)+smallSize)
		}
		n, err := body.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		switch {
		case len(dst)-begin > max:
			return dst, errTooLarge
		case err == io.EOF:
			return dst, nil
		case err != nil:
			return dst, stream.AsFault(err)
		case n > 0:
			empty = -1
		}
	}
	return dst, &stream.Fault{Kind: stream.Internal, Cause: errNoProgress}
}
