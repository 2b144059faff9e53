package http1

import (
	"context"
	"net"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// ClientConfig is what clients share. Nothing in it changes afterwards.
type ClientConfig struct {
	Limits Limits
	Dog    *watchdog.Dog
	Phases stream.PhaseLimits
	Go     func(func())
}

// Client carries one exchange at a time over one upstream connection.
type Client struct {
	// Release is set once by the owner of the pool, before the first Serve. It
	// is called exactly once per Serve, when the exchange is over.
	Release func(c *Client, reusable bool)

	cfg *ClientConfig
	nc  net.Conn
}

// NewClient makes a Client of a connection that is ready for a request.
func NewClient(nc net.Conn, cfg *ClientConfig) *Client { return &Client{cfg: cfg, nc: nc} }

// Serve sends req and returns the head of the response.
func (c *Client) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	return nil, &stream.Fault{Kind: stream.Internal}
}

// Close closes the connection.
func (c *Client) Close() error { return c.nc.Close() }

// Exchanges is the number of exchanges served so far.
func (c *Client) Exchanges() int { return 0 }
