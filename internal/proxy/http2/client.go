package http2

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/account"
	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// ClientConfig is what clients share. Nothing in it but Stats changes
// afterwards.
type ClientConfig struct {
	Limits Limits // MaxHeaderCount and MaxHeaderBytes, of responses
	// MaxStreams is how many requests one connection carries at once; the
	// upstream may allow less.
	MaxStreams int
	// StreamWindow and ConnectionWindow bound what is taken of response bodies
	// before somebody has read it.
	StreamWindow, ConnectionWindow int64
	// PingInterval is how long a connection with requests under way may be
	// silent before the upstream is asked whether it lives (0: never), and
	// PingTimeout how long it may then go on being silent.
	PingInterval, PingTimeout time.Duration
	// Scheme is what :scheme says: "https" for an upstream under TLS, "http" for
	// one in the clear, whatever the client came by. "": as the client came.
	Scheme string
	// MaxAbuse is how many points a connection may collect; see abuse. 0: the
	// default.
	MaxAbuse int
	// Payer, when not nil, is who pays for what an exchange keeps in memory. It is
	// asked for messages with much content.
	Payer  func(req *stream.Request) *account.Account
	Dog    *watchdog.Dog
	Phases stream.PhaseLimits
	// Go starts a goroutine.
	Go  func(func())
	Log *slog.Logger

	Stats ClientStats

	once   sync.Once
	limits []watchdog.Limit // Phases, made once
	health []watchdog.Limit // of the pings
}

// ClientStats counts what happened on all connections of a ClientConfig.
type ClientStats struct {
	Open        atomic.Int64 // connections open now
	Streams     atomic.Int64 // exchanges begun
	Pings       atomic.Int64 // sent to see whether a silent upstream lives
	PingDead    atomic.Int64 // connections given up because no answer came
	GoAways     atomic.Int64 // received
	Resets      atomic.Int64 // streams that the upstream reset
	Unprocessed atomic.Int64 // requests that the upstream gave back: refused, or behind its GOAWAY
	Canceled    atomic.Int64 // streams that we reset
	Violations  atomic.Int64 // connections ended because the upstream broke the protocol
	Abusive     atomic.Int64 // connections ended because they cost more than they gave
	Panics      atomic.Int64
}

const (
	// defaultClientAbuse is much more than a server does that means well: a tenth
	// goes every second.
	defaultClientAbuse = 2000
	// firstStreams is how many exchanges are begun before the upstream has said
	// how many it takes (RFC 9113 section 6.5.2 recommends it to allow as many).
	firstStreams = 100
)

// prepare makes what all clients of cfg share.
func (cfg *ClientConfig) prepare() {
	cfg.once.Do(func() {
		cfg.limits = watchLimits(&cfg.Phases)
		cfg.health = []watchdog.Limit{healthQuiet: {Idle: cfg.PingInterval}, healthAsked: {Idle: cfg.PingTimeout}}
		cfg.MaxStreams = max(cfg.MaxStreams, 1)
		cfg.StreamWindow = min(max(cfg.StreamWindow, firstCover), maxWindow)
		cfg.ConnectionWindow = min(max(cfg.ConnectionWindow, firstCover), maxWindow)
		if cfg.MaxAbuse == 0 {
			cfg.MaxAbuse = defaultClientAbuse
		}
		if cfg.Log == nil {
			cfg.Log = slog.Default()
		}
	})
}

// Client carries exchanges to an upstream over one connection, up to MaxStreams
// of them at once. One goroutine reads the connection; each exchange is written
// by the goroutine that serves it.
//
// Locks: out.mu guards the streams and the windows; inbox.mu of a stream comes
// behind it. Neither is held while the watchdog is told something.
type Client struct {
	cfg   *ClientConfig
	nc    net.Conn
	ended func()

	done  chan struct{} // closed when nothing is read any more
	ready chan struct{} // closed with the first SETTINGS, or the end

	// places is how many exchanges have a place, plus retired once no others get
	// one.
	places atomic.Int64
	limit  atomic.Int64 // of places
	credit atomic.Int64 // frames that the upstream may send for nothing, in reply to ours

	out     outbox
	streams map[uint32]*clientStream // under out.mu
	next    uint32                   // id of the next stream. Under out.mu
	window  recvWindow               // under out.mu
	late    int64                    // bytes that may still come on streams that we reset. Under out.mu
	free    []*clientStream          // under out.mu
	reading *clientStream            // what the reader is at: not to be reused. Under out.mu
	fault   *stream.Fault            // why the connection ends. Under out.mu
	gone    bool                     // every stream was told. Under out.mu

	in     clientReader
	health health
	write  func() // flush, bound once
}

// retired in Client.places: no new exchanges.
const retired = int64(1) << 40

