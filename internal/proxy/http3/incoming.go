package http3

import (
	"errors"
	"io"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
	"github.com/weirproxy/weir/stream"
)

var (
	errBodyLength  = errors.New("the content does not have the length that Content-Length says")
	errContent     = errors.New("content where the message has none")
	errPushPromise = "PUSH_PROMISE that nobody allowed"
)

// Where an incoming stands.
type inState uint8

const (
	inHead    inState = iota // HEADERS of the head, interim ones first
	inContent                // DATA, then perhaps HEADERS of the trailers
	inTrailed                // nothing more but frames of unknown types
	inTunnel                 // DATA only, without an end by Content-Length
	inDone                   // the end of the stream was read
)

// incoming reads the frames of one request stream (RFC 9114 section 4.1). Its
// errors: io.EOF at an end in order, a *connError when the peer broke a rule of
// the connection, a *stream.Fault when the message breaks one, and else what the
// stream says. It is read by one goroutine at a time.
type incoming struct {
	str   io.Reader // a *quic.Stream
	meter meter
	score *score

	state    inState
	client   bool // we are the client
	noBody   bool // the message has no content, whatever Content-Length says
	ended    bool // the peer has ended the stream
	left     uint64
	declared int64 // of Content-Length; -1 none
	total    int64

	trailer    stream.Header
	hasTrailer bool

	at, end int
	buf     [256]byte // frame headers, and the data that came with them
}

func (in *incoming) init(str io.Reader, sc *score, limits *Limits, client bool) {
	in.str, in.score, in.client, in.declared = str, sc, client, -1
	in.meter = meter{side: &requestSide, limits: limits}
	if client {
		in.meter.side = &responseSide
	}
}

func (in *incoming) buffered() int { return in.end - in.at }

// fill reads more into buf. The end of the stream is noted, not returned,
// unless nothing came before it.
func (in *incoming) fill() error {
	if in.ended {
		return io.EOF
	}
	if in.at > 0 {
		in.end = copy(in.buf[:], in.buf[in.at:in.end])
		in.at = 0
	}
	n, err := in.str.Read(in.buf[in.end:])
	in.end += n
	if err == io.EOF {
		in.ended = true
		if n > 0 {
			return nil
		}
	}
	return err
}

// varint reads an integer; io.EOF when the stream ends before it.
func (in *incoming) varint() (uint64, error) {
	for {
		if v, n, err := quicvarint.Parse(in.buf[in.at:in.end]); err == nil {
			in.at += n
			return v, nil
		}
		had := in.buffered()
		if err := in.fill(); err == io.EOF && had > 0 {
			return 0, fatal(codeFrameError, "the stream ends inside a frame header")
		} else if err != nil {
			return 0, err
		}
	}
}

// next reads the header of the next frame that is known here, and skips others.
func (in *incoming) next() (typ, length uint64, err error) {
	for {
		if typ, err = in.varint(); err != nil {
			return 0, 0, err
		}
		if length, err = in.varint(); err == io.EOF {
			return 0, 0, fatal(codeFrameError, "the stream ends inside a frame header")
		} else if err != nil {
			return 0, 0, err
		}
		switch typ {
		case frameData, frameHeaders:
			return typ, length, nil
		case framePushPromise:
			if in.client {
				return 0, 0, fatal(codeIDError, errPushPromise)
			}
			return 0, 0, fatal(codeFrameUnexpected, errPushPromise)
		case frameSettings, frameGoAway, frameCancelPush, frameMaxPushID, framePriorityRequest, framePriorityPush:
			return 0, 0, fatal(codeFrameUnexpected, "a frame of the control stream on a request stream")
		}
		if reservedFrame(typ) {
			return 0, 0, fatal(codeFrameUnexpected, "a frame of HTTP/2")
		}
		if err := in.skip(length); err != nil {
			return 0, 0, err
		}
	}
}

// skip throws the payload of an unknown frame away (RFC 9114 section 9).
func (in *incoming) skip(length uint64) error {
	if length > maxUnknown {
		return fatal(codeExcessiveLoad, "a frame of unknown type is too long")
	}
	if err := in.score.add(pointsUnknown + int(length>>10)); err != nil {
		return err
	}
	for length > 0 {
		if in.buffered() == 0 {
			if err := in.payload(in.fill()); err != nil {
				return err
			}
		}
		n := min(uint64(in.buffered()), length)
		in.at += int(n)
		length -= n
	}
	return nil
}

// payload is the error of a read inside a frame.
func (in *incoming) payload(err error) error {
	if err == io.EOF {
		return fatal(codeFrameError, "the stream ends inside a frame")
	}
	return err
}

