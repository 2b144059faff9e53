package pool

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

// AutoDial is how Auto connects.
type AutoDial[C Client] struct {
	// Connect opens a connection until deadline (the zero time: none) or the end
	// of ctx. shared tells whether the endpoint chose the protocol that is
	// shared. Its error is a *stream.Fault.
	Connect func(ctx context.Context, deadline time.Time) (nc net.Conn, shared bool, err error)
	// Single makes the client half of the other protocol. See Dial.
	Single func(nc net.Conn, release func(reusable bool)) C
	// Shared makes the client half of the shared protocol; it owns nc, also when
	// it fails. See DialShared.
	Shared func(ctx context.Context, deadline time.Time, nc net.Conn, ended func()) (Shared, error)
}

// Auto makes attempts at one endpoint that chooses the protocol of each
// connection while it is opened (ALPN): with streams, as Mux, or without, as
// Transport. What it chose last is expected the next time; another choice costs
// nothing, since its connection is used all the same. It implements
// endpoint.Transport.
type Auto[C Client] struct {
	single *Transport[C]
	mux    *Mux
	dial   AutoDial[C]
	group  *Group

	// spoken is what the endpoint chose last. Streams are expected at first: of
	// the requests that come before anything is known, one opens a connection.
	spoken atomic.Uint32

	mu    sync.Mutex
	spare [2]net.Conn // opened for one protocol, speaks the other: by what it speaks
}

// The protocols, and that none is known.
const (
	speaksShared uint32 = iota
	speaksSingle
	speaksUnknown
)

// NewAuto makes the transport of an endpoint without connections.
func NewAuto[C Client](g *Group, ep *endpoint.Endpoint, dial AutoDial[C]) *Auto[C] {
	a := &Auto[C]{dial: dial, group: g}
	a.spoken.Store(speaksUnknown)
	a.single = NewTransport(g, ep, a.dialSingle)
	a.mux = NewMux(g, ep, a.dialShared)
	return a
}

// errOther says that the endpoint chose the other protocol, and the connection
// is among the spare ones.
var errOther = errors.New("the endpoint changes the protocol from one connection to the next")

// otherFault is for all exchanges: nobody writes to it.
var otherFault = &stream.Fault{Kind: stream.ConnectFailed, Retry: stream.RetryUnsent, Cause: errOther}

// dialFailed counts a failure to connect. A connection of the other protocol is
// none.
func (g *Group) dialFailed(err error) {
	if !errors.Is(err, otherFault) {
		g.Stats.DialFailed.Add(1)
	}
}

// maxChoices bounds how often one attempt follows the endpoint from protocol to
// protocol.
const maxChoices = 4

// Serve makes one attempt. See endpoint.Transport.
func (a *Auto[C]) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	var err error
	for choice := range maxChoices {
		var l *Lease[C]
		var c *carrier
		if a.spoken.Load() == speaksSingle {
			l, err = a.single.Get(ctx, req.Conn.ID, req.Fresh, time.Now(), req.Deadline)
		} else {
			c, err = a.mux.get(ctx, req)
		}
		if errors.Is(err, otherFault) {
			continue
		}
		if choice > 0 {
			a.dropSpare() // it was for us, if for anybody
		}
		switch {
		case err != nil:
		case l != nil:
			return a.single.serveOn(ctx, l, req)
		default:
			return a.mux.serveOn(ctx, c, req)
		}
		_ = req.Body.Close()
		return nil, err
	}
	a.dropSpare()
	_ = req.Body.Close()
	return nil, err
}

// dialSingle is the Dial of the pool.
func (a *Auto[C]) dialSingle(ctx context.Context, deadline time.Time, release func(bool)) (conn C, nc net.Conn, err error) {
	if nc, err = a.connect(ctx, deadline, speaksSingle); err != nil {
		return conn, nil, err
	}
	return a.dial.Single(nc, release), nc, nil
}

// dialShared is the DialShared of the mux.
func (a *Auto[C]) dialShared(ctx context.Context, deadline time.Time, ended func()) (Shared, error) {
	nc, err := a.connect(ctx, deadline, speaksShared)
	if err != nil {
		return nil, err
	}
	return a.dial.Shared(ctx, deadline, nc, ended)
}

// connect is a connection that speaks wanted: a spare one or a new one. One
// that turns out to speak the other becomes a spare one.
func (a *Auto[C]) connect(ctx context.Context, deadline time.Time, wanted uint32) (net.Conn, error) {
	if nc := a.swapSpare(wanted, nil); nc != nil {
		return nc, nil
	}
	nc, shared, err := a.dial.Connect(ctx, deadline)
	if err != nil {
		return nil, err
	}
	speaks := speaksSingle
	if shared {
		speaks = speaksShared
	}
	if before := a.spoken.Swap(speaks); before != speaks && before != speaksUnknown {
		a.group.Stats.Switched.Add(1)
	}
	if speaks == wanted {
		return nc, nil
	}
	if old := a.swapSpare(speaks, nc); old != nil {
		_ = old.Close()
	}
	return nil, otherFault
}

func (a *Auto[C]) swapSpare(speaks uint32, nc net.Conn) net.Conn {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.spare[speaks]
	a.spare[speaks] = nc
	return old
}

// dropSpare closes what nobody came for.
func (a *Auto[C]) dropSpare() {
	for speaks := range uint32(len(a.spare)) {
		if nc := a.swapSpare(speaks, nil); nc != nil {
			_ = nc.Close()
		}
	}
}

// Drain implements endpoint.Transport.
func (a *Auto[C]) Drain() {
	a.single.Drain()
	a.mux.Drain()
	a.dropSpare()
}

// Connections implements endpoint.Transport.
func (a *Auto[C]) Connections() (open, idle int) {
	open, idle = a.single.Connections()
	moreOpen, moreIdle := a.mux.Connections()
	return open + moreOpen, idle + moreIdle
}

// Horizon is what was learned of connections without streams.
func (a *Auto[C]) Horizon() (limit time.Duration, ok bool) { return a.single.Horizon() }
