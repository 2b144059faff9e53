package http1

import (
	"context"
	"net"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// ServerConfig is what a Server needs. Nothing in it changes afterwards.
type ServerConfig struct {
	Limits Limits
	// Service answers the requests. It never returns an error.
	Service stream.Service
	// Refuse makes the answer to a request that could not be read; req holds
	// what was understood of it.
	Refuse func(ctx context.Context, req *stream.Request, f *stream.Fault) *stream.Response
	// Done is called once per exchange, after its last byte.
	Done func(req *stream.Request)
	// Go starts a goroutine.
	Go     func(func())
	Dog    *watchdog.Dog
	Phases stream.PhaseLimits
	// MaxRequests and MaxAge of a connection, 0 for none; MaxAge is spread by
	// ten per cent either way so that connections do not end together.
	MaxRequests int
	MaxAge      time.Duration
}

// Server serves downstream connections.
type Server struct {
	Stats Stats
	cfg   ServerConfig
}

// Stats counts what happened. The engine reads it on scrape.
type Stats struct {
	Open     atomic.Int64 // connections open now
	Requests atomic.Int64
	Panics   atomic.Int64
	Upgrades atomic.Int64
	Drained  atomic.Int64
	// Malformed counts requests that could not be read, by kind.
	Malformed [stream.NumKinds]atomic.Int64
}

// ConnState is what one connection is doing.
type ConnState struct {
	Facts    *stream.Conn
	Phase    stream.Phase
	Age      time.Duration
	Requests int64
	BytesIn  int64
	BytesOut int64
}

// NewServer makes a Server.
func NewServer(cfg ServerConfig) *Server { return &Server{cfg: cfg} }

// Serve serves nc to its end and closes it.
func (s *Server) Serve(ctx context.Context, nc net.Conn, facts *stream.Conn) { nc.Close() }

// Drain closes idle connections now; busy ones answer with Connection: close.
func (s *Server) Drain() {}

// Connections yields the state of every open connection.
func (s *Server) Connections(yield func(ConnState) bool) {}