// NewClient makes a Client of a connection on which nothing was sent. ended is
// called once for each exchange whose Serve returns a response, when it is over.
func NewClient(nc net.Conn, cfg *ClientConfig, ended func()) *Client {
	cfg.prepare()
	c := &Client{
		cfg: cfg, nc: nc, ended: ended,
		done: make(chan struct{}), ready: make(chan struct{}),
		streams: make(map[uint32]*clientStream), next: 1,
	}
	c.write = c.flush
	c.limit.Store(int64(min(cfg.MaxStreams, firstStreams)))
	c.out.init(nc, stream.PhaseUpstreamSend)
	c.window.init(cfg.ConnectionWindow)
	c.in.init(c)
	c.out.guard.Passive = true // it is of many exchanges, which hold something themselves
	cfg.Dog.Watch(&c.out.guard, cfg.limits, c.expireWrite, nil)
	c.health.init(c)
	cfg.Stats.Open.Add(1)

	c.out.mu.Lock()
	c.out.begin()
	c.out.buf = append(c.out.buf, preface...)
	c.out.buf = appendSettings(c.out.buf,
		setting{settingEnablePush, 0},
		setting{settingInitialWindow, uint32(cfg.StreamWindow)},
		setting{settingMaxHeaderList, uint32(min(cfg.Limits.MaxHeaderBytes+int64(cfg.Limits.MaxHeaderCount)*entryExtra, 1<<31))})
	if more := cfg.ConnectionWindow - firstCover; more > 0 {
		c.out.buf = appendWindowUpdate(c.out.buf, 0, more)
	}
	c.out.mu.Unlock()
	cfg.Go(c.read)
	return c
}

// Ready sends the preface and waits until the upstream has told its limits, so
// that no request goes to something else than HTTP/2, and none is refused
// because it is one too many. The fault is a *stream.Fault; the connection is
// closed then.
func (c *Client) Ready(ctx context.Context, deadline time.Time) error {
	if !deadline.IsZero() {
		_ = c.nc.SetWriteDeadline(deadline)
	}
	c.flush()
	var late <-chan time.Time
	if !deadline.IsZero() {
		_ = c.nc.SetWriteDeadline(noDeadline)
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		late = timer.C
	}
	f := &stream.Fault{Kind: stream.ConnectTimeout, Retry: stream.RetryUnsent, Cause: errNoSettings}
	select {
	case <-c.ready:
		if f = c.why(); f == nil {
			return nil
		}
		f = &stream.Fault{Kind: stream.ConnectFailed, Retry: stream.RetryUnsent, Cause: f}
	case <-ctx.Done():
		f = &stream.Fault{Kind: stream.ClientGone, Retry: stream.RetryUnsent, Cause: context.Cause(ctx)}
	case <-late:
	}
	_ = c.Close()
	return f
}

// Reserve takes a place for an exchange.
func (c *Client) Reserve() bool {
	for {
		n := c.places.Load()
		if n >= c.limit.Load() { // as retired is
			return false
		}
		if c.places.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// leave gives a place back.
func (c *Client) leave() {
	if c.places.Add(-1) == retired {
		c.bye()
	}
}

// Retire lets no further exchange begin; the connection closes behind the last.
func (c *Client) Retire() {
	for {
		n := c.places.Load()
		if n >= retired {
			return
		}
		if c.places.CompareAndSwap(n, n+retired) {
			if n == 0 {
				c.bye()
			}
			return
		}
	}
}

// bye ends a connection that has nothing to do any more.
func (c *Client) bye() {
	c.leaveWith(&stream.Fault{Kind: stream.UpstreamClosed, Retry: stream.RetryUnsent, Cause: errRetired})
}

// leaveWith tells the upstream that we go, and goes, for the reason f.
func (c *Client) leaveWith(f *stream.Fault) {
	c.out.mu.Lock()
	if c.out.over == nil && !c.gone {
		c.out.begin()
		c.out.buf = appendGoAway(c.out.buf, 0, codeNo, "")
	}
	c.out.mu.Unlock()
	c.cfg.Go(func() {
		_ = c.nc.SetWriteDeadline(time.Now().Add(lastWriteTime))
		c.out.settle() // somebody else may be writing it
		c.end(f)
	})
}

// Close ends the connection and what is under way on it.
func (c *Client) Close() error {
	select {
	case <-c.done:
	default:
		c.leaveWith(&stream.Fault{Kind: stream.UpstreamClosed, Retry: stream.RetryIdempotent, Cause: errClosed})
	}
	return nil
}

// Done is closed when the connection is over.
func (c *Client) Done() <-chan struct{} { return c.done }

// end ends the connection for the reason f: the goroutine that reads does it,
// when it notices. It does not block.
func (c *Client) end(f *stream.Fault) {
	c.out.mu.Lock()
	if c.fault == nil {
		c.fault = f
	}
	c.out.mu.Unlock()
	_ = c.nc.SetDeadline(longAgo)
}

// why is the reason of the end, or nil.
func (c *Client) why() *stream.Fault {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.fault
}

// expireWrite runs on the dog's goroutine: the upstream does not read.
func (c *Client) expireWrite(uint8, watchdog.Verdict) {
	c.end(&stream.Fault{Kind: stream.UpstreamTooSlow, Retry: stream.RetryIdempotent, Cause: errNotRead})
}

// flush writes what was appended. When the connection cannot be written to, it
// ends.
func (c *Client) flush() {
	c.out.flush()
	c.out.mu.Lock()
	over := c.out.over
	c.out.mu.Unlock()
	if over != nil {
		c.end(connectionFault(over))
	}
}
