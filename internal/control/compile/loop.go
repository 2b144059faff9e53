package compile

import (
	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/snapshot"
)

// warnAboutLoops warns about routes whose requests come back to a listener that
// they serve: each then goes round until a limit ends it, and takes a
// connection per round.
func (c *compiler) warnAboutLoops() {
	for _, name := range c.routes.fresh() {
		route := c.routes.chosen[name]
		kind := trafficOf(&route.Spec)
		if kind == tunnels { // it ends here: what the client asks for inside of it is another request
			continue
		}
		for _, listener := range route.Listeners {
			l := c.listeners.chosen[listener]
			if l == nil || kind == requests && l.Spec.Forwarded.Via != "" { // Via finds the loop while running
				continue
			}
			for i, to := range route.Spec.To {
				if cluster := c.clusters.chosen[to.Cluster]; cluster != nil && dialledOver(kind, &cluster.Spec)&transportsOf(&l.Spec) != 0 && leadsTo(cluster, l) {
					c.warnAboutLoop(name, i, to.Cluster, &l.Spec)
				}
			}
		}
	}
}

// dialledOver is the transport by which a cluster is reached.
func dialledOver(kind traffic, cluster *config.Cluster) transports {
	if kind == sessions || cluster.Protocol == "h3" {
		return overUDP
	}
	return overTCP
}

func (c *compiler) warnAboutLoop(route string, i int, cluster string, l *config.Listener) {
	kind, fix := trafficOf(&c.routes.chosen[route].Spec), "point the cluster elsewhere"
	if kind == requests {
		fix += ", or set forwarded.via of the listener, which ends such loops"
	}
	c.routes.report(c, route).Warnf(index("to", i)+".cluster", fix,
		"cluster %q leads back to listener %q, which this route serves: its %s go round in circles", cluster, l.Name, actionNouns[kind])
}

// leadsTo tells whether an endpoint of the cluster is the listener for sure.
// Names are not resolved here.
func leadsTo(cluster *snapshot.Cluster, l *snapshot.Listener) bool {
	listens, err := parseListen(l.Spec.Address)
	if err != nil {
		return false
	}
	for _, endpoint := range cluster.Spec.Endpoints {
		dialled, err := parseDial(endpoint.Address)
		if err != nil || !dialled.overlaps(listens) {
			continue
		}
		here := dialled.network == "unix" || dialled.host == "localhost" || dialled.addr.IsLoopback()
		if here || dialled.addr == listens.addr {
			return true
		}
	}
	return false
}
