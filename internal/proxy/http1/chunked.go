package http1

import (
	"bytes"
	"errors"
	"math"

	"github.com/weirproxy/weir/stream"
)

// The refusals of chunked coding (RFC 9112 section 7.1), without a byte of the peer.
var (
	errChunkLine       = errors.New("a chunk line does not end in CRLF")
	errChunkSize       = errors.New("a chunk size is not 1 to 16 hexadecimal digits that fit, or something stands behind it")
	errChunkExtension  = errors.New("a chunk extension has a control byte")
	errChunkExtensions = errors.New("the chunk extensions of one body are too long")
	errChunkEnd        = errors.New("no CRLF stands behind the data of a chunk")
	errTrailerField    = errors.New("a trailer field frames or routes the message")
)

// maxChunkLine bounds one chunk line, so that a line without an end is found
// out before it fills a page.
const maxChunkLine = 4 << 10

// chunkLine reads a chunk line with its CRLF from the start of b: the size of
// the chunk, the size of the line (0: not all of it is there) and how many
// bytes of it are extension.
func chunkLine(b []byte) (size int64, line, extension int, err error) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		if len(b) > maxChunkLine {
			return 0, 0, 0, errChunkExtensions
		}
		return 0, 0, 0, nil
	}
	if i == 0 || b[i-1] != '\r' {
		return 0, 0, 0, errChunkLine
	}
	digits := 0
	for ; digits < 16; digits++ {
		v := hexValue(b[digits])
		if v < 0 {
			break
		}
		if size > math.MaxInt64>>4 {
			return 0, 0, 0, errChunkSize
		}
		size = size<<4 | int64(v)
	}
	switch {
	case digits == 0:
		return 0, 0, 0, errChunkSize
	case digits == i-1:
		return size, i + 1, 0, nil
	case b[digits] != ';':
		return 0, 0, 0, errChunkSize
	}
	for _, c := range b[digits : i-1] {
		if class[c]&valueByte == 0 {
			return 0, 0, 0, errChunkExtension
		}
	}
	return size, i + 1, i - 1 - digits, nil
}

func hexValue(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// trailerAllowed says what becomes of a trailer field (RFC 9110 section 6.5.1).
// Fields that frame or route are an attack. Other well-known fields, and those
// that say who a client is, are dropped: whoever merges trailers into the head
// would let them stand for checked ones. The rest goes through.
func trailerAllowed(f *stream.Field) (keep bool, err error) {
	var canonical [32]byte // no well-known name is longer
	if len(f.Name) <= len(canonical) {
		for i := 0; i < len(f.Name); i++ {
			canonical[i] = foldName(f.Name[i])
		}
		switch id := stream.Lookup(string(canonical[:len(f.Name)])); {
		case ownedField[id]:
			return false, errTrailerField
		case id == stream.ETag || id == stream.ServerTiming:
			return true, nil
		case id != stream.Unknown:
			return false, nil
		}
	}
	identity := stream.Owned(f.Name) || hasPrefixFold(f.Name, "content-") ||
		hasPrefixFold(f.Name, "sec-") || hasPrefixFold(f.Name, "proxy-")
	return !identity, nil
}

// reserveChunk is how much place appendChunkSize needs before the data of a
// chunk of at most a page.
const reserveChunk = len("8000\r\n")

// putChunkSize writes the size line of a chunk of n bytes, n at most pageSize,
// so that it ends where b ends, and returns where it begins.
func putChunkSize(b []byte, n int) int {
	const hex = "0123456789abcdef"
	i := len(b) - 2
	b[i], b[i+1] = '\r', '\n'
	for {
		i--
		b[i] = hex[n&15]
		if n >>= 4; n == 0 {
			return i
		}
	}
}
