package compress

import (
	"io"

	"github.com/weirproxy/weir/stream"
)

// encoded is the body of a compressed response.
type encoded struct {
	packer *packer
	bench  *bench // given back by whoever turn says
	source stream.Body
	live   bool // the length is not known: each read of the source is passed on at once
	ended  bool // the source has ended, and the encoder has written all
	at     int  // bench.out[:at] has been read
	filled int  // len(bench.out)
	turn   turn
}

var (
	_ stream.Prefetcher = (*encoded)(nil)
	_ stream.Announcer  = (*encoded)(nil)
	_ stream.Awaiter    = (*encoded)(nil)
)

// whole encodes content, which is all that the source has; false when that
// does not make it smaller. The source is then as it was.
func (b *encoded) whole(content []byte) bool {
	k := b.bench
	if _, err := k.encoder.Write(content); err != nil {
		return false
	}
	if err := k.encoder.Close(); err != nil || len(k.out) >= len(content) {
		return false
	}
	for { // to its end, so that its connection can be used again
		if _, err := b.source.Read(k.in[:]); err != nil {
			break
		}
	}
	b.ended, b.filled = true, len(k.out)
	return true
}

func (b *encoded) Read(p []byte) (int, error) {
	if !b.turn.enter() {
		return 0, stream.Faultf(stream.Internal, stream.RetryNever, "compress: the response is read after its Close")
	}
	n, err := b.read(p)
	if b.turn.leave() {
		b.packer.give(b.bench)
	}
	return n, err
}

func (b *encoded) read(p []byte) (int, error) {
	k := b.bench
	for {
		if b.at < b.filled {
			n := copy(p, k.out[b.at:])
			b.at += n
			return n, nil
		}
		if b.ended {
			return 0, io.EOF
		}
		k.out, b.at, b.filled = k.out[:0], 0, 0
		if err := b.step(); err != nil {
			return 0, err
		}
		b.filled = len(k.out)
	}
}

// step moves one read of the source through the encoder.
func (b *encoded) step() error {
	k := b.bench
	n, err := b.source.Read(k.in[:])
	if err != nil && err != io.EOF { //nolint:errorlint // the contract of stream.Body
		return err
	}
	var failed error
	if n > 0 {
		_, failed = k.encoder.Write(k.in[:n])
	}
	switch {
	case failed != nil:
	case err == io.EOF: //nolint:errorlint // the contract of stream.Body
		b.ended = true
		failed = k.encoder.Close()
	case b.live && n > 0:
		failed = k.encoder.Flush()
	}
	if failed != nil {
		return stream.Faultf(stream.Internal, stream.RetryNever, "compress: %s: %w", k.coding, failed)
	}
	return nil
}

func (b *encoded) Close() error {
	err := b.source.Close()
	if b.turn.close() {
		b.packer.give(b.bench)
	}
	return err
}

// Trailer is that of the source, without hashes over content that the client
// does not get in that form.
func (b *encoded) Trailer() *stream.Header {
	t := b.source.Trailer()
	if t != nil {
		t.DelFunc(func(f *stream.Field) bool { return isDigest(f.Name) })
	}
	return t
}

// Announced is what the source announces.
func (b *encoded) Announced() string {
	if a, ok := b.source.(stream.Announcer); ok {
		return a.Announced()
	}
	return ""
}

// Await waits for the source, unless there is something to give already.
func (b *encoded) Await() error {
	if a, ok := b.source.(stream.Awaiter); ok && !b.ended && b.at >= b.filled {
		return a.Await()
	}
	return nil
}

// Bytes are ok for content that was encoded at once.
func (b *encoded) Bytes() ([]byte, bool) {
	if !b.ended || b.source.Trailer() != nil {
		return nil, false
	}
	return b.bench.out[b.at:], true
}

// Prefetch has nothing to do: content that is in memory has been encoded.
func (b *encoded) Prefetch(int) error { return nil }
