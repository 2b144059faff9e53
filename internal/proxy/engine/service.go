package engine

import (
	"fmt"
	"slices"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/canary"
	"github.com/weirproxy/weir/internal/proxy/chain"
	"github.com/weirproxy/weir/internal/proxy/egress"
	"github.com/weirproxy/weir/internal/proxy/route"
	"github.com/weirproxy/weir/internal/proxy/tcp"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

// service is a route that runs: its filters folded around its action, and the
// upstreams that it uses.
type service struct {
	entry   route.Entry
	uses    []*upstream
	forward *forward           // nil: it does not connect to where clients say
	tenancy *tenancy           // of its filters
	canary  *canary.Controller // nil: it has none
}

// forward is the action of a route with connect.target.
type forward struct {
	dialer  *egress.Dialer
	forward *tcp.Forward
}

// shareService is the running service of r when neither it nor an upstream of
// it changed, or a new one.
func (e *Engine) shareService(r *snapshot.Route, g *generation, running *service) (*service, error) {
	uses, err := upstreamsOf(r, g)
	if err != nil {
		return nil, err
	}
	if running != nil && running.entry.Route.Hash == r.Hash && sameUpstreams(running.uses, uses) {
		return running, nil
	}
	label := e.recorder.RouteLabel(r.Spec.Name)
	clusters := make([]stream.Service, len(r.Spec.To))
	for i := range clusters {
		clusters[i] = uses[i].forRoute(r, r.Spec.To[i].Labels)
	}
	svc := &service{uses: uses, tenancy: e.newTenancy(label, g)}
	var target stream.Service
	if c := r.Spec.Connect; c != nil && c.Target {
		svc.forward = newForward(&r.Spec)
		target = svc.forward.forward
	}
	var candidate candidate
	if r.Spec.Canary != nil {
		if svc.canary, err = e.controller(svc.tenancy, &r.Spec); err != nil {
			svc.tenancy.end()
			return nil, fmt.Errorf("route %s: %w", r.Spec.Name, err)
		}
		candidate.service, candidate.comparison = uses[len(r.Spec.To)].forRoute(r, r.Spec.Canary.Labels), svc.canary
	}
	last, err := action(r, clusters, target, candidate, e.exposing(&r.Spec))
	if err != nil {
		svc.tenancy.end()
		return nil, fmt.Errorf("route %s: %w", r.Spec.Name, err)
	}
	folded, err := e.fold(r, svc.tenancy, last)
	if err != nil {
		svc.tenancy.end()
		return nil, fmt.Errorf("route %s: %w", r.Spec.Name, err)
	}
	svc.entry = route.Entry{Route: r, Label: label, Service: folded}
	return svc, nil
}

// newForward connects to what clients ask for, where the route lets them.
func newForward(spec *config.Route) *forward {
	limit := time.Duration(config.Default[config.Cluster]().ConnectTimeout)
	dialer := egress.New(egress.Config{AllowPrivate: spec.Connect.AllowPrivate, Timeout: limit})
	return &forward{dialer: dialer, forward: tcp.NewForward(tcp.ForwardConfig{
		Dial: dialer.Dial, Ports: spec.Connect.Ports, Timeout: time.Duration(spec.Timeout),
	})}
}

// upstreamsOf are the upstreams of the sides of r, in the order of the
// document, and then those of its filters. A missing one fails closed: the
// route does not start.
func upstreamsOf(r *snapshot.Route, g *generation) ([]*upstream, error) {
	names := r.Clusters()
	uses := make([]*upstream, len(names))
	for i, name := range names {
		if uses[i] = g.upstreams[name]; uses[i] == nil {
			return nil, fmt.Errorf("route %s: cluster %s does not run", r.Spec.Name, name)
		}
	}
	return uses, nil
}

func sameUpstreams(a, b []*upstream) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// candidate is the canary of a route; zero: there is none.
type candidate struct {
	service    stream.Service
	comparison route.Comparison
}

// action is what the last filter of a route calls. clusters are those of the
// sides, in the order of the document; target is what connects to where a
// client says; who counts the requests of each side.
func action(r *snapshot.Route, clusters []stream.Service, target stream.Service, canary candidate, who exposing) (stream.Service, error) {
	switch {
	case target != nil:
		return target, nil
	case r.Spec.Redirect != nil:
		return route.NewRedirect(*r.Spec.Redirect, r.Match)
	case r.Spec.Respond != nil:
		return route.NewRespond(*r.Spec.Respond), nil
	}
	to, err := sides(r, clusters, canary, who)
	if err != nil || r.Spec.Rewrite == nil {
		return to, err
	}
	return route.NewRewrite(to, *r.Spec.Rewrite, r.Match)
}

// fold puts the filters of r around last.
func (e *Engine) fold(r *snapshot.Route, t *tenancy, last stream.Service) (stream.Service, error) {
	bound := make([]chain.Bound, len(r.Filters))
	for i, f := range r.Filters {
		definition, ok := e.cfg.Filters.Lookup(f.Name)
		if !ok {
			return nil, fmt.Errorf("filter %s is not part of this binary", f.Name)
		}
		bound[i] = chain.Bound{Definition: definition, Settings: f.Settings}
	}
	return chain.Build(bound, t.env, last)
}

// tableState is what a front knows of its table: the service behind each name.
type tableState map[string]*service

// route gives the front the table for g, which shares what did not change with
// the one before.
func (f *front) route(g *generation) {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := tableState{}
	var changed []route.Entry
	for name, svc := range g.services {
		if !serves(svc.entry.Route, f.spec.Spec.Name) {
			continue
		}
		next[name] = svc
		if f.table[name] != svc {
			changed = append(changed, svc.entry)
		}
	}
	var removed []string
	for name := range f.table {
		if next[name] == nil {
			removed = append(removed, name)
		}
	}
	switch {
	case len(f.table) == 0:
		f.router.Swap(route.Build(changed))
	case len(changed)+len(removed) > 0:
		f.router.Swap(f.router.Table().With(changed, removed))
	}
	f.table = next
	f.noteConnections(next)
}

// noteConnections keeps what the routes for connections need to know before
// they are asked: whether to read hellos, and which protocols to agree to.
func (f *front) noteConnections(table tableState) {
	readHello, passOn, alpn := false, false, []string(nil)
	for _, svc := range table {
		r := svc.entry.Route
		if r.Spec.Protocol != "tcp" {
			continue
		}
		names := len(r.Match.Hosts) > 0 && !slices.Contains(r.Match.Hosts, "*")
		readHello = readHello || names || len(r.Match.ALPN) > 0
		passOn = passOn || r.Spec.Passthrough
		if !r.Spec.Passthrough {
			alpn = append(alpn, r.Match.ALPN...)
		}
	}
	f.readHello.Store(readHello)
	f.passOn.Store(passOn)
	slices.Sort(alpn)
	if alpn = slices.Compact(alpn); f.tls == nil || slices.Equal(alpn, f.alpn) {
		return
	}
	f.alpn = alpn
	if err := f.tls.Update(f.tlsConfig(f.spec)); err != nil { // it was taken over before, with other names
		f.engine.log.Error("the protocols that routes ask for cannot be agreed to", "listener", f.spec.Spec.Name, "err", err)
	}
}

func serves(r *snapshot.Route, listener string) bool {
	for _, name := range r.Listeners {
		if name == listener {
			return true
		}
	}
	return false
}
