package http3

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"

	"github.com/quic-go/quic-go"
)

// A handshake costs us a goroutine and memory before the client has proved that
// it is where its packets say. So there are few of these: beyond maxUnproved in
// all, or maxUnprovedSource from one address, clients must answer a Retry first
// (RFC 9000 section 8.1.2), which costs us nothing to remember.
const (
	maxUnproved       = 64
	maxUnprovedSource = 8
)

var (
	errFull = errors.New("max_connections")
	errBusy = errors.New("overload")
)

// admission counts what comes in. quic-go calls it on one goroutine; what ends
// is counted on others.
type admission struct {
	srv *Server

	mu      sync.Mutex
	conns   int
	clients map[netip.Addr]int // connections by client that is proved
	sources map[netip.Addr]int // unproved handshakes by source
	proving int                // unproved handshakes
}

func (a *admission) init(s *Server) {
	a.srv, a.clients, a.sources = s, make(map[netip.Addr]int), make(map[netip.Addr]int)
}

// ticket is what one connection counts for. It rides in the context of the
// connection, the only thing that goes from here to the accepted connection.
type ticket struct {
	context.Context
	door     *admission
	source   netip.Addr
	unproved bool
	counted  bool // in clients
	shaking  bool
	over     bool
}

type ticketKey struct{}

func (t *ticket) Value(key any) any {
	if key == (ticketKey{}) {
		return t
	}
	return t.Context.Value(key)
}

func addrOf(a net.Addr) netip.AddrPort {
	if u, ok := a.(*net.UDPAddr); ok {
		ap := u.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

// sourceOf is what counts as one source: an address, or a network of 64 bits,
// of which one host may have all.
func sourceOf(a net.Addr) netip.Addr {
	addr := addrOf(a).Addr()
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return addr
}

// mustProve is quic.Transport.VerifySourceAddress.
func (a *admission) mustProve(from net.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.proving < maxUnproved && a.sources[sourceOf(from)] < maxUnprovedSource {
		return false
	}
	a.srv.Stats.Retries.Add(1)
	return true
}

// admit is quic.Transport.ConnContext.
func (a *admission) admit(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	cfg := a.srv.cfg.Load()
	if cfg.TurnAway != nil && cfg.TurnAway() {
		a.srv.Stats.TurnedBusy.Add(1)
		return nil, errBusy
	}
	t := &ticket{Context: ctx, door: a, source: sourceOf(info.RemoteAddr), unproved: !info.AddrVerified, shaking: true}
	a.mu.Lock()
	defer a.mu.Unlock()
	if cfg.MaxConnections > 0 && a.conns >= cfg.MaxConnections {
		a.srv.Stats.Turned.Add(1)
		return nil, errFull
	}
	if !t.unproved && !a.count(t, cfg) {
		return nil, errFull
	}
	a.conns++
	if t.unproved {
		a.proving++
		a.sources[t.source]++
	}
	a.srv.Stats.Handshaking.Add(1)
	context.AfterFunc(ctx, t.leave)
	return t, nil
}

// count counts t for its client; false when that has all it may have.
func (a *admission) count(t *ticket, cfg *ServerConfig) bool {
	if limit := cfg.MaxConnectionsPerClient; limit > 0 && a.clients[t.source] >= limit {
		a.srv.Stats.TurnedOne.Add(1)
		return false
	}
	a.clients[t.source]++
	t.counted = true
	return true
}

// proved says that the handshake is over. It reports false when the client has
// all the connections it may have.
func (t *ticket) proved(cfg *ServerConfig) bool {
	t.door.mu.Lock()
	defer t.door.mu.Unlock()
	t.settle()
	return t.over || t.counted || t.door.count(t, cfg)
}

// settle ends the handshake. door.mu is held.
func (t *ticket) settle() {
	a := t.door
	if t.shaking {
		t.shaking = false
		a.srv.Stats.Handshaking.Add(-1)
	}
	if t.unproved {
		t.unproved = false
		a.proving--
		less(a.sources, t.source)
	}
}

// leave gives everything back.
func (t *ticket) leave() {
	a := t.door
	a.mu.Lock()
	defer a.mu.Unlock()
	t.settle()
	if t.over = true; t.counted {
		less(a.clients, t.source)
	}
	a.conns--
}

func less(counts map[netip.Addr]int, key netip.Addr) {
	if counts[key]--; counts[key] <= 0 {
		delete(counts, key)
	}
}
