// Package endpoint is the contract about one address of a cluster while it
// runs: who it is, how much it has to do and whether it is fit. Discovery makes
// endpoints, health checks and the cluster stage judge them, balancers pick
// among them, and the admin page shows them. There is one health state per
// endpoint, whichever route asks.
package endpoint

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/ewma"
	"github.com/weirproxy/weir/stream"
)

// Spec is who an endpoint is. Two specs that differ only in Weight and Place
// name the same endpoint.
type Spec struct {
	Network string // tcp or unix
	Address string // as dialled: "10.0.0.1:8080", or the path of a socket
	Host    string // as written in the document, without port: SNI, labels
	Weight  int    // share relative to the others; 0: no traffic
	Place   Place
}

// identity is what makes an endpoint the same after a change of addresses.
type identity struct{ network, address, host string }

func (s Spec) identity() identity { return identity{s.Network, s.Address, s.Host} }

// Transport makes one attempt at an endpoint.
//
// Counting: the cluster calls Began before Serve, which it does not call when that
// has a fault. When Serve returns a
// response, the transport calls Ended exactly once, when that exchange is over
// (response body closed, tunnel ended); it may do so before Serve returns when
// the body is in memory already. When Serve returns an error or panics, the
// transport does not call Ended; the cluster calls Aborted.
//
// Serve obeys req.Deadline until the head of the response is there, and
// req.Fresh; it sets req.Exchange.Reused and req.Exchange.UpstreamEnd.
type Transport interface {
	stream.Service
	// Drain closes idle connections; those in use close with their exchange.
	// Serve still works afterwards, without keeping connections.
	Drain()
	// Connections counts the open connections and those of them that are idle.
	Connections() (open, idle int)
}

// Endpoint is the running state of one address. It is safe for concurrent use.
type Endpoint struct {
	Network string
	Address string
	Host    string
	// Transport is set before the endpoint is put into a Set, and not again.
	Transport Transport

	load   *Load
	born   time.Time // state counts from here, so that a change of the wall clock moves nothing
	weight atomic.Uint32
	place  atomic.Pointer[Place]

	// state is what a pick looks at: bits that say why it is out, and the end of an
	// ejection (health.go). Written under mu.
	state atomic.Uint64
	// rise is when it came or came back last, in nanoseconds since born; 0: it was
	// there from the start.
	rise atomic.Int64

	_ [64]byte // picks read the words above while requests write those below

	inFlight    atomic.Int64
	connections atomic.Int64  // open
	pending     atomic.Int64  // attempts that wait for a connection
	nextReport  atomic.Int64  // nanoseconds since born from which on a report is read
	factor      atomic.Uint64 // bits of the float64 that Factor is; 0: 1
	latency     ewma.Peak
	requests    atomic.Int64
	failures    atomic.Int64
	tally       atomic.Pointer[Tally]
	consecutive atomic.Int64

	mu       sync.Mutex
	health   record // guarded by mu
	reported reported
}

// New makes an endpoint that is fit. load is shared by the endpoints of a
// cluster and counts what they have under way.
func New(spec Spec, load *Load, now time.Time) *Endpoint {
	e := &Endpoint{Network: spec.Network, Address: spec.Address, Host: spec.Host, load: load, born: now}
	e.health.since = now
	e.setWeight(spec.Weight)
	e.setPlace(spec.Place)
	return e
}

func (e *Endpoint) identity() identity { return identity{e.Network, e.Address, e.Host} }

func (e *Endpoint) setWeight(weight int) { e.weight.Store(uint32(min(max(weight, 0), maxWeight))) }

// Weight is the share of the endpoint in the newest Set that holds it.
func (e *Endpoint) Weight() int { return int(e.weight.Load()) }

// InFlight is the number of attempts under way.
func (e *Endpoint) InFlight() int64 { return e.inFlight.Load() }

// Began counts an attempt that begins, unless as many are under way as may be.
func (e *Endpoint) Began() *stream.Fault {
	if !take(&e.inFlight, e.load.each.requests) {
		return full(FullRequests)
	}
	e.requests.Add(1)
	return nil
}

// Checks counts an attempt of our own that begins, a health check: it is not
// refused for what is under way.
func (e *Endpoint) Checks() {
	e.inFlight.Add(1)
	e.requests.Add(1)
}

// Ended counts the end of an exchange that had a response, and gives the place
// of its request in the cluster back.
func (e *Endpoint) Ended() {
	e.inFlight.Add(-1)
	e.load.Leave()
}

// Aborted counts the end of an attempt without a response. Its request keeps
// its place in the cluster: there may be another attempt.
func (e *Endpoint) Aborted() { e.inFlight.Add(-1) }