// section reads and decodes the field section of a HEADERS frame.
func (in *incoming) section(s *section, length uint64) error {
	if length > in.meter.limits.section() {
		return in.meter.tooLarge()
	}
	block := s.room(int(length))
	n := copy(block, in.buf[in.at:in.end])
	in.at += n
	for n < len(block) {
		if in.ended {
			return in.payload(io.EOF)
		}
		m, err := in.str.Read(block[n:])
		if n += m; err == io.EOF {
			in.ended = true
		} else if err != nil {
			return err
		}
	}
	return s.decode(&in.meter)
}

// head reads the field section of the next head.
func (in *incoming) head(s *section) (size int, err error) {
	typ, length, err := in.next()
	switch {
	case err != nil:
		return 0, err
	case typ != frameHeaders:
		return 0, fatal(codeFrameUnexpected, "DATA before HEADERS")
	}
	return int(min(length, 1<<30)), in.section(s, length)
}

// begin ends the heads.
func (in *incoming) begin(declared int64, noBody bool) {
	in.state, in.declared, in.noBody = inContent, declared, noBody
}

// atEnd tells whether the peer has ended the stream and nothing is left of it.
func (in *incoming) atEnd() bool { return in.ended && in.buffered() == 0 && in.left == 0 }

// awaitEnd waits until there is a byte behind the head, or the end of the stream.
func (in *incoming) awaitEnd() error {
	if in.buffered() > 0 || in.ended {
		return nil
	}
	if err := in.fill(); err != io.EOF {
		return err
	}
	return nil
}

// ready brings the reader to content, or to the end: then it returns io.EOF.
func (in *incoming) ready() error {
	for in.left == 0 {
		if in.state == inDone {
			return io.EOF
		}
		typ, length, err := in.next()
		if err == io.EOF {
			return in.finish()
		}
		if err != nil {
			return err
		}
		if typ == frameHeaders {
			if err := in.trailers(length); err != nil {
				return err
			}
			continue
		}
		if err := in.data(length); err != nil {
			return err
		}
	}
	return nil
}

// data begins a DATA frame.
func (in *incoming) data(length uint64) error {
	switch {
	case in.state == inTrailed:
		return fatal(codeFrameUnexpected, "DATA behind the trailers")
	case length == 0:
		return in.score.add(pointsEmpty)
	case in.noBody:
		return in.meter.side.bad(errContent)
	case in.declared >= 0 && length > uint64(in.declared-in.total):
		return in.meter.side.bad(errBodyLength)
	}
	in.left = length
	return nil
}

// finish judges the end of the stream.
func (in *incoming) finish() error {
	if !in.noBody && in.declared >= 0 && in.total != in.declared {
		return in.meter.side.bad(errBodyLength)
	}
	in.state = inDone
	return io.EOF
}

// trailers reads a trailer section.
func (in *incoming) trailers(length uint64) error {
	if in.state != inContent {
		return fatal(codeFrameUnexpected, "HEADERS behind the trailers or in a tunnel")
	}
	s := takeSection()
	defer s.release()
	if err := in.section(s, length); err != nil {
		return err
	}
	if err := readTrailer(s, &in.trailer); err != nil {
		return in.meter.side.bad(err)
	}
	in.hasTrailer = in.trailer.Len() > 0
	in.state = inTrailed
	return nil
}

// read reads content. It blocks only for the first byte; io.EOF comes alone.
func (in *incoming) read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := in.ready(); err != nil {
		return 0, err
	}
	if uint64(len(p)) > in.left {
		p = p[:in.left]
	}
	n, err := in.take(p)
	in.left -= uint64(n)
	in.total += int64(n)
	if limit := in.meter.limits.MaxBodyBytes; limit > 0 && in.total > limit && in.state != inTunnel {
		return 0, &stream.Fault{Kind: in.meter.side.bodyTooLarge, Limit: "max_body_bytes"}
	}
	return n, err
}

// take reads payload of the present DATA frame.
func (in *incoming) take(p []byte) (int, error) {
	if in.buffered() > 0 {
		n := copy(p, in.buf[in.at:in.end])
		in.at += n
		return n, nil
	}
	if in.ended {
		return 0, in.payload(io.EOF)
	}
	n, err := in.str.Read(p)
	if err == io.EOF {
		in.ended = true
		if err = nil; uint64(n) < in.left {
			err = in.payload(io.EOF)
		}
	}
	return n, err
}

// reset tells whether err is the peer giving up the stream, with its code.
func resetCode(err error) (code quic.StreamErrorCode, ok bool) {
	var e *quic.StreamError
	if errors.As(err, &e) && e.Remote {
		return e.ErrorCode, true
	}
	return 0, false
}
