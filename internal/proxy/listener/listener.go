package listener

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"

	"github.com/weirproxy/weir/stream"
)

// Config says what to open.
type Config struct {
	Name    string
	Network string // "tcp" or "unix"
	Address string // host:port, :port (both families), [ipv6]:port; or the path of the socket
	// MaxConnections and MaxPerClient bound the open connections of all and of
	// one client address (IPv6: of one /64); 0: no limit.
	MaxConnections, MaxPerClient int
	// Refuse, when not nil, refuses connections while it is true.
	Refuse func() bool
	// IDs numbers connections. Listeners that share it give no number twice; nil: an own one.
	IDs *atomic.Uint64
	// Places finds where clients are; may be nil.
	Places stream.Locator
	Log    *slog.Logger // nil: slog.Default()
}

// Handler carries one connection to its end. The listener closes nc after it
// has returned, or panicked. facts is the handler's to fill until the
// handshake is over, and read-only from then on.
type Handler func(nc net.Conn, facts *stream.Conn)

// Stats are the counters of a Listener.
type Stats struct {
	Accepted      atomic.Int64 // handed to the handler
	Open          atomic.Int64 // under way now
	RefusedFull   atomic.Int64 // closed at once: MaxConnections
	RefusedClient atomic.Int64 // closed at once: MaxPerClient
	RefusedBusy   atomic.Int64 // closed at once: Refuse
	AcceptErrors  atomic.Int64 // failed accept calls (no descriptors, ...)
	Panics        atomic.Int64 // handlers that panicked; their connection was closed
}

// Listener is an open address.
type Listener struct {
	Stats Stats

	name    string
	ln      net.Listener
	log     *slog.Logger
	ids     *atomic.Uint64
	places  stream.Locator
	handler atomic.Pointer[Handler]
	max     atomic.Int64
	clients clients
	refuse  func() bool // may be nil

	// live counts what Wait waits for: the connections, and one for the accept
	// loop, or for the loop that may still come.
	live  atomic.Int64
	ended chan struct{} // closed when live reaches 0

	state struct {
		sync.Mutex
		serving, stopped bool
	}
	stop chan struct{} // closed by Stop and HandOver; ends a back-off
	left chan struct{} // closed when the accept loop has ended
}

// Open binds the address. Connections wait in its backlog until Serve.
func Open(cfg Config) (*Listener, error) {
	ln, err := open(cfg.Network, cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("listener %s: %w", cfg.Name, err)
	}
	return newListener(cfg, ln), nil
}

func newListener(cfg Config, ln net.Listener) *Listener {
	l := &Listener{
		name: cfg.Name, ln: ln, log: cfg.Log, ids: cfg.IDs, refuse: cfg.Refuse, places: cfg.Places,
		ended: make(chan struct{}), stop: make(chan struct{}), left: make(chan struct{}),
	}
	if l.log == nil {
		l.log = slog.Default()
	}
	l.log = l.log.With("listener", cfg.Name)
	if l.ids == nil {
		l.ids = new(atomic.Uint64)
	}
	l.live.Store(1)
	l.clients.init()
	l.SetLimits(cfg.MaxConnections, cfg.MaxPerClient)
	return l
}

// Addr is the bound address, with the port that the system chose for port 0.
func (l *Listener) Addr() net.Addr { return l.ln.Addr() }

// SetHandler replaces the handler for connections accepted from now on.
func (l *Listener) SetHandler(handle Handler) { l.handler.Store(&handle) }

// SetLimits replaces the limits. Open connections over a new limit stay.
func (l *Listener) SetLimits(maxConnections, maxPerClient int) {
	l.max.Store(int64(maxConnections))
	l.clients.max.Store(int64(maxPerClient))
}

// Stop closes the address; open connections go on. It may be called more than
// once.
func (l *Listener) Stop() {
	l.state.Lock()
	defer l.state.Unlock()
	if l.state.stopped {
		return
	}
	l.state.stopped = true
	close(l.stop)
	if err := l.ln.Close(); err != nil {
		l.log.Warn("the address did not close cleanly", "err", err)
	}
	if !l.state.serving {
		l.release()
	}
}

// Wait returns nil when, after Stop, all connections have ended, or the error
// of ctx.
func (l *Listener) Wait(ctx context.Context) error {
	select {
	case <-l.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// CloseAll closes every open connection; their handlers then end by
// themselves.
func (l *Listener) CloseAll() { l.clients.closeAll() }

func (l *Listener) release() {
	if l.live.Add(-1) == 0 {
		close(l.ended)
	}
}
