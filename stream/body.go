package stream

import (
	"io"
	"net"
)

// Body is the content of a message, read once, in order. After Read has
// returned io.EOF the content was complete by its framing; every other error
// is a *Fault and means that it was not.
//
// Close gives up what was not read. It may be called more than once and, for
// a request body, while another goroutine is in Read: that Read then returns.
type Body interface {
	io.ReadCloser
	// Trailer is complete once Read has returned io.EOF; nil when there is none.
	Trailer() *Header
}

// Whole is the fast path of a small Body: its bytes are in memory already, so
// that they leave in one write with the head.
type Whole interface {
	Body
	// Bytes are all bytes not yet read, with ok true, if every one of them is
	// in memory and no trailer follows. They are not consumed and stay valid
	// until Close.
	Bytes() (rest []byte, ok bool)
}

// Prefetcher is a Body that can bring itself into memory.
type Prefetcher interface {
	Whole
	// Prefetch reads until Bytes is ok, if the length is known and at most max
	// bytes and the peer does not wait for a 100 (Continue). Otherwise it does
	// nothing. The error is a *Fault.
	Prefetch(max int) error
}

// Announcer is a Body whose sender named the fields of its trailer in advance
// (RFC 9110 section 6.6.2). Who wraps a Body passes that on.
type Announcer interface {
	Body
	// Announced is the list of names, "" when there is none.
	Announced() string
}

// Duplex is the body of a response that turned the connection into a tunnel:
// 101 (Switching Protocols), or 200 to CONNECT. Read carries upstream to
// downstream, Write the other way.
type Duplex interface {
	Body
	io.Writer
	// CloseWrite tells the upstream that nothing more comes.
	CloseWrite() error
}

// Awaiter is a Body that can wait until Read has something to give (bytes, the
// end, or a fault), so that a quiet stream or tunnel holds no memory to read
// into. Who wraps a Body passes that on.
type Awaiter interface {
	Body
	Await() error
}

// Socketed is a Duplex whose bytes are those of a plain socket: whoever carries
// it may move them without copying (splice). What was read ahead comes out of
// Read first; Socket is the socket once nothing is left of that, else nil. The
// Duplex stays the owner: it alone closes the socket.
type Socketed interface {
	Duplex
	Socket() net.Conn
}

// NoBody is the body of a message without content.
var NoBody Body = noBody{}

type noBody struct{}

func (noBody) Read([]byte) (int, error) { return 0, io.EOF }
func (noBody) Close() error             { return nil }
func (noBody) Trailer() *Header         { return nil }
func (noBody) Bytes() ([]byte, bool)    { return nil, true }
func (noBody) Prefetch(max int) error   { return nil }

// BytesBody is a body made of bytes in memory: answers, direct responses.
func BytesBody(content []byte) Body { return &bytesBody{rest: content} }

type bytesBody struct{ rest []byte }

func (b *bytesBody) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func (b *bytesBody) Close() error           { b.rest = nil; return nil }
func (b *bytesBody) Trailer() *Header       { return nil }
func (b *bytesBody) Bytes() ([]byte, bool)  { return b.rest, true }
func (b *bytesBody) Prefetch(max int) error { return nil }
