package http1

import (
	"context"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/weirproxy/weir/internal/account"
	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// ClientConfig is what clients share. Nothing in it changes afterwards.
type ClientConfig struct {
	Limits Limits
	Dog    *watchdog.Dog
	// Payer, when not nil, is who pays for what an exchange keeps in memory. It is
	// asked once a body is sent that is not in memory whole.
	Payer  func(req *stream.Request) *account.Account
	Phases stream.PhaseLimits
	// Go starts a goroutine.
	Go func(func())

	once   sync.Once
	limits []watchdog.Limit // Phases, made once
}

func (cfg *ClientConfig) watchLimits() []watchdog.Limit {
	cfg.once.Do(func() { cfg.limits = watchLimits(&cfg.Phases) })
	return cfg.limits
}

// Client carries one exchange at a time over one upstream connection. Between
// exchanges it belongs to the pool, which hands it from goroutine to goroutine.
type Client struct {
	// Release is set once by the owner of the pool, before the first Serve. It
	// is called exactly once per Serve: before Serve returns a fault, or when
	// the body of the response is closed. A client that is not reusable is the
	// callee's to Close.
	Release func(c *Client, reusable bool)

	cfg       *ClientConfig
	nc        net.Conn
	guard     watchdog.Guard
	src       source
	reader    responseReader
	content   content
	header    stream.Header // memory that each response's Header takes turns with
	exchanges int

	// Of the exchange under way.
	req     *stream.Request
	ctx     context.Context
	out     request
	turn    turnaround
	up      upload
	pace    pace   // of the response body
	key     string // of a WebSocket, made here; "" otherwise
	touched bool   // the connection was used for the exchange
	precise bool   // a read deadline is set on nc
	last    bool   // the upstream ends the connection behind this response
	fault   *stream.Fault

	peeker  syscall.RawConn // under a connection that is no plain socket; may be nil
	peekFn  func(fd uintptr)
	peekErr error
}

// NewClient makes a Client of a connection that is ready for a request.
func NewClient(nc net.Conn, cfg *ClientConfig) *Client {
	c := &Client{cfg: cfg, nc: nc}
	c.src.init(nc)
	c.reader.m = meter{side: &responseSide, limits: &cfg.Limits}
	c.content = content{src: &c.src, from: c, m: &c.reader.m}
	c.turn.step = c.step
	c.up.init(c)
	if under := plain(nc); under != nc {
		c.peeker = rawConn(under)
		c.peekFn = c.peek
	}
	cfg.Dog.Watch(&c.guard, cfg.watchLimits(), c.expire, nil)
	return c
}

// Close closes the connection.
func (c *Client) Close() error {
	c.guard.Release()
	c.up.guard.Release()
	return c.nc.Close()
}

// expire runs on the dog's goroutine.
func (c *Client) expire(uint8, watchdog.Verdict) { c.nc.SetDeadline(longAgo) }

// Serve sends req and returns the head of the response; see stream.Service.
// Response and body are valid until the body is closed.
func (c *Client) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	c.exchanges++
	c.req, c.ctx, c.touched, c.fault, c.last, c.key = req, ctx, false, nil, false, ""
	resp, f := c.exchange()
	if f != nil {
		c.end(!c.touched)
		return nil, f
	}
	return resp, nil
}

func (c *Client) exchange() (*stream.Response, *stream.Fault) {
	if c.ctx.Err() != nil {
		return nil, &stream.Fault{Kind: stream.ClientGone}
	}
	c.turn.begin()
	if f := c.prepare(); f != nil {
		return nil, f
	}
	defer c.out.release()
	if f := c.send(); f != nil {
		return nil, f
	}
	return c.receive()
}

// connecting tells whether the request is a plain CONNECT.
func (c *Client) connecting() bool { return c.req.Method == "CONNECT" }

// receive reads heads until the final one.
func (c *Client) receive() (*stream.Response, *stream.Fault) {
	r := &c.reader
	r.m.reset()
	resp := &reply{c: c}
	resp.Header = c.header
	for interims := 0; ; interims++ {
		if f := c.readHead(&resp.Response); f != nil {
			c.header = resp.Header
			return nil, f
		}
		if resp.Status >= 200 || resp.Status == 101 {
			break
		}
		if f := c.passInterim(&resp.Response, interims); f != nil {
			c.header = resp.Header
			return nil, f
		}
	}
	c.header = stream.Header{}
	if f := c.headDone(); f != nil {
		return nil, f
	}
	if resp.Status == 101 || c.connecting() && resp.Status < 300 {
		return c.switchProtocols(&resp.Response)
	}
	kind, left, length := r.framing(resp.Status, c.req.Method == "HEAD")
	c.last = !r.reusable() || c.connecting() || kind == contentToClose ||
		resp.Status == 204 && (r.fr.codings > 0 || r.fr.length > 0)
	c.content.begin(kind, left)
	c.pace.begin(&c.cfg.Phases[stream.PhaseUpstreamBody])
	resp.Length, resp.Body = length, resp
	return &resp.Response, nil
}

// readHead reads one head into resp. The first bytes of the first head may be
// there already.
func (c *Client) readHead(resp *stream.Response) *stream.Fault {
	r := &c.reader
	r.scan.reset(1)
	for {
		if b := c.src.bytes(); len(b) > 0 {
			if b[0] != 'H' {
				return responseSide.bad(errNotHTTP)
			}
			done, f := r.scan.scan(b, &r.m)
			if f != nil {
				return f
			}
			if done {
				break
			}
		}
		if err := c.src.fill(); err != nil {
			return c.headFault(err)
		}
		c.guard.Moved(1)
	}
	head := string(c.src.bytes()[:r.scan.at])
	c.src.consume(r.scan.at)
	resp.Header.Reset()
	return r.parse(head, resp)
}

// passInterim passes an interim response on. 100 (Continue) answers nothing
// that we sent: the server half tells the client itself.
func (c *Client) passInterim(resp *stream.Response, before int) *stream.Fault {
	switch {
	case before >= maxInterim:
		return responseSide.bad(errInterims)
	case resp.Status == 100 || c.req.Interim == nil:
		return nil
	}
	if err := c.req.Interim(resp.Status, &resp.Header); err != nil {
		return stream.AsFault(err)
	}
	return nil
}

// headDone ends the phase of waiting for the head.
func (c *Client) headDone() *stream.Fault {
	c.up.headIsHere()
	_, v := c.guard.Fired()
	if !c.guard.Rest() {
		return c.verdictFault(v)
	}
	if c.precise {
		c.precise = false
		_ = c.nc.SetReadDeadline(noDeadline)
	}
	return nil
}

// end ends the exchange and gives the client back. Nothing of c may be used
// after it.
func (c *Client) end(reusable bool) {
	reusable = c.up.end() && reusable
	c.req.Body.Close()
	if c.precise {
		c.precise = false
		_ = c.nc.SetReadDeadline(noDeadline)
	}
	if !c.guard.Rest() || c.src.buffered() > 0 {
		reusable = false
	}
	c.src.release()
	c.req, c.ctx = nil, nil
	if c.Release != nil {
		c.Release(c, reusable)
	}
}

// deadlineNear is when the coarse watch of a deadline is not exact enough.
const deadlineNear = 2 * time.Second
