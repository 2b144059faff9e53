package compile

import (
	"net/netip"
	"strings"
)

// warn looks at the whole: nothing here refuses anything.
func (c *compiler) warn() {
	c.warnAboutUnused()
	c.warnAboutUncovered()
	c.warnAboutPassthrough()
	c.warnAboutEarlyData()
	c.warnAboutFit()
	c.warnAboutDead()
	c.warnAboutLoops()
}

// warnAboutUnused says nothing while a route is left out for its errors: it is
// what would use the listener or the cluster.
func (c *compiler) warnAboutUnused() {
	if len(c.routes.refused) > 0 || c.lacksRoutes() {
		return
	}
	served, used := map[string]bool{}, map[string]bool{}
	for _, route := range c.routes.chosen {
		for _, name := range route.Listeners {
			served[name] = true
		}
		for _, cluster := range route.Clusters() {
			used[cluster] = true
		}
	}
	for _, name := range c.listeners.fresh() {
		if !served[name] {
			c.listeners.report(c, name).Warnf("", "add a route, or remove the listener", "no route serves listener %q: every %s", name, fateOf[c.listeners.chosen[name].Spec.Protocol])
		}
	}
	for _, name := range c.clusters.fresh() {
		if !used[name] {
			c.clusters.report(c, name).Warnf("", "add it to a route, or remove it", "no route uses cluster %q", name)
		}
	}
}

// fateOf is what becomes of what no route takes, by the protocol of a listener.
var fateOf = map[string]string{
	"http": "request there is answered with 404", "framed": "frame there is answered with an error",
	"tcp": "connection there is closed", "detect": "connection there is closed or answered with 404", "udp": "datagram there is dropped",
}

// lacksRoutes tells whether routes may stand in what could not be decoded.
func (c *compiler) lacksRoutes() bool {
	for _, broken := range c.doc.Broken {
		if broken.Kind == c.routes.kind {
			return true
		}
	}
	return len(c.in.Unknown) > 0
}

// warnAboutUncovered warns about hosts for which a listener has no certificate.
func (c *compiler) warnAboutUncovered() {
	covered := map[string]map[string]bool{} // by listener
	for name, l := range c.listeners.chosen {
		if l.TLS == nil {
			continue
		}
		covered[name] = map[string]bool{}
		for _, pair := range l.TLS.Certificates {
			for _, host := range pair.Names {
				covered[name][host] = true
			}
		}
	}
	for _, name := range c.routes.fresh() {
		route := c.routes.chosen[name]
		if trafficOf(&route.Spec) == tunnels || route.Spec.Passthrough { // the certificate is that of another server
			continue
		}
		r := c.routes.report(c, name)
		for i, text := range route.Spec.Match.Hosts {
			host, err := parseHost(text)
			if err != nil || host == "*" || isAddress(host) {
				continue
			}
			for _, listener := range route.Listeners {
				if names := covered[listener]; names != nil && !names[host] && !names[wildcardOf(host)] {
					r.Warnf(index("match.hosts", i), "add a certificate for it", "no certificate of listener %q covers host %q", listener, text)
				}
			}
		}
	}
}

// wildcardOf is the wildcard of certificates that stands for a host: exactly
// one label.
func wildcardOf(host string) string {
	_, parent, _ := strings.Cut(host, ".")
	return "*." + parent
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}
