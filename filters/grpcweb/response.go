package grpcweb

import (
	"encoding/base64"
	"encoding/binary"
	"io"
	"sync"

	"github.com/weirproxy/weir/stream"
)

// trailerFlag marks the frame that holds the trailer.
const trailerFlag = 0x80

// noStatus is the trailer of a call whose upstream ended it without a status,
// which gRPC clients take for INTERNAL.
const noStatus = "grpc-status: 13\r\ngrpc-message: The service ended the call without a status.\r\n"

// webBody passes the messages on and puts the trailer behind them as a frame.
type webBody struct {
	stream.Body
	exchange *stream.Exchange
	status   bool   // the header had it
	ended    bool   // the messages are read
	tail     []byte // what is left of the trailer frame
}

// Read implements stream.Body.
func (b *webBody) Read(p []byte) (int, error) {
	if !b.ended {
		n, err := b.Body.Read(p)
		if err != io.EOF {
			return n, err
		}
		b.end()
		if n > 0 {
			return n, nil
		}
	}
	if len(b.tail) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.tail)
	b.tail = b.tail[n:]
	return n, nil
}

// end makes the trailer frame.
func (b *webBody) end() {
	b.ended = true
	trailer := b.Body.Trailer()
	b.exchange.SetGRPCStatus(trailer)
	frame := make([]byte, 5, 128)
	if trailer != nil {
		for _, f := range trailer.Fields() {
			frame = appendLower(frame, f.Name)
			frame = append(append(append(frame, ": "...), f.Value...), "\r\n"...)
		}
	}
	if _, ok := stream.GRPCStatus(trailer); !ok && !b.status {
		b.exchange.GRPCStatus = 13 + 1
		frame = append(frame, noStatus...)
	}
	frame[0] = trailerFlag
	binary.BigEndian.PutUint32(frame[1:], uint32(len(frame)-5))
	b.tail = frame
}

// appendLower appends a field name, which gRPC-Web has in lower case.
func appendLower(dst []byte, name string) []byte {
	for i := 0; i < len(name); i++ {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}

// Trailer implements stream.Body: it is in the content.
func (b *webBody) Trailer() *stream.Header { return nil }

// Await implements stream.Awaiter.
func (b *webBody) Await() error {
	if a, ok := b.Body.(stream.Awaiter); ok && !b.ended {
		return a.Await()
	}
	return nil
}

// encoder is a webBody in base64. What each read brings is encoded by itself,
// with its padding, so that a message leaves when it is there; clients decode
// one padded piece after the other.
type encoder struct {
	body *webBody
	rest []byte  // encoded and not read yet; of small
	room [4]byte // for readers with less room than a group takes
	err  error   // came together with bytes
}

// rawSize bounds one read.
const rawSize = 6 << 10

// raws are buffers for what is to be encoded, held during a read only.
var raws = sync.Pool{New: func() any { return new([rawSize]byte) }}

// Read implements stream.Body.
func (e *encoder) Read(p []byte) (int, error) {
	if len(e.rest) > 0 {
		n := copy(p, e.rest)
		e.rest = e.rest[n:]
		return n, nil
	}
	if len(p) == 0 || e.err != nil {
		return 0, e.err
	}
	raw := raws.Get().(*[rawSize]byte)
	defer raws.Put(raw)
	n, err := e.body.Read(raw[:min(max(len(p)/4, 1)*3, rawSize)])
	if n == 0 {
		return 0, err
	}
	e.err = err
	if len(p) >= 4 {
		base64.StdEncoding.Encode(p, raw[:n])
		return base64.StdEncoding.EncodedLen(n), nil
	}
	base64.StdEncoding.Encode(e.room[:], raw[:n])
	e.rest = e.room[copy(p, e.room[:]):]
	return len(p), nil
}

// Close implements stream.Body.
func (e *encoder) Close() error { return e.body.Close() }

// Trailer implements stream.Body.
func (e *encoder) Trailer() *stream.Header { return nil }

// Await implements stream.Awaiter.
func (e *encoder) Await() error {
	if len(e.rest) > 0 || e.err != nil {
		return nil
	}
	return e.body.Await()
}
