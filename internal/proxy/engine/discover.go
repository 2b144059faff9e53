package engine

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/internal/proxy/resolve"
	"github.com/weirproxy/weir/internal/snapshot"
)

// settleTime is how long a new upstream may take to resolve its names before
// the generation goes on without them.
const settleTime = 5 * time.Second

// discovery is what an upstream knows of its addresses: those written as such,
// and the last good answer for each name.
type discovery struct {
	resolver *resolve.Resolver // nil: no names
	fixed    []endpoint.Spec
	order    []source // of the document

	mu       sync.Mutex
	answers  map[source][]endpoint.Spec
	awaiting int
	settled  chan struct{} // closed when every name has an answer
}

// source is a name that endpoints come from.
type source struct {
	name resolve.Name
	port uint16 // of an endpoint; 0 for SRV
}

// discover starts to find the endpoints of u. What before knows of the same
// names serves until they are resolved again.
func (u *upstream) discover(before *upstream) error {
	d := &u.discovery
	d.answers, d.settled = map[source][]endpoint.Spec{}, make(chan struct{})
	var names []named
	for _, w := range u.spec.Endpoints {
		n := named{weight: w.Weight, place: endpoint.Place{Priority: w.Priority, Zone: w.Zone, Labels: w.Labels}}
		if spec, ok := literal(w); ok {
			spec.Place = n.place
			d.fixed = append(d.fixed, spec)
		} else {
			n.source = source{resolve.Name{Host: w.Host, SRV: w.SRV}, w.Port}
			names = append(names, n)
		}
	}
	for _, n := range names {
		src := n.source
		d.order = append(d.order, src)
		if before != nil {
			d.answers[src] = before.discovery.answer(src)
		}
		if d.answers[src] == nil {
			d.awaiting++
		}
	}
	if d.awaiting == 0 {
		close(d.settled)
	}
	u.publish(before)
	return u.watchNames(names)
}

// named is what the document says of the endpoints behind a name.
type named struct {
	source source
	weight int
	place  endpoint.Place
}

func (u *upstream) watchNames(names []named) error {
	if len(names) == 0 {
		return nil
	}
	spec := &u.spec.Spec.Resolver
	resolver, err := resolve.New(resolve.Config{
		Servers: spec.Servers, MinTTL: time.Duration(spec.MinTTL), MaxTTL: time.Duration(spec.MaxTTL), Family: spec.Family,
		Log: u.engine.log.With("cluster", u.spec.Spec.Name),
	})
	if err != nil {
		return err
	}
	u.discovery.resolver = resolver
	for _, n := range names {
		u.background(func(ctx context.Context) {
			resolver.Watch(ctx, n.source.name, func(addrs []resolve.Addr) { u.resolved(n, addrs) })
		})
	}
	return nil
}

// resolved takes over a new answer for a name.
func (u *upstream) resolved(n named, addrs []resolve.Addr) {
	src := n.source
	specs := make([]endpoint.Spec, len(addrs))
	for i, a := range addrs {
		port := src.port
		if src.name.SRV {
			port = a.Port
		}
		place := n.place
		place.Priority += a.Priority
		specs[i] = endpoint.Spec{
			Network: "tcp", Address: net.JoinHostPort(a.IP.String(), strconv.Itoa(int(port))), Host: a.Host, Weight: n.weight * a.Weight, Place: place,
		}
	}
	d := &u.discovery
	d.mu.Lock()
	first := d.answers[src] == nil
	d.answers[src] = specs
	if first {
		if d.awaiting--; d.awaiting == 0 {
			defer close(d.settled) // after the endpoints are in place
		}
	}
	d.mu.Unlock()
	u.publish(nil)
}

// publish makes the endpoints of all sources the set of the cluster.
func (u *upstream) publish(before *upstream) {
	d := &u.discovery
	d.mu.Lock()
	defer d.mu.Unlock() // until the set is in place: a later answer must not be overtaken
	specs := append([]endpoint.Spec(nil), d.fixed...)
	for _, src := range d.order {
		specs = append(specs, d.answers[src]...)
	}
	u.setEndpoints(specs, before)
}

func (d *discovery) answer(src source) []endpoint.Spec {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.answers[src]
}

// settle waits until the names of all upstreams of g are resolved, for a
// bounded time: a change must not cost a request that a moment would save.
func (e *Engine) settle(g *generation) {
	late := time.NewTimer(settleTime)
	defer late.Stop()
	for name, u := range g.upstreams {
		select {
		case <-u.discovery.settled:
		case <-late.C:
			e.log.Warn("names are not resolved yet; requests to the cluster fail until they are", "cluster", name)
			return
		case <-e.ctx.Done():
			return
		}
	}
}

// background runs work until the upstream retires.
func (u *upstream) background(work func(ctx context.Context)) {
	u.workers.Add(1)
	u.engine.spawn(func() {
		defer u.workers.Done()
		work(u.ctx)
	})
}

// literal is an endpoint written as an address or the path of a socket.
func literal(w snapshot.Endpoint) (endpoint.Spec, bool) {
	if w.Network == "unix" {
		return endpoint.Spec{Network: "unix", Address: w.Host, Host: "localhost", Weight: w.Weight}, true
	}
	addr, err := netip.ParseAddr(w.Host)
	if err != nil || w.SRV {
		return endpoint.Spec{}, false
	}
	return endpoint.Spec{
		Network: "tcp", Address: net.JoinHostPort(addr.String(), strconv.Itoa(int(w.Port))), Host: w.Host, Weight: w.Weight,
	}, true
}
