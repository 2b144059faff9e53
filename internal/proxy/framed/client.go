package framed

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// ClientConfig is what clients share. Nothing in it changes afterwards.
type ClientConfig struct {
	Framing config.Framing
	Dog     *watchdog.Dog
	Phases  stream.PhaseLimits

	once    sync.Once
	framing framing
	err     error            // of Framing
	limits  []watchdog.Limit // Phases, made once
}

func (cfg *ClientConfig) prepare() {
	cfg.once.Do(func() {
		cfg.framing, cfg.err = newFraming(&cfg.Framing)
		cfg.limits = watchLimits(&cfg.Phases)
	})
}

// watchLimits is the limits of the phases in the words of the watchdog.
func watchLimits(phases *stream.PhaseLimits) []watchdog.Limit {
	limits := make([]watchdog.Limit, len(phases))
	for i, l := range phases {
		limits[i] = watchdog.Limit(l)
	}
	return limits
}

// Client carries one exchange at a time over one upstream connection: a frame
// up, a frame down. Between exchanges it belongs to the pool.
type Client struct {
	// Release is set once by the owner of the pool, before the first Serve. It
	// is called exactly once per Serve, before Serve returns: the content of a
	// response is in memory by then. A client that is not reusable is the
	// callee's to Close.
	Release func(c *Client, reusable bool)

	cfg       *ClientConfig
	nc        net.Conn
	guard     watchdog.Guard
	in        input
	exchanges int

	// Of the exchange under way.
	req      *stream.Request
	ctx      context.Context
	deadline time.Time
	precise  bool // deadlines are set on nc
	touched  bool // the connection was used for the exchange
	sent     bool // a byte of the request has left
}

// NewClient makes a Client of a connection that is ready for a frame.
func NewClient(nc net.Conn, cfg *ClientConfig) *Client {
	cfg.prepare()
	c := &Client{cfg: cfg, nc: nc}
	c.in = input{nc: nc, framing: &cfg.framing}
	cfg.Dog.Watch(&c.guard, cfg.limits, c.expire, nil)
	return c
}

// Close closes the connection.
func (c *Client) Close() error {
	c.guard.Release()
	c.in.release()
	return c.nc.Close()
}

// expire runs on the dog's goroutine.
func (c *Client) expire(uint8, watchdog.Verdict) { _ = c.nc.SetDeadline(longAgo) }

var errConnect = errors.New("CONNECT to a service that speaks frames")

// Serve sends the body of req as a frame; the frame that comes back is the body
// of the response. See stream.Service.
func (c *Client) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	c.exchanges++
	c.req, c.ctx, c.precise, c.touched, c.sent = req, ctx, false, false, false
	content, f := c.exchange()
	req.Body.Close()
	c.end(f == nil || !c.touched)
	if f != nil {
		return nil, f
	}
	return c.response(req, content), nil
}

func (c *Client) exchange() ([]byte, *stream.Fault) {
	switch {
	case c.cfg.err != nil:
		return nil, &stream.Fault{Kind: stream.Internal, Cause: c.cfg.err}
	case c.req.Method == "CONNECT":
		return nil, &stream.Fault{Kind: stream.MethodUnsupported, Cause: errConnect}
	case c.ctx.Err() != nil:
		return nil, &stream.Fault{Kind: stream.ClientGone}
	}
	p := pages.Get().(*page)
	defer pages.Put(p)
	frame, f := c.frame(p[:0])
	if f != nil {
		return nil, f
	}
	if f := c.begin(); f != nil {
		return nil, f
	}
	if f := c.send(frame); f != nil {
		return nil, f
	}
	return c.receive()
}

// frame makes the frame of the request, in dst if it fits.
func (c *Client) frame(dst []byte) ([]byte, *stream.Fault) {
	fr := &c.cfg.framing
	started := time.Now()
	frame, err := appendBody(fr.open(dst), c.req.Body, c.req.Length, fr.max)
	if err == nil {
		frame, err = fr.seal(frame)
	}
	// A slow client does not use up the time of the upstream.
	if c.deadline = c.req.Deadline; !c.deadline.IsZero() {
		c.deadline = c.deadline.Add(time.Since(started))
	}
	switch f, _ := err.(*stream.Fault); {
	case err == nil:
		return frame, nil
	case f != nil:
		return nil, f
	case errors.Is(err, errTooLarge) || errors.Is(err, errNumber):
		return nil, &stream.Fault{Kind: stream.BodyTooLarge, Limit: "framing.max", Cause: err}
	}
	return nil, &stream.Fault{Kind: stream.RequestMalformed, Cause: err}
}

// response is what a frame says in HTTP: that it came. The type is never one
// that a client asked for, since nobody knows what the content is.
func (c *Client) response(req *stream.Request, content []byte) *stream.Response {
	resp := &stream.Response{Status: 200, Body: stream.NoBody, Length: int64(len(content))}
	if req.Method != "HEAD" && len(content) > 0 {
		resp.Body = stream.BytesBody(content)
	}
	contentType := "application/octet-stream"
	if c.cfg.framing.delimiter != nil {
		contentType = "text/plain"
	}
	resp.Header.AddID(stream.ContentType, contentType)
	return resp
}

// end gives the client back. Nothing of it but cfg may be used after it.
func (c *Client) end(reusable bool) {
	if !c.guard.Rest() || c.in.buffered() > 0 {
		reusable = false
	}
	if c.precise && reusable {
		_ = c.nc.SetDeadline(noDeadline)
	}
	c.in.release()
	c.req, c.ctx = nil, nil
	if c.Release != nil {
		c.Release(c, reusable)
	}
}

// receive reads the frame that answers.
func (c *Client) receive() ([]byte, *stream.Fault) {
	c.guard.EnterUntil(uint8(stream.PhaseUpstreamHead), c.ctx, c.deadline)
	for begun := false; ; {
		content, ok, err := c.in.next()
		switch {
		case errors.Is(err, errTooLarge):
			return nil, &stream.Fault{Kind: stream.ResponseTooLarge, Limit: "framing.max", Cause: err}
		case err != nil:
			return nil, &stream.Fault{Kind: stream.ResponseMalformed, Cause: err}
		case ok:
			return bytes.Clone(content), nil
		}
		n, err := c.in.fill()
		if err != nil {
			return nil, c.fault(err)
		}
		if !begun { // it is judged by its progress, too
			begun = true
			c.guard.EnterUntil(uint8(stream.PhaseUpstreamBody), c.ctx, c.deadline)
		}
		c.guard.Moved(n)
	}
}
