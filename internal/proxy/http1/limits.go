package http1

import "github.com/weirproxy/weir/stream"

// Limits bound what one message may take. They count alike in both halves, in
// heads, trailers and interim responses.
type Limits struct {
	MaxHeaderCount int   // fields of a message, trailers and interim responses included
	MaxHeaderBytes int64 // bytes of those fields on the wire
	MaxURIBytes    int64 // bytes of the request target as sent
	MaxBodyBytes   int64 // bytes of content; 0: no limit
}

// What is bounded without a setting.
const (
	// maxLineExtra is what a request line may have besides its target: the
	// longest method and " HTTP/1.1" fit many times over.
	maxLineExtra = 64
	// maxStatusLine bounds the line before the fields of a response.
	maxStatusLine = 1 << 10
	// maxExtensions bounds the bytes of chunk extensions of one body: they are
	// read and thrown away, so many of them are an attack (CVE-2023-39326).
	maxExtensions = 16 << 10
	// maxInterim bounds the 1xx responses to one request.
	maxInterim = 8
	// maxConnectionOptions bounds the names that Connection fields nominate.
	maxConnectionOptions = 16
	// maxDrain is how much of an unread request body is read and thrown away
	// to keep the connection.
	maxDrain = 256 << 10
	// maxPrefetch is the largest request body that leaves in one write with its head.
	maxPrefetch = 16 << 10
)

// side is how the faults of one half are called.
type side struct {
	malformed, lineTooLong, headersTooLarge, tooManyHeaders, bodyTooLarge stream.Kind
}

var (
	requestSide = side{
		malformed:       stream.RequestMalformed,
		lineTooLong:     stream.RequestLineTooLong,
		headersTooLarge: stream.HeadersTooLarge,
		tooManyHeaders:  stream.TooManyHeaders,
		bodyTooLarge:    stream.BodyTooLarge,
	}
	responseSide = side{
		malformed:       stream.ResponseMalformed,
		lineTooLong:     stream.ResponseMalformed,
		headersTooLarge: stream.ResponseTooLarge,
		tooManyHeaders:  stream.ResponseTooLarge,
		bodyTooLarge:    stream.ResponseTooLarge,
	}
)

func (s *side) bad(cause error) *stream.Fault {
	return &stream.Fault{Kind: s.malformed, Cause: cause}
}

// meter is the one size accountant: it goes with a message from the first byte
// of its head (or of the first interim response before it) to the last of its
// trailers. The zero meter with side and limits set is at the start.
type meter struct {
	side   *side
	limits *Limits
	count  int
	bytes  int64
}

func (m *meter) reset() { m.count, m.bytes = 0, 0 }

// field counts one complete field line with its CRLF.
func (m *meter) field(size int) *stream.Fault {
	m.count++
	if m.count > m.limits.MaxHeaderCount {
		return &stream.Fault{Kind: m.side.tooManyHeaders, Limit: "max_header_count"}
	}
	m.bytes += int64(size)
	return m.over(0)
}

// over tells whether size more bytes of an unfinished line are too many.
func (m *meter) over(size int) *stream.Fault {
	if m.bytes+int64(size) > m.limits.MaxHeaderBytes {
		return &stream.Fault{Kind: m.side.headersTooLarge, Limit: "max_header_bytes"}
	}
	return nil
}

// firstLine judges the line before the fields, complete or not, by its size so far.
func (m *meter) firstLine(size int) *stream.Fault {
	if m.side == &responseSide {
		if size > maxStatusLine {
			return m.side.bad(errStatusLine)
		}
		return nil
	}
	if int64(size) > m.limits.MaxURIBytes+maxLineExtra {
		return &stream.Fault{Kind: m.side.lineTooLong, Limit: "max_uri_bytes"}
	}
	return nil
}
