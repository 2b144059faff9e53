// Package redis is the one door to Redis and Valkey. Its client never holds its
// owner up: it is made without a connection, connects and comes back in the
// background for as long as it takes, and while the store is away every
// question is answered with ErrAway at once.
package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// Options of a client.
type Options struct {
	// Addresses are host:port or unix:PATH. Several are the seeds of a cluster,
	// unless they are those of sentinels.
	Addresses []string
	Sentinel  string      // the name of the master; "": there are no sentinels
	TLS       *tls.Config // nil: in the clear
	Username  string
	Password  string // "": none
	Database  int
	// Timeout of one question.
	Timeout time.Duration
	Log     *slog.Logger
}

// The errors of questions. Others are replies of the store.
var (
	// ErrAway: the store could not be reached last time, and nobody has waited.
	ErrAway = errors.New("redis: the store is away")
	// ErrLate: the store did not answer in time.
	ErrLate = errors.New("redis: the store did not answer in time")
)

// Client talks to one store. It is safe for concurrent use.
type Client struct {
	options Options
	up      atomic.Bool
	late    atomic.Int32  // answers that were late, in a row
	wake    chan struct{} // the store is away: to Keep
	keeper  chan struct{} // held by the Keep that works

	mu     sync.Mutex
	inner  rueidis.Client // nil until the first connection
	closed bool
}

// New makes a client that has no connection yet: Keep makes it.
func New(o Options) *Client {
	return &Client{options: o, wake: make(chan struct{}, 1), keeper: make(chan struct{}, 1)}
}

// Up tells whether questions reach the store, as far as the last ones show.
func (c *Client) Up() bool { return c.up.Load() }

// Close gives up all connections.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.up.Store(false)
	if c.closed = true; c.inner != nil {
		c.inner.Close()
	}
	return nil
}

func (c *Client) client() rueidis.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inner
}

// Script runs in the store, in one round trip.
type Script struct{ lua *rueidis.Lua }

// NewScript makes a script of Lua text.
func NewScript(text string) *Script { return &Script{rueidis.NewLuaScript(text)} }

// Run runs a script that returns a list of whole numbers.
func (c *Client) Run(ctx context.Context, s *Script, key string, args []string) ([]int64, error) {
	if !c.up.Load() {
		return nil, ErrAway
	}
	inner := c.client()
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	list, err := s.lua.Exec(ctx, inner, []string{key}, args).AsIntSlice()
	return list, c.judge(ctx, err)
}

// tooLate is how many answers in a row may be late before the store counts as
// away: one pause of it must not look like its end.
const tooLate = 3

// judge tells a store that is away from one that says no.
func (c *Client) judge(ctx context.Context, err error) error {
	if err == nil {
		c.late.Store(0)
		return nil
	}
	if reply, ok := rueidis.IsRedisErr(err); ok && !reply.IsLoading() && !reply.IsClusterDown() {
		return err
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		if c.late.Add(1) >= tooLate {
			c.away(ErrLate)
		}
		return ErrLate
	}
	if errors.Is(err, context.Canceled) { // the exchange ended, which says nothing about the store
		return err
	}
	c.away(err)
	return err
}

// away has the store connected anew.
func (c *Client) away(err error) {
	if c.up.Swap(false) {
		c.options.Log.Warn("the store cannot be reached; it is tried again in the background", "store", c.options.Addresses, "err", err)
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
