package compress

import (
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/weirproxy/weir/stream"
)

// decoded is the body of a request, decoded while it is read.
type decoded struct {
	unpacker *unpacker
	coding   coding
	source   source
	decoder  decoder // nil before the first Read: a gzip decoder begins with reading
	bytes    int64   // decoded
	err      error   // what ended it, and what every later Read returns
	turn     turn
}

var (
	_ stream.Announcer = (*decoded)(nil)
	_ stream.Awaiter   = (*decoded)(nil)
)

// unjudged is how much content may be there before its ratio counts: a page of
// zeros is no attack.
const unjudged = 64 << 10

func (b *decoded) Read(p []byte) (int, error) {
	if !b.turn.enter() {
		return 0, stream.Faultf(stream.ClientGone, stream.RetryNever, "compress: the request body is closed")
	}
	n := 0
	if b.err == nil && len(p) > 0 {
		n, b.err = b.read(p)
	}
	err := b.err
	if n > 0 {
		err = nil // with the next Read
	}
	if b.turn.leave() {
		b.release()
	}
	return n, err
}

func (b *decoded) read(p []byte) (int, error) {
	if b.decoder == nil {
		if err := b.begin(); err != nil {
			return 0, b.fault(err)
		}
	}
	limits := b.unpacker
	if room := limits.maxBytes + 1 - b.bytes; int64(len(p)) > room {
		p = p[:room]
	}
	n, err := b.decoder.Read(p)
	b.bytes += int64(n)
	switch {
	case b.bytes > limits.maxBytes:
		return 0, &stream.Fault{Kind: stream.BodyTooLarge, Limit: "compress.requests.max_bytes"}
	case b.bytes > unjudged && b.bytes/limits.maxRatio > b.source.bytes:
		return 0, &stream.Fault{Kind: stream.BodyTooLarge, Limit: "compress.requests.max_ratio"}
	case err == nil:
		return n, nil
	case err == io.EOF: //nolint:errorlint // a decoder's end is io.EOF itself
		return n, b.end()
	}
	return n, b.fault(err)
}

// begin binds a decoder to the source.
func (b *decoded) begin() error {
	b.decoder = b.unpacker.take(b.coding)
	var in io.Reader = &b.source
	if b.coding == brCoding {
		in = &windowed{source: &b.source, max: b.unpacker.maxWindow}
	}
	return b.decoder.Reset(in)
}

// windowed ends a Brotli stream that declares too large a window before the
// decoder sees it.
type windowed struct {
	source *source
	max    int64
}

func (w *windowed) Read(p []byte) (int, error) {
	n, err := w.source.Read(p)
	if n > 0 && brotliWindow(w.source.first) > w.max {
		return 0, errWindow
	}
	return n, err
}

// end: the coding says that the content is complete. What follows it in the
// body would reach nobody, so it must not be there; the trailer is read on the way.
func (b *decoded) end() error {
	var rest [64]byte
	for b.source.err == nil {
		if n, _ := b.source.Read(rest[:]); n > 0 {
			return stream.Faultf(stream.ContentUnsupported, stream.RetryNever, "compress: bytes follow the end of the %s content", b.coding)
		}
	}
	if b.source.bytes == 0 && b.source.err == io.EOF { //nolint:errorlint // the contract of stream.Body
		return b.fault(io.ErrUnexpectedEOF) // zstd alone takes nothing for content
	}
	return b.source.err
}

// fault of an error that a decoder returned.
func (b *decoded) fault(err error) error {
	if cause := b.source.err; cause != nil && cause != io.EOF { //nolint:errorlint // the contract of stream.Body
		return cause // the content broke off below the coding
	}
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, errWindow) {
		return &stream.Fault{Kind: stream.BodyTooLarge, Limit: "compress.requests.max_window", Cause: err}
	}
	if err == io.EOF { //nolint:errorlint // a decoder's end is io.EOF itself
		err = io.ErrUnexpectedEOF // of an empty gzip body
	}
	return stream.Faultf(stream.ContentUnsupported, stream.RetryNever, "compress: decoding %s after %d bytes: %w", b.coding, b.source.bytes, err)
}

func (b *decoded) Close() error {
	err := b.source.body.Close()
	if b.turn.close() {
		b.release()
	}
	return err
}

// release gives the decoder back; after errors it is left to the collector.
func (b *decoded) release() {
	if b.decoder != nil && (b.err == nil || b.err == io.EOF) { //nolint:errorlint // set in this file
		b.unpacker.give(b.coding, b.decoder)
	}
	b.decoder = nil
}

// Trailer is that of the source.
func (b *decoded) Trailer() *stream.Header { return b.source.body.Trailer() }

// Announced is what the source announces.
func (b *decoded) Announced() string {
	if a, ok := b.source.body.(stream.Announcer); ok {
		return a.Announced()
	}
	return ""
}

// Await waits for the beginning; later on the decoder may hold content already.
func (b *decoded) Await() error {
	if a, ok := b.source.body.(stream.Awaiter); ok && b.source.bytes == 0 && b.source.err == nil {
		return a.Await()
	}
	return nil
}
