package http1

import (
	"io"
	"time"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// reply is one response and its body. It is made anew for each exchange, so
// that whoever closes a body twice does not close the next one on the same
// connection.
type reply struct {
	stream.Response
	c *Client // nil once closed
}

var (
	_ stream.Whole   = (*reply)(nil)
	_ stream.Awaiter = (*reply)(nil)
)

// Read reads content; see stream.Body.
func (r *reply) Read(p []byte) (int, error) {
	c := r.c
	if c == nil {
		return 0, &stream.Fault{Kind: stream.Internal, Cause: errReplyClosed}
	}
	if c.fault != nil {
		return 0, c.fault
	}
	n, err := c.content.read(p)
	if err != nil && err != io.EOF {
		c.fault = c.bodyFault(err)
		return n, c.fault
	}
	return n, err
}

// Close gives the connection back; see stream.Body.
func (r *reply) Close() error {
	c := r.c
	if c == nil {
		return nil
	}
	r.c = nil
	if _, ok := c.content.whole(); ok && !c.content.done && c.fault == nil {
		c.content.takeWhole()
	}
	c.header = r.Header
	c.header.Reset()
	r.Header = stream.Header{}
	c.end(c.content.done && c.fault == nil && !c.last)
	return nil
}

// Trailer is the trailer section; see stream.Body.
func (r *reply) Trailer() *stream.Header {
	if r.c == nil || !r.c.content.hasTrailer {
		return nil
	}
	return &r.c.content.trailer
}

// Bytes is the rest of the body if it is in memory; see stream.Whole.
func (r *reply) Bytes() ([]byte, bool) {
	if r.c == nil || r.c.fault != nil {
		return nil, false
	}
	return r.c.content.whole()
}

// Await waits, without a page, until a read gives something or fails; see
// stream.Awaiter.
func (r *reply) Await() error {
	c := r.c
	if c == nil || c.fault != nil || c.content.done || c.src.buffered() > 0 {
		return nil // Read says what
	}
	if err := c.fill(); err != nil {
		if err == io.EOF && c.content.kind == contentToClose {
			return nil // and so does the read that follows
		}
		c.fault = c.bodyFault(err)
	}
	return nil
}

func (r *reply) hasBuffered() bool { return r.c != nil && r.c.content.hasBuffered() }

// Announced is the Trailer field; see stream.Announcer.
func (r *reply) Announced() string {
	if r.c == nil || r.c.content.kind != chunkedContent {
		return ""
	}
	return announceable(r.c.reader.fr.trailer)
}

// announceable is a Trailer value, if it names only fields that we let through.
func announceable(list string) string {
	for rest, more := list, list != ""; more; {
		var f stream.Field
		f.Name, rest, more = nextElement(rest)
		if keep, _ := trailerAllowed(&f); !keep || !validToken(f.Name) {
			return ""
		}
	}
	return list
}

// fill is filler.fill.
func (c *Client) fill() error {
	had := c.src.buffered()
	start := c.startWait()
	err := c.src.fill()
	return c.endWait(start, c.src.buffered()-had, err)
}

// readInto is filler.readInto.
func (c *Client) readInto(p []byte) (int, error) {
	start := c.startWait()
	n, err := c.nc.Read(p)
	return n, c.endWait(start, n, err)
}

func (c *Client) startWait() time.Time {
	c.guard.EnterUntil(uint8(stream.PhaseUpstreamBody), c.ctx, noDeadline)
	return time.Now()
}

// endWait judges a wait that has ended with err. After an error the guard
// stays in its phase, so that bodyFault can ask it for the verdict.
func (c *Client) endWait(start time.Time, n int, err error) error {
	if err != nil {
		return err
	}
	v := c.pace.wait(time.Since(start), n)
	if f := paceFault(v, stream.UpstreamTooSlow, stream.UpstreamTooSlow); f != nil {
		return f
	}
	_, v = c.guard.Fired()
	if !c.guard.Rest() {
		if v == watchdog.Canceled {
			return &stream.Fault{Kind: stream.ClientGone}
		}
		return &stream.Fault{Kind: stream.UpstreamTooSlow}
	}
	return nil
}
