package transcode

import (
	"encoding/binary"
	"io"

	"github.com/weirproxy/weir/stream"
)

// frameHead is the length of what stands before each gRPC message: a flag and
// the length of the message in four bytes.
const frameHead = 5

// closeFrame fills in the head of a message that was appended to frame behind
// frameHead bytes at the given place.
func closeFrame(frame []byte, at int) {
	frame[at] = 0
	binary.BigEndian.PutUint32(frame[at+1:], uint32(len(frame)-at-frameHead)) //nolint:gosec // bounded by max_message
}

// frames reads gRPC messages from a body.
type frames struct {
	body stream.Body
	max  int
	buf  []byte // buf[at:] was read and not handed out
	at   int
	end  error // what ended the body
}

// firstRead is the least room for one read of the body.
const firstRead = 4 << 10

// next is the next message, valid until the call after. io.EOF: there is none,
// and the trailer is there. Other errors are faults. Memory grows with what
// came, not with what a head announces.
func (f *frames) next() ([]byte, error) {
	if err := f.want(frameHead); err != nil {
		return nil, err
	}
	head := f.buf[f.at:]
	size := binary.BigEndian.Uint32(head[1:])
	switch {
	case head[0] > 1:
		return nil, stream.Faultf(stream.ResponseMalformed, stream.RetryNever, "transcode: a message has the flags %#x", head[0])
	case head[0] == 1:
		return nil, stream.Faultf(stream.ResponseMalformed, stream.RetryNever,
			"transcode: a message is compressed, though identity alone was accepted")
	case uint64(size) > uint64(f.max):
		return nil, &stream.Fault{Kind: stream.ResponseTooLarge, Limit: "transcode.max_message"}
	}
	if err := f.want(frameHead + int(size)); err != nil {
		return nil, err
	}
	message := f.buf[f.at+frameHead:][:size]
	f.at += frameHead + int(size)
	return message, nil
}

// want reads until n bytes are there.
func (f *frames) want(n int) error {
	for len(f.buf)-f.at < n {
		if f.end != nil {
			if f.end == io.EOF && len(f.buf) > f.at { //nolint:errorlint // the contract of stream.Body
				return stream.Faultf(stream.ResponseTruncated, stream.RetryNever, "transcode: the response ends within a message")
			}
			return f.end
		}
		f.room()
		got, err := f.body.Read(f.buf[len(f.buf):cap(f.buf)])
		f.buf, f.end = f.buf[:len(f.buf)+got], err
	}
	return nil
}

// room makes place behind buf.
func (f *frames) room() {
	if f.at > 0 {
		f.buf = f.buf[:copy(f.buf, f.buf[f.at:])]
		f.at = 0
	}
	if len(f.buf) == cap(f.buf) {
		grown := make([]byte, len(f.buf), max(firstRead, 2*cap(f.buf)))
		copy(grown, f.buf)
		f.buf = grown
	}
}

// waiting tells whether next would have to read.
func (f *frames) waiting() bool {
	have := f.buf[f.at:]
	return f.end == nil && (len(have) < frameHead || uint64(len(have)-frameHead) < uint64(binary.BigEndian.Uint32(have[1:])))
}
