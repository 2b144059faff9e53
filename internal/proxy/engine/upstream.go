package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/internal/proxy/cluster"
	"github.com/weirproxy/weir/internal/proxy/health"
	"github.com/weirproxy/weir/internal/proxy/loadstream"
	"github.com/weirproxy/weir/internal/proxy/pool"
	"github.com/weirproxy/weir/internal/proxy/tlsedge"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

// upstream is a cluster that runs: its endpoints with their pools, how they are
// found, checked and spoken to.
type upstream struct {
	engine  *Engine
	spec    *snapshot.Cluster
	label   stream.Label
	load    *endpoint.Load
	group   *pool.Group
	cluster *cluster.Cluster
	tls     *tlsedge.Client // nil: in the clear
	codecs  codecs

	// ctx ends with retire: discovery and health checks hang on it.
	ctx     context.Context
	cancel  context.CancelFunc
	workers sync.WaitGroup

	discovery discovery
	checker   *health.Checker     // nil: no active checks
	loads     *loadstream.Watcher // nil: no streams of load reports
	journal   *endpoint.Journal

	balancing balancing

	mu  sync.Mutex // changes of set
	set *endpoint.Set
}

// shareUpstream is the running upstream of c when it did not change, or a new
// one. A new one takes over what is known about the health of its endpoints.
func (e *Engine) shareUpstream(c *snapshot.Cluster, running *upstream) (*upstream, error) {
	if running != nil && running.spec.Hash == c.Hash {
		return running, nil
	}
	u := &upstream{
		engine: e, spec: c, label: e.recorder.ClusterLabel(c.Spec.Name),
		load: endpoint.NewLoad(c.Spec.Limits.MaxRequests, c.Spec.Limits.MaxConnections),
	}
	u.load.LimitEndpoints(endpointLimits(&c.Spec))
	if u.journal = endpoint.NewJournal(); running != nil {
		u.journal = running.journal // of the cluster, whatever its settings
	}
	if c.Spec.TLS != nil {
		client, err := tlsedge.NewClientConfig(c.Spec.TLS, c.TLS)
		if err != nil {
			return nil, fmt.Errorf("cluster %s: %w", c.Spec.Name, err)
		}
		if !client.Verifies() {
			e.log.Warn("the certificates of a cluster are not verified: anybody on the way can read and change its traffic; remove tls.verify: off",
				"cluster", c.Spec.Name)
		}
		u.tls = client
	}
	if err := u.assemble(); err != nil {
		return nil, fmt.Errorf("cluster %s: %w", c.Spec.Name, err)
	}
	u.ctx, u.cancel = context.WithCancel(e.ctx)
	u.askLoad()
	if err := errors.Join(u.checkHealth(), u.discover(running)); err != nil {
		u.retire()
		return nil, err
	}
	u.compareEndpoints()
	u.watchLoad()
	return u, nil
}

func (u *upstream) assemble() error {
	spec := &u.spec.Spec
	u.group = pool.NewGroup(pool.Config{
		MaxIdle: spec.Pool.MaxIdle, Idle: time.Duration(spec.Pool.Idle), MaxAge: time.Duration(spec.Pool.MaxAge),
		Learn: spec.Pool.Learn, Short: u.engine.dog.Short, Log: u.engine.log,
	})
	u.assembleCodecs()
	if err := u.assembleBalancing(); err != nil {
		return err
	}
	u.cluster = cluster.New(cluster.Config{
		Label: u.label, Picker: u.balancing.picker, HashKey: u.balancing.key, Sticky: spec.Sticky, LoadReports: spec.LoadReports, Go: u.engine.spawn, Load: u.load, RetryBudget: spec.RetryBudget, MaxRetries: spec.Limits.MaxRetries, Ejection: spec.Ejection, OnHealth: u.healthEvent,
	})
	return u.cluster.Guard(cluster.Gates{
		Breaker: spec.Breaker, Admission: spec.Admission, Adaptive: spec.Adaptive, Queue: spec.Queue, Fair: spec.Fair,
	}, u.engine.log)
}

