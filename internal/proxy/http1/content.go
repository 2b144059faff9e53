package http1

import (
	"io"

	"github.com/weirproxy/weir/stream"
)

// bodyKind is how the content of a message is delimited.
type bodyKind uint8

const (
	noContent bodyKind = iota
	knownContent
	chunkedContent
	contentToClose // RFC 9112 section 6.3, rule 8: responses only
	tunnelContent  // no content: the connection becomes a tunnel
)

// chunkState is what comes next in a chunked body.
type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkData
	chunkEnd
	chunkTrailer
	chunkDone
)

// filler brings bytes in, in the phase of its half.
type filler interface {
	// fill reads more into the source.
	fill() error
	// readInto reads past the source, which is empty.
	readInto(p []byte) (int, error)
}

// content reads the body of one message. After Read has failed it is not used again.
type content struct {
	src  *source
	from filler
	m    *meter // goes on where the head stopped

	kind  bodyKind
	state chunkState
	left  int64 // bytes of the body, or of the present chunk, not yet read
	total int64 // bytes read
	done  bool  // the body is complete

	extensions int
	scan       scanner
	trailer    stream.Header
	hasTrailer bool
}

// begin starts a body.
func (c *content) begin(kind bodyKind, left int64) {
	c.kind, c.left, c.state, c.total, c.extensions = kind, left, chunkSize, 0, 0
	c.done = kind == noContent || kind == knownContent && left == 0
	if c.hasTrailer {
		c.trailer.Reset()
		c.hasTrailer = false
	}
}

// buffered bounds from below what a read gives without blocking.
func (c *content) hasBuffered() bool { return !c.done && c.src.buffered() > 0 }

// whole is the rest of the body, if all of it is buffered.
func (c *content) whole() ([]byte, bool) {
	switch {
	case c.done:
		return nil, !c.hasTrailer
	case c.kind == knownContent && c.left <= int64(c.src.buffered()):
		return c.src.bytes()[:c.left], true
	}
	return nil, false
}

// takeWhole consumes what whole has returned.
func (c *content) takeWhole() {
	c.total += c.left
	c.src.consume(int(c.left))
	c.left, c.done = 0, true
}

// read is Read: io.EOF when the body is complete, together with its last bytes
// when that is known; a *stream.Fault when the body breaks a rule; any other
// error is of the connection, io.ErrUnexpectedEOF its early end.
func (c *content) read(p []byte) (int, error) {
	if c.done {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	var n int
	var err error
	if c.kind == chunkedContent {
		n, err = c.readChunked(p)
	} else {
		n, err = c.readPlain(p)
	}
	c.total += int64(n)
	if limit := c.m.limits.MaxBodyBytes; limit > 0 && c.total > limit {
		return 0, &stream.Fault{Kind: c.m.side.bodyTooLarge, Limit: "max_body_bytes"}
	}
	if err == io.EOF && !c.done {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// readPlain reads a body that is the bytes as they come.
func (c *content) readPlain(p []byte) (int, error) {
	if c.kind == knownContent && int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.data(p)
	if c.kind == contentToClose {
		c.done = err == io.EOF
		return n, err
	}
	c.left -= int64(n)
	if c.left == 0 {
		c.done = true
		return n, io.EOF
	}
	return n, err
}

// data reads bytes of content: from the buffer, or straight into p.
func (c *content) data(p []byte) (int, error) {
	if c.src.buffered() == 0 {
		return c.from.readInto(p)
	}
	n := copy(p, c.src.bytes())
	c.src.consume(n)
	return n, nil
}

// readChunked decodes as much as is there, and blocks only for the first byte.
func (c *content) readChunked(p []byte) (n int, err error) {
	for {
		switch c.state {
		case chunkData:
			if n == len(p) || n > 0 && c.src.buffered() == 0 {
				return n, nil
			}
			m, err := c.chunkBytes(p[n:])
			n += m
			if err != nil {
				return n, err
			}
			continue
		case chunkDone:
			c.done = true
			return n, io.EOF
		}
		moved, err := c.structure()
		if err != nil {
			return n, err
		}
		if moved {
			continue
		}
		if n > 0 {
			return n, nil
		}
		if err := c.from.fill(); err != nil {
			return 0, err
		}
	}
}

// chunkBytes reads data of the present chunk.
func (c *content) chunkBytes(p []byte) (int, error) {
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	// Straight into p only where no structure comes with it: else the bytes
	// behind the chunk would need a read of their own.
	if c.src.buffered() == 0 && int64(len(p)) == c.left {
		if err := c.from.fill(); err != nil {
			return 0, err
		}
	}
	n, err := c.data(p)
	c.left -= int64(n)
	if c.left == 0 {
		c.state = chunkEnd
	}
	return n, err
}

// structure reads what stands around the data from the buffer. It reports
// false when not all of it is there.
func (c *content) structure() (moved bool, err error) {
	b := c.src.bytes()
	switch c.state {
	case chunkSize:
		size, line, extension, err := chunkLine(b)
		if err != nil {
			return false, c.m.side.bad(err)
		}
		if line == 0 {
			return false, nil
		}
		if c.extensions += extension; c.extensions > maxExtensions {
			return false, c.m.side.bad(errChunkExtensions)
		}
		c.src.consume(line)
		c.left, c.state = size, chunkData
		if size == 0 {
			c.state = chunkTrailer
			c.scan.reset(0)
		}
		return true, nil
	case chunkEnd:
		if len(b) > 0 && b[0] != '\r' || len(b) > 1 && b[1] != '\n' {
			return false, c.m.side.bad(errChunkEnd)
		}
		if len(b) < 2 {
			return false, nil
		}
		c.src.consume(2)
		c.state = chunkSize
		return true, nil
	default:
		return c.trailers(b)
	}
}

// trailers reads the trailer section (RFC 9112 section 7.1.2).
func (c *content) trailers(b []byte) (moved bool, err error) {
	done, f := c.scan.scan(b, c.m)
	if f != nil {
		return false, f
	}
	if !done {
		return false, nil
	}
	if len(c.scan.ends) > 0 {
		section := string(b[:c.scan.at])
		for i := range c.scan.ends {
			field, err := cutField(c.scan.line(section, i))
			keep := false
			if err == nil {
				keep, err = trailerAllowed(&field)
			}
			if err != nil {
				return false, c.m.side.bad(atField(i+1, err))
			}
			if keep {
				c.trailer.Append(field)
				c.hasTrailer = true
			}
		}
	}
	c.src.consume(c.scan.at)
	c.state = chunkDone
	return true, nil
}
