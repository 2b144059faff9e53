package http3

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/weirproxy/weir/stream"
)

var (
	errGoAway    = errors.New("the upstream said GOAWAY before it served the request")
	errNoPlace   = errors.New("no place was reserved on the connection")
	errNoConnect = errors.New("the upstream does not take extended CONNECT")
)

// Client carries exchanges over one upstream connection.
type Client struct {
	d     *Dialer
	conn  *quic.Conn
	ended func()
	posts posts
	score score
	peer  peer

	settled        chan struct{} // closed when SETTINGS have come
	connectEnabled bool          // of SETTINGS; written before settled is closed

	mu        sync.Mutex
	reserved  []*quic.Stream
	exchanges map[*exchange]struct{}
	limit     uint64 // streams from it on are not served: GOAWAY
	leaving   bool
}

// start begins what goes on beside the exchanges.
func (c *Client) start() error {
	cfg := &c.d.cfg
	c.limit = math.MaxUint64
	c.posts = posts{dog: cfg.Dog, limits: c.d.limits}
	c.score.begin(0, time.Now(), func() { c.d.Stats.Abusive.Add(1) })
	c.peer = peer{conn: c.conn, client: true, score: &c.score, settings: c.settings, goAway: c.goAway}
	if _, err := openControl(c.conn, &cfg.Limits, false); err != nil {
		return err
	}
	cfg.Go(c.acceptUni)
	return nil
}

// acceptUni takes the unidirectional streams of the upstream, of which there
// are never more than maxUniStreams.
func (c *Client) acceptUni() {
	defer c.posts.close()
	defer c.contain()
	for {
		str, err := c.conn.AcceptUniStream(c.conn.Context())
		if err != nil {
			return
		}
		c.d.cfg.Go(func() {
			defer c.contain()
			if err := c.peer.serve(str, c.claim); err != nil {
				c.end(err)
			}
		})
	}
}

func (c *Client) claim(typ uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peer.claim(typ)
}

func (c *Client) settings(connectEnabled bool) {
	c.connectEnabled = connectEnabled
	close(c.settled)
}

// goAway keeps the promise of GOAWAY: what comes from id on was not and will not
// be processed.
func (c *Client) goAway(id uint64) {
	c.d.Stats.GoAways.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limit = min(c.limit, id)
	c.leaving = true
	for x := range c.exchanges {
		if uint64(x.str.StreamID()) >= id {
			x.str.CancelRead(codeRequestCancelled) // its reader finds out why
			x.str.CancelWrite(codeRequestCancelled)
		}
	}
	c.closeIfIdle()
}

func (c *Client) refused(str *quic.Stream) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return uint64(str.StreamID()) >= c.limit
}

// end ends the connection because of err, if that is an error of the connection.
func (c *Client) end(err error) bool {
	var ce *connError
	if !errors.As(err, &ce) {
		return false
	}
	if ce.code != codeExcessiveLoad { // the score counts that
		c.d.Stats.Violations.Add(1)
	}
	c.conn.CloseWithError(ce.code, ce.reason)
	return true
}

// contain is a recover boundary: a panic ends this connection alone.
func (c *Client) contain() {
	if p := recover(); p != nil {
		c.d.Stats.Panics.Add(1)
		slog.Error("panic while reading an upstream connection; the connection ends",
			"component", "http3", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		c.conn.CloseWithError(codeInternalError, "")
	}
}

// Reserve takes the place of one exchange: a stream, which tells the upstream
// nothing until something is written.
func (c *Client) Reserve() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	limit := c.d.cfg.MaxStreams
	if c.leaving || c.conn.Context().Err() != nil || limit > 0 && len(c.exchanges)+len(c.reserved) >= limit {
		return false
	}
	str, err := c.conn.OpenStream()
	if err != nil {
		return false
	}
	c.reserved = append(c.reserved, str)
	return true
}

// begin begins the exchange x in a place that was reserved.
func (c *Client) begin(x *exchange) *stream.Fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := len(c.reserved) - 1
	if last < 0 {
		return &stream.Fault{Kind: stream.Internal, Cause: errNoPlace}
	}
	x.str, c.reserved = c.reserved[last], c.reserved[:last]
	c.exchanges[x] = struct{}{}
	c.d.Stats.Streams.Add(1)
	return nil
}

// finish frees the place of x.
func (c *Client) finish(x *exchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.exchanges, x)
	c.closeIfIdle()
}

// closeIfIdle ends a connection that is to go once nothing is under way. mu is held.
func (c *Client) closeIfIdle() {
	if c.leaving && len(c.exchanges)+len(c.reserved) == 0 {
		c.d.cfg.Go(func() { c.conn.CloseWithError(codeNoError, "") }) // it waits for the connection, whose goroutine may wait for mu
	}
}

// Serve sends req and returns the head of the response; see stream.Service.
func (c *Client) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	x := &exchange{c: c, ctx: ctx, req: req}
	if f := c.begin(x); f != nil {
		req.Body.Close()
		return nil, f
	}
	resp, f := x.serve()
	if f != nil {
		x.close(false)
		return nil, f
	}
	return resp, nil
}

// Retire ends the connection after the exchanges under way.
func (c *Client) Retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving = true
	c.closeIfIdle()
}

// Close ends the connection and what is under way on it.
func (c *Client) Close() error { return c.conn.CloseWithError(codeNoError, "") }

// Done is closed when the connection is closed, for whatever reason.
func (c *Client) Done() <-chan struct{} { return c.conn.Context().Done() }
