package http2

import "github.com/weirproxy/weir/stream"

// Limits bound what one message may take. They count alike in both halves, in
// heads, trailers and interim responses; a cookie that comes in crumbs counts
// crumb by crumb, and a pseudo-header field as any other.
type Limits struct {
	MaxHeaderCount int   // fields of a message, trailers and interim responses included
	MaxHeaderBytes int64 // bytes of those fields as HTTP/1 would write them
	MaxURIBytes    int64 // bytes of :path
	MaxBodyBytes   int64 // bytes of content; 0: no limit
}

const (
	// fieldExtra is what a field takes besides name and value: ": " and CRLF.
	fieldExtra = 4
	// maxInterim bounds the 1xx responses to one request.
	maxInterim = 8
	// maxEmptyReads bounds reads of a body that give nothing.
	maxEmptyReads = 100
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

// meter is the one size accountant. It goes with a message from its head to its
// trailers. For the author of either half: keep one per stream, set side and
// limits, and hand it to decoder.decode each time.
type meter struct {
	side   *side
	limits *Limits
	count  int
	bytes  int64
}

// field counts one field of that many bytes.
func (m *meter) field(size int) *stream.Fault {
	m.count++
	if m.count > m.limits.MaxHeaderCount {
		return &stream.Fault{Kind: m.side.tooManyHeaders, Limit: "max_header_count"}
	}
	m.bytes += int64(size) + fieldExtra
	if m.bytes > m.limits.MaxHeaderBytes {
		return &stream.Fault{Kind: m.side.headersTooLarge, Limit: "max_header_bytes"}
	}
	return nil
}

// maxBlock bounds the compressed bytes of a header block. Beyond it the
// connection ends: to read on only to keep the table in step is what an
// attacker wants (CVE-2023-45288).
func (l *Limits) maxBlock() int { return int(2*l.MaxHeaderBytes) + minFrame }

// body judges a body of that size.
func (l *Limits) body(s *side, size int64) *stream.Fault {
	if l.MaxBodyBytes > 0 && size > l.MaxBodyBytes {
		return &stream.Fault{Kind: s.bodyTooLarge, Limit: "max_body_bytes"}
	}
	return nil
}
