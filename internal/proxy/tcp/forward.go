package tcp

import (
	"context"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/stream"
)

// ForwardConfig is what a Forward needs. Nothing in it changes afterwards.
type ForwardConfig struct {
	// Dial opens a connection to a host (a name or an address, without
	// brackets) until deadline (the zero time: none) or the end of ctx. It
	// refuses addresses that clients must not reach. Its error is a
	// *stream.Fault.
	Dial func(ctx context.Context, host string, port uint16, deadline time.Time) (net.Conn, error)
	// Ports are those that clients may ask for.
	Ports []int
	// Timeout is the longest time until the connection is there; 0: as Dial has
	// it.
	Timeout time.Duration
}

// Forward answers CONNECT with a connection to the host and port that the
// client asked for.
type Forward struct {
	Stats ForwardStats

	cfg ForwardConfig
}

// ForwardStats counts what happened; the engine reads it on scrape.
type ForwardStats struct {
	Open    atomic.Int64 // tunnels open now
	Opened  atomic.Int64 // tunnels ever
	Failed  atomic.Int64 // targets that could not be reached or must not be
	Refused atomic.Int64 // by port
}

var _ stream.Service = (*Forward)(nil)

// NewForward makes a Forward.
func NewForward(cfg ForwardConfig) *Forward { return &Forward{cfg: cfg} }

// Serve opens the connection; see stream.Service.
func (s *Forward) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	defer req.Body.Close()
	port, f := s.port(req)
	if f != nil {
		return nil, f
	}
	ex := &req.Exchange
	now := time.Now()
	ex.Endpoint, ex.Attempts, ex.UpstreamStart = req.Target.Authority(), 1, now
	var deadline time.Time
	if s.cfg.Timeout > 0 {
		deadline = now.Add(s.cfg.Timeout)
	}
	host := strings.TrimSuffix(strings.TrimPrefix(req.Target.Host, "["), "]")
	nc, err := s.cfg.Dial(ctx, host, port, deadline)
	if err != nil {
		s.Stats.Failed.Add(1)
		return nil, stream.AsFault(err)
	}
	s.Stats.Open.Add(1)
	s.Stats.Opened.Add(1)
	ex.UpstreamHead, ex.UpstreamStatus = time.Now(), 200
	return open(ctx, nc, func() {
		ex.UpstreamEnd = time.Now()
		s.Stats.Open.Add(-1)
	}), nil
}

// port is the port that the client asked for, if it may.
func (s *Forward) port(req *stream.Request) (uint16, *stream.Fault) {
	if req.Method != "CONNECT" || req.Upgrade != "" || req.Target.Host == "" {
		return 0, stream.Faultf(stream.MethodUnsupported, stream.RetryNever,
			"method %q on a route whose target is what CONNECT asks for", req.Method)
	}
	port, err := strconv.ParseUint(req.Target.Port, 10, 16)
	if err != nil || port == 0 || !slices.Contains(s.cfg.Ports, int(port)) {
		s.Stats.Refused.Add(1)
		f := stream.Faultf(stream.Forbidden, stream.RetryNever,
			"CONNECT to port %q, which is not among connect.ports of the route", req.Target.Port)
		f.Limit = "connect.ports"
		return 0, f
	}
	return uint16(port), nil
}
