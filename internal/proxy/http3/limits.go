package http3

import "github.com/weirproxy/weir/stream"

// Limits bound what one message may take. They count alike in both halves, in
// heads, trailers and interim responses.
type Limits struct {
	MaxHeaderCount int   // fields of a message, cookie crumbs, trailers and interim responses included
	MaxHeaderBytes int64 // bytes of those fields, 32 more for each (RFC 9114 section 4.2.2)
	MaxURIBytes    int64 // bytes of the request target as sent
	MaxBodyBytes   int64 // bytes of content; 0: no limit
}

// What is bounded without a setting.
const (
	// fieldOverhead is what a field counts besides its bytes (RFC 9114 section 4.2.2).
	fieldOverhead = 32
	// maxInterim bounds the 1xx responses to one request.
	maxInterim = 8
	// maxSettings and maxControl bound the payload of SETTINGS and of other
	// frames on the control stream that are read.
	maxSettings = 1 << 10
	maxControl  = 1 << 10
	// maxUnknown bounds the payload of a frame of a type that is not known: it
	// is read and thrown away.
	maxUnknown = 64 << 10
	// maxUniStreams is how many unidirectional streams the peer may have open:
	// control, two of QPACK, and some of types that are not known.
	maxUniStreams = 8
)

// section bounds the encoded field section, before a byte of it is read.
func (l *Limits) section() uint64 {
	return uint64(l.MaxHeaderBytes) + uint64(l.MaxURIBytes) + 64
}

// side is how the faults of one half are called.
type side struct {
	malformed, uriTooLong, headersTooLarge, tooManyHeaders, bodyTooLarge stream.Kind
}

var (
	requestSide = side{
		malformed:       stream.RequestMalformed,
		uriTooLong:      stream.RequestLineTooLong,
		headersTooLarge: stream.HeadersTooLarge,
		tooManyHeaders:  stream.TooManyHeaders,
		bodyTooLarge:    stream.BodyTooLarge,
	}
	responseSide = side{
		malformed:       stream.ResponseMalformed,
		uriTooLong:      stream.ResponseMalformed,
		headersTooLarge: stream.ResponseTooLarge,
		tooManyHeaders:  stream.ResponseTooLarge,
		bodyTooLarge:    stream.ResponseTooLarge,
	}
)

func (s *side) bad(cause error) *stream.Fault {
	return &stream.Fault{Kind: s.malformed, Cause: cause}
}

// meter is the one size accountant: it goes with a message from its first field
// (or that of the first interim response before it) to the last of its trailers.
type meter struct {
	side   *side
	limits *Limits
	count  int
	bytes  int64
}

// room is how many bytes the name or value of the next field may still have.
func (m *meter) room() int64 { return max(0, m.limits.MaxHeaderBytes-m.bytes) }

func (m *meter) tooLarge() *stream.Fault {
	return &stream.Fault{Kind: m.side.headersTooLarge, Limit: "max_header_bytes"}
}

// field counts one field.
func (m *meter) field(name string, value int) *stream.Fault {
	switch name {
	case ":path":
		if int64(value) > m.limits.MaxURIBytes {
			return &stream.Fault{Kind: m.side.uriTooLong, Limit: "max_uri_bytes"}
		}
		return nil
	case ":method", ":scheme", ":status", ":protocol":
	default:
		if m.count++; m.count > m.limits.MaxHeaderCount {
			return &stream.Fault{Kind: m.side.tooManyHeaders, Limit: "max_header_count"}
		}
	}
	m.bytes += int64(len(name)) + int64(value) + fieldOverhead
	if m.bytes > m.limits.MaxHeaderBytes {
		return m.tooLarge()
	}
	return nil
}
