package pool

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/backoff"
	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

// Mux makes attempts at one endpoint over shared connections. It implements
// endpoint.Transport.
//
// A request goes to the first connection of the list that has a place, so that
// the first are full and the last, which only a peak needed, grow idle and go.
// When no place is left, one request opens another connection while the others
// wait for that or for a place that becomes free, whichever comes first.
type Mux struct {
	group    *Group
	endpoint *endpoint.Endpoint
	dial     DialShared

	conns   atomic.Pointer[[]*carrier] // replaced under mu, never written
	waiting atomic.Int64               // requests in queue or about to be

	mu      sync.Mutex
	queue   []*waiter
	dialing bool // somebody opens a connection
	drained bool
	joined  bool // the group has it among its members
}

// NewMux makes the transport of an endpoint without connections.
func NewMux(g *Group, ep *endpoint.Endpoint, dial DialShared) *Mux {
	m := &Mux{group: g, endpoint: ep, dial: dial}
	m.conns.Store(&[]*carrier{})
	return m
}

var _ endpoint.Transport = (*Mux)(nil)

// Serve makes one attempt. See endpoint.Transport.
func (m *Mux) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	c, err := m.get(ctx, req)
	if err != nil {
		_ = req.Body.Close()
		return nil, err
	}
	return m.serveOn(ctx, c, req)
}

// serveOn makes the attempt in a place of c.
func (m *Mux) serveOn(ctx context.Context, c *carrier, req *stream.Request) (*stream.Response, error) {
	reused := c.turns.Add(1) > 1
	req.Exchange.Reused = reused
	handed := false
	defer func() { // also when the connection panics
		if !handed {
			c.leave()
		}
	}()
	resp, err := c.Serve(ctx, req)
	if err == nil {
		handed = true
		return resp, nil
	}
	if f := stream.AsFault(err); f.Retry == stream.RetryUnsent && (f.Kind == stream.UpstreamClosed || f.Kind == stream.UpstreamReset) {
		c.suspect.Store(true)
		if reused {
			m.group.Stats.Stale.Add(1)
		}
	}
	return nil, err
}

// get is a connection with a place taken for req. The error is a *stream.Fault.
func (m *Mux) get(ctx context.Context, req *stream.Request) (*carrier, error) {
	if !req.Fresh {
		if c := m.take(time.Time{}); c != nil {
			return c, nil
		}
	}
	return m.await(ctx, req)
}

// take takes a place of the first connection that has one and, if after is
// set, was opened after it and has turned nobody away.
func (m *Mux) take(after time.Time) *carrier {
	for _, c := range *m.conns.Load() {
		if !after.IsZero() && (c.suspect.Load() || c.born.Before(after)) {
			continue
		}
		if c.begin() {
			return c
		}
	}
	return nil
}

var (
	errNoPlace   = errors.New("every connection to the endpoint is full and no further one was ready in time")
	errNoStreams = errors.New("the endpoint takes no request on a new connection")
	errDialPanic = errors.New("panic while opening a connection")
)

// open opens a connection within the limits of cluster and endpoint and takes a
// place of it.
func (m *Mux) open(ctx context.Context, deadline time.Time) (_ *carrier, err error) {
	g := m.group
	if f := g.open(m.endpoint, m); f != nil {
		return nil, f
	}
	c := &carrier{mux: m}
	made := false
	defer func() { // also when dial panics
		if !made {
			g.dialFailed(err)
			m.endpoint.Closed()
		}
	}()
	conn, err := m.dial(ctx, deadline, c.ended)
	if err != nil {
		return nil, err
	}
	c.Shared, c.born = conn, time.Now()
	if !c.begin() {
		_ = conn.Close()
		return nil, &stream.Fault{Kind: stream.ConnectFailed, Retry: stream.RetryUnsent, Cause: errNoStreams}
	}
	made = true
	g.Stats.Dialed.Add(1)
	if g.cfg.MaxAge > 0 {
		c.expires = c.born.Add(backoff.Around(g.cfg.MaxAge, ageJitter, rand.Uint64()))
	}
	m.add(c)
	return c, nil
}

// add makes c known.
func (m *Mux) add(c *carrier) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := *m.conns.Load()
	list := append(old[:len(old):len(old)], c)
	m.conns.Store(&list)
	if !m.joined {
		m.joined = true
		m.group.add(m)
	}
	if m.drained {
		c.retired = true
		c.Retire()
	}
	m.group.wake()
}

// Drain lets no connection live longer than what is under way on it.
func (m *Mux) Drain() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drained = true
	for _, c := range *m.conns.Load() {
		c.retired = true
		c.Retire()
	}
	m.reap()
}

// Connections counts the open connections and those that are idle.
func (m *Mux) Connections() (open, idle int) {
	for _, c := range *m.conns.Load() {
		if c.over() {
			continue
		}
		open++
		if c.active.Load() == 0 {
			idle++
		}
	}
	return open, idle
}
