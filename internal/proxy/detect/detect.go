// Package detect is the step of a connection before its codec: it reads a PROXY
// protocol header where one is due, the names of a TLS hello that is passed
// on, and the first bytes of a client whose protocol nobody named.
//
//	proxy.go     who the client is: required or forbidden, never guessed
//	hello.go     what a TLS client asks for
//	protocol.go  what a client speaks
//
// Each wait has an end, runs on the goroutine of the connection and leaves no
// deadline behind. What was read is ahead of the connection that is returned.
package detect

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/prefixconn"
	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// Config is what a Stage is made of.
type Config struct {
	// ProxyFrom are the ranges of the load balancers that send a PROXY protocol
	// header; ProxyDirect serves connections from elsewhere as themselves, else
	// they are refused.
	ProxyFrom   []netip.Prefix
	ProxyDirect bool
	// Wait is how long Protocol waits for a client to begin.
	Wait time.Duration
	// Phases has the limits of stream.PhaseProxyHeader and PhaseHello.
	Phases stream.PhaseLimits
	Dog    *watchdog.Dog
}

// Stats counts outcomes; the engine reads it on scrape.
type Stats struct {
	ProxyRead    atomic.Int64 // headers with addresses
	ProxyLocal   atomic.Int64 // headers without: health checks, say
	ProxyDirect  atomic.Int64 // connections from elsewhere, served as themselves
	ProxyRefused atomic.Int64 // connections from elsewhere, closed
	ProxyBad     atomic.Int64 // no header where one is due, or a malformed one

	HelloRead atomic.Int64 // hellos with or without a name
	HelloNone atomic.Int64 // connections that are not TLS
	HelloBad  atomic.Int64 // malformed or cut off

	Detected [NumProtocols]atomic.Int64 // by what Protocol said
	Quiet    atomic.Int64               // those of Opaque that said nothing, or too little, in time

	TimedOut atomic.Int64 // headers and hellos that did not come in time
	Gone     atomic.Int64 // clients that left before they had said enough
}

// Stage is the step before the codec of one listener.
type Stage struct {
	Stats Stats

	cfg    Config
	limits []watchdog.Limit
}

// New makes a Stage.
func New(cfg Config) *Stage {
	s := &Stage{cfg: cfg, limits: make([]watchdog.Limit, stream.NumPhases)}
	for p := range stream.NumPhases {
		s.limits[p] = watchdog.Limit(cfg.Phases[p])
	}
	return s
}

var longAgo = time.Unix(1, 0) // a deadline that has passed

// bounded runs read, which reads from nc, within the limit of a phase. late
// tells that it was ended by that limit, or by ctx.
func (s *Stage) bounded(ctx context.Context, nc net.Conn, phase stream.Phase, read func() error) (late bool, err error) {
	var guard watchdog.Guard
	s.cfg.Dog.Watch(&guard, s.limits, func(uint8, watchdog.Verdict) { _ = nc.SetReadDeadline(longAgo) }, nil)
	defer guard.Release()
	guard.EnterUntil(uint8(phase), ctx, time.Time{})
	err = read()
	// After a Rest that nothing came before, no deadline was set or will be.
	return !guard.Rest(), err
}

// broken is the fault of a connection that did not come to the end of what it
// had to send.
func (s *Stage) broken(ctx context.Context, late bool, err error) *stream.Fault {
	switch {
	case ctx.Err() != nil:
		return &stream.Fault{Kind: stream.Draining}
	case late:
		s.Stats.TimedOut.Add(1)
		return &stream.Fault{Kind: stream.HeadTimeout, Limit: "hello"}
	}
	s.Stats.Gone.Add(1)
	return &stream.Fault{Kind: stream.ClientGone, Cause: err}
}

// ahead puts what was read in front of nc.
func ahead(nc net.Conn, b []byte) net.Conn {
	if p, ok := nc.(*prefixconn.Conn); ok && p.Buffered() == 0 {
		nc = p.NetConn()
	}
	return prefixconn.New(nc, b)
}

func isEnd(err error) bool { return errors.Is(err, io.EOF) }
