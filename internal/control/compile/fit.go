package compile

import (
	"strings"

	"github.com/weirproxy/weir/config"
)

// misfit is why a route and a cluster do not go together.
type misfit struct{ what, fix string }

// misfitOf is nil when the cluster can serve what the route is for. caller is a
// filter of the route that makes gRPC calls of its requests, or "".
func misfitOf(route *config.Route, caller string, cluster *config.Cluster) *misfit {
	const multiplex = "write protocol: h2c, or tls and protocol: h2"
	switch kind := trafficOf(route); {
	case kind != requests && cluster.Protocol != "auto":
		return &misfit{"has protocol " + cluster.Protocol + ", and a route for " + kind.String() + " carries bytes, whatever they mean", "write protocol: auto, or make another cluster"}
	case kind == sessions:
		return misfitOfSessions(cluster)
	case route.Passthrough && cluster.TLS != nil:
		return &misfit{"has tls, and the connections of a passthrough route have theirs already: it would be TLS inside of TLS", "remove tls from the cluster, or make another one"}
	case route.Match.GRPC != nil && !mayMultiplex(cluster):
		return &misfit{"speaks " + spokenBy(cluster) + ", and gRPC needs HTTP/2", multiplex}
	case caller != "" && !mayMultiplex(cluster):
		return &misfit{"speaks " + spokenBy(cluster) + ", and filter " + caller + " makes gRPC calls, which need HTTP/2", multiplex}
	}
	return nil
}

func misfitOfSessions(cluster *config.Cluster) *misfit {
	const fix = "make another cluster for UDP"
	switch {
	case cluster.TLS != nil:
		return &misfit{"has tls, and the route is for udp sessions", fix}
	case cluster.ProxyProtocol != "off":
		return &misfit{"has proxy_protocol, and the route is for udp sessions, which have no start that a header could stand at", fix}
	}
	for _, endpoint := range cluster.Endpoints {
		if strings.HasPrefix(endpoint.Address, "unix:") {
			return &misfit{"has endpoint " + endpoint.Address + ", and the route is for udp sessions", fix}
		}
	}
	return nil
}

// checkFit holds, or refuses, new routes that do not go with their clusters, and
// tells whether there were any. A route that keeps its last good version may need
// that of a cluster, or of the databases of places, as well, which then are held
// with it; what is held came from one snapshot and fits.
func (c *compiler) checkFit() (found bool) {
	for changed := true; changed; {
		changed = false
		for _, name := range c.routes.names() {
			if c.settleFit(name) || c.settlePlaces(name) {
				changed, found = true, true
			}
		}
	}
	return found
}

// settleFit makes one step towards a state in which a route fits, and tells
// whether one was needed.
func (c *compiler) settleFit(name string) bool {
	spec := &c.routes.chosen[name].Spec
	for i, to := range spec.To {
		cluster := c.clusters.chosen[to.Cluster]
		if cluster == nil {
			continue
		}
		wrong := misfitOf(spec, c.caller(spec), &cluster.Spec)
		if wrong == nil {
			continue
		}
		switch {
		case !c.routes.held[name]:
			c.routes.report(c, name).Errorf(index("to", i)+".cluster", wrong.fix, "cluster %q%s %s", to.Cluster, at(cluster.Spec.Pos), wrong.what)
			c.routes.hold(name)
		case c.clusters.previous[to.Cluster] != nil && !c.clusters.held[to.Cluster]:
			c.clusters.hold(to.Cluster)
			c.clusters.because[to.Cluster] = "route " + name
		default:
			c.routes.refuse(name)
		}
		return true
	}
	return false
}

// caller is the first filter of a route that makes gRPC calls of its requests, or "".
func (c *compiler) caller(route *config.Route) string {
	for _, f := range route.Filters {
		if definition, known := c.in.Filters.Lookup(f.Name); known && definition.Calls {
			return f.Name
		}
	}
	return ""
}

// warnAboutFit warns about what works, but not as it was probably meant.
func (c *compiler) warnAboutFit() {
	shared := map[string]bool{} // clusters that serve requests, of which many may go over one connection
	for _, route := range c.routes.chosen {
		for _, to := range route.Spec.To {
			shared[to.Cluster] = shared[to.Cluster] || trafficOf(&route.Spec) == requests
		}
	}
	for _, name := range c.clusters.fresh() {
		if spec := &c.clusters.chosen[name].Spec; shared[name] && spec.ProxyProtocol != "off" && mayMultiplex(spec) {
			c.clusters.report(c, name).Warnf("proxy_protocol", "remove it if X-Forwarded-For suffices, which is sent anyway",
				"proxy_protocol opens a connection for each request to cluster %q: the header names one client, so that requests do not share connections", name)
		}
	}
	for _, name := range c.routes.fresh() {
		c.warnAboutHashKey(name)
	}
}

// warnAboutHashKey: what is carried without looking into it has no value but
// the address of its client.
func (c *compiler) warnAboutHashKey(name string) {
	spec := &c.routes.chosen[name].Spec
	if !trafficOf(spec).carried() {
		return
	}
	for i, to := range spec.To {
		cluster := c.clusters.chosen[to.Cluster]
		if cluster != nil && cluster.Spec.Balance == "hash" && cluster.Spec.HashKey != "client" {
			c.routes.report(c, name).Warnf(index("to", i)+".cluster", "write hash_key: client",
				"cluster %q goes by hash_key %s, which %s do not have: their endpoint is chosen at random", to.Cluster, cluster.Spec.HashKey, trafficOf(spec))
		}
	}
}
