package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/weirproxy/weir/internal/backoff"
)

// patience is how long the background waits for a connection or an answer, which
// requests never do.
const patience = 5 * time.Second

// moment is how long a store stays at least that counts as being back.
const moment = 2 * time.Second

// pauses between two tries.
var pauses = backoff.Exponential{Base: 50 * time.Millisecond, Max: 2 * time.Second}

// Keep connects, and connects anew whenever the store was away, until ctx ends.
// Of several one works at a time: a generation hands over to the next.
func (c *Client) Keep(ctx context.Context) {
	select {
	case c.keeper <- struct{}{}:
		defer func() { <-c.keeper }()
	case <-ctx.Done():
		return
	}
	for tries := 1; ; tries++ {
		err := c.connect(ctx)
		if ctx.Err() != nil || errors.Is(err, errClosed) {
			return
		}
		if err == nil {
			c.options.Log.Info("the store is reached", "store", c.options.Addresses)
			// A part of a cluster may answer this question and not the others: then the
			// pauses grow, too.
			if c.stayed(ctx) {
				tries = 0
			}
		} else if tries == 1 {
			c.options.Log.Warn("the store cannot be reached yet; it is tried again until it is", "store", c.options.Addresses, "err", err)
		}
		select {
		case <-time.After(pauses.Full(tries, rand.Uint64())):
		case <-ctx.Done():
			return
		}
	}
}

// stayed waits until the store is away again, and tells whether it was there for
// longer than a moment.
func (c *Client) stayed(ctx context.Context) bool {
	reached := time.Now()
	select {
	case <-c.wake:
	case <-ctx.Done():
	}
	return time.Since(reached) > moment
}

var errClosed = errors.New("redis: the client is closed")

// connect makes the client if there is none, and asks the store something.
func (c *Client) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	inner := c.client()
	if inner == nil {
		made, err := rueidis.NewClient(c.settings(ctx))
		if err != nil {
			return err
		}
		if inner, err = c.adopt(made); err != nil {
			return err
		}
	}
	if err := inner.Do(ctx, inner.B().Ping().Build()).Error(); err != nil {
		return err
	}
	c.late.Store(0)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClosed
	}
	c.up.Store(true)
	return nil
}

// adopt keeps a client that was made, unless this one was closed meanwhile.
func (c *Client) adopt(made rueidis.Client) (rueidis.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		made.Close()
		return nil, errClosed
	}
	c.inner = made
	return made, nil
}

// settings of the library: one connection with little memory, no cache, and no
// second try, because a request does not wait for one.
func (c *Client) settings(first context.Context) rueidis.ClientOption {
	return rueidis.ClientOption{
		Sentinel:    rueidis.SentinelOption{MasterSet: c.options.Sentinel, TLSConfig: c.options.TLS, Dialer: net.Dialer{Timeout: patience}},
		InitAddress: c.options.Addresses, Username: c.options.Username, Password: c.options.Password, SelectDB: c.options.Database,
		ClientName: "weir", ClientSetInfo: rueidis.DisableClientSetInfo, TLSConfig: c.options.TLS,
		Dialer: net.Dialer{Timeout: patience}, ConnWriteTimeout: patience, DialCtxFn: dialer(first),
		DisableCache: true, DisableRetry: true, AlwaysPipelining: true, PipelineMultiplex: -1,
		RingScaleEachConn: 9, ReadBufferEachConn: 16 << 10, WriteBufferEachConn: 16 << 10,
	}
}

// dialer is the one place where connections to stores are made. What a client
// dials while it is made ends with first; the library has no context for that.
func dialer(first context.Context) func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error) {
	return func(ctx context.Context, address string, d *net.Dialer, config *tls.Config) (net.Conn, error) {
		if ctx == context.Background() && first.Err() == nil {
			ctx = first
		}
		return dial(ctx, address, d, config)
	}
}

func dial(ctx context.Context, address string, d *net.Dialer, config *tls.Config) (net.Conn, error) {
	network := "tcp"
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", path
	}
	if config == nil {
		return d.DialContext(ctx, network, address)
	}
	t := tls.Dialer{NetDialer: d, Config: config}
	return t.DialContext(ctx, network, address)
}
