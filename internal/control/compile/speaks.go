package compile

import (
	"slices"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/snapshot"
)

// speaks tells whether a listener brings what a route is for.
func speaks(l *config.Listener, route *config.Route) bool {
	switch trafficOf(route) {
	case connections: // one of HTTP under TLS has them as well, as long as nobody has read behind the hello
		return l.Protocol == "tcp" || l.Protocol == "detect" || l.Protocol == "http" && l.TLS != nil && route.Passthrough
	case sessions:
		return l.Protocol == "udp"
	case tunnels:
		return l.Protocol == "http" || l.Protocol == "detect"
	}
	return l.Protocol == "http" || l.Protocol == "framed" || l.Protocol == "detect"
}

// speakersFix says which listeners a route may have.
func speakersFix(route *config.Route) string {
	switch trafficOf(route) {
	case connections:
		return "use one with protocol tcp or detect; or with passthrough: true one with protocol http and tls"
	case sessions:
		return "use one with protocol udp"
	case tunnels:
		return "use one with protocol http or detect"
	}
	return "use one with protocol http, detect or framed"
}

// audience is what decides which listeners a route has that names none.
type audience struct {
	kind        traffic
	passthrough bool
}

// speakers are the names of the chosen listeners that bring what a route is
// for: those that it names, or all. Sorted. Routes that name none share a list:
// there may be 100,000 of them. Which listeners are chosen is settled by then
// (checkAddresses).
func (c *compiler) speakers(route *config.Route) []string {
	if len(route.Listeners) > 0 {
		return c.speaking(slices.Compact(slices.Sorted(slices.Values(route.Listeners))), route)
	}
	key := audience{trafficOf(route), route.Passthrough}
	list, known := c.audiences[key]
	if !known {
		list = c.speaking(c.listeners.names(), route)
		c.audiences[key] = list
	}
	return list
}

func (c *compiler) speaking(names []string, route *config.Route) (list []string) {
	for _, name := range names {
		if l := c.listeners.chosen[name]; l != nil && speaks(&l.Spec, route) {
			list = append(list, name)
		}
	}
	return list
}

// checkSpeakers refuses listeners that bring a route nothing. It is quiet about
// what is not there: that is reported where it is named. false means that the
// route would serve no listener, or not all that it names.
func (c *compiler) checkSpeakers(route *snapshot.Route, r *config.Report) bool {
	spec := &route.Spec
	clean := true
	for i, name := range spec.Listeners {
		if l := c.listeners.chosen[name]; l != nil && !speaks(&l.Spec, spec) {
			r.Errorf(index("listeners", i), speakersFix(spec), "listener %q has protocol %s, and the route is for %s", name, l.Spec.Protocol, trafficOf(spec))
			clean = false
		}
	}
	if len(spec.Listeners) > 0 || len(c.speakers(spec)) > 0 {
		return clean
	}
	if len(c.listeners.refused) == 0 || c.in.Previous != nil { // else one with errors of its own may be the one
		r.Errorf("", speakersFix(spec), "no listener brings route %q anything: it is for %s", spec.Name, trafficOf(spec))
	}
	return false
}

// warnAboutPassthrough: without tls on the listener nothing ends TLS, so that
// there is nothing to leave out.
func (c *compiler) warnAboutPassthrough() {
	for _, name := range c.routes.fresh() {
		route := c.routes.chosen[name]
		ends := func(listener string) bool { return c.listeners.chosen[listener].TLS != nil }
		if route.Spec.Passthrough && !slices.ContainsFunc(route.Listeners, ends) {
			c.routes.report(c, name).Warnf("passthrough", "remove it", "passthrough has no effect: no listener of route %q has tls", name)
		}
	}
}