// endpointLimits bound each endpoint. A connection carries one request after the
// other, but for the protocols with streams and for what the endpoint may choose.
func endpointLimits(spec *config.Cluster) endpoint.Limits {
	own := spec.Limits.Endpoint
	if own == nil {
		return endpoint.Limits{}
	}
	l := endpoint.Limits{Requests: own.MaxRequests, Connections: own.MaxConnections, Pending: own.MaxPending, Streams: 1}
	switch spec.Protocol {
	case "h2", "h2c", "h3":
		l.Streams = spec.HTTP2.MaxStreams
	case "auto":
		if spec.TLS != nil {
			l.Streams = spec.HTTP2.MaxStreams
		}
	}
	return l
}

// upstreamPhases limits what an upstream may take; the head is limited by the
// deadline of the attempt first of all.
func upstreamPhases(spec *config.Cluster) stream.PhaseLimits {
	timeouts := config.Default[config.ListenerTimeouts]()
	l := phasesOf(&timeouts)
	l[stream.PhaseIdle].Floor, l[stream.PhaseTunnel].Floor = 0, 0 // the client's side of a tunnel decides
	idle := time.Duration(spec.BodyIdle)
	l[stream.PhaseUpstreamSend] = stream.PhaseLimit{Idle: idle}
	l[stream.PhaseUpstreamHead] = stream.PhaseLimit{Ceiling: waitCeiling}
	l[stream.PhaseUpstreamBody] = stream.PhaseLimit{Idle: idle}
	return l
}

// forRoute is the last service of a route, with those endpoints that have labels.
func (u *upstream) forRoute(r *snapshot.Route, labels map[string]string) stream.Service {
	return u.cluster.ForRoute(cluster.Policy{
		Timeout: time.Duration(r.Spec.Timeout), Retry: r.Spec.Retry, Deadline: r.Spec.Deadline, Hedge: r.Spec.Hedge,
		Labels: labels,
	})
}

// setEndpoints takes over a new list of addresses. Endpoints that stay keep
// their state and connections.
func (u *upstream) setEndpoints(specs []endpoint.Spec, before *upstream) {
	u.mu.Lock()
	defer u.mu.Unlock()
	next, gone := u.set.Update(specs, func(spec endpoint.Spec) *endpoint.Endpoint {
		ep := endpoint.New(spec, u.load, time.Now())
		ep.Transport = u.carriage(ep)
		if !before.bequeath(ep) && u.beganWithout(before) {
			ep.Begin(time.Now())
		}
		return ep
	})
	u.set = next
	u.cluster.SetEndpoints(next)
	if u.checker != nil {
		u.checker.Update(next)
	}
	if u.loads != nil {
		u.loads.Update(next)
	}
	for _, ep := range gone {
		ep.Transport.Drain()
	}
}

// beganWithout tells whether an endpoint that before does not have is new: the
// cluster had its first endpoints without it. Those of names that are resolved for
// the first time were there all along.
func (u *upstream) beganWithout(before *upstream) bool {
	select {
	case <-u.discovery.settled:
		return u.set.Len() > 0 || before != nil
	default:
		return false
	}
}

// bequeath hands what is known of the same address down to ep, if it is there. u
// may be nil.
func (u *upstream) bequeath(ep *endpoint.Endpoint) bool {
	if u == nil {
		return false
	}
	for _, old := range u.endpoints() {
		if old.Network == ep.Network && old.Address == ep.Address && old.Host == ep.Host {
			ep.Inherit(old)
			return true
		}
	}
	return false
}

func (u *upstream) endpoints() []*endpoint.Endpoint {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.set == nil {
		return nil
	}
	return u.set.All()
}

// retire ends discovery and checks. Requests that still hold the upstream go
// on; no connection is kept for later.
func (u *upstream) retire() {
	u.cancel()
	for _, ep := range u.endpoints() {
		ep.Transport.Drain()
	}
}

// close waits until discovery and checks have ended and no request is under
// way, the latter until ctx ends.
func (u *upstream) close(ctx context.Context) {
	u.workers.Wait()
	defer u.closeSocket()
	tick := time.NewTicker(drainTick)
	defer tick.Stop()
	for u.load.Requests() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// drainTick is how often a retired upstream is looked at.
const drainTick = 50 * time.Millisecond
