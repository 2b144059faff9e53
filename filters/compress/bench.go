package compress

import (
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// encoder is what the libraries have in common.
type encoder interface {
	io.Writer
	Flush() error // all that was written can be decoded
	Close() error // as Flush, and the end
	Reset(io.Writer)
}

// bench is an encoder with its memory. It belongs to one body at a time.
type bench struct {
	coding  coding
	encoder encoder
	in      [inSize]byte // what is read of the source
	out     []byte       // what the encoder wrote and nobody has read yet
}

const (
	inSize = 16 << 10
	// window is how far back the encoders refer: the larger part of the memory
	// of a response that is being compressed.
	windowBits = 18
	// maxKeptOut is the largest out that goes back to the pool.
	maxKeptOut = 256 << 10
)

// Write is called by the encoder.
func (b *bench) Write(p []byte) (int, error) {
	b.out = append(b.out, p...)
	return len(p), nil
}

// take is a bench for c, or nil when as many as allowed are in use.
func (p *packer) take(c coding) *bench {
	if p.active.Add(1) > p.maxActive {
		p.active.Add(-1)
		return nil
	}
	if b, ok := p.pools[c].Get().(*bench); ok {
		b.encoder.Reset(b)
		return b
	}
	b := &bench{coding: c}
	b.encoder = newEncoder(c, &p.levels, b)
	return b
}

// give puts a bench back. It is called once per take.
func (p *packer) give(b *bench) {
	p.active.Add(-1)
	b.out = b.out[:0]
	if cap(b.out) <= maxKeptOut {
		p.pools[b.coding].Put(b)
	}
}

func newEncoder(c coding, levels *Levels, to io.Writer) encoder {
	switch c {
	case zstdCoding:
		e, err := zstd.NewWriter(to, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<windowBits),
			zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(levels.Zstd)), zstd.WithLowerEncoderMem(true))
		if err == nil {
			return e
		}
		panic("compress: zstd refuses its options: " + err.Error())
	case brCoding:
		return brotli.NewWriterOptions(to, brotli.WriterOptions{Quality: levels.Br, LGWin: windowBits})
	default:
		e, err := gzip.NewWriterLevel(to, levels.Gzip)
		if err == nil {
			return e
		}
		panic("compress: gzip refuses its level: " + err.Error())
	}
}
