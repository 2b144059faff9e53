package compile

import (
	"fmt"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/snapshot"
)

// nothingToServe refuses documents without any listener: far more often than a
// wish they are a file that was just being written, or a mount that failed.
func (c *compiler) nothingToServe() bool {
	if len(c.doc.Listeners) > 0 || len(c.doc.Broken) > 0 || len(c.in.Unknown) > 0 {
		return false
	}
	pos := config.Pos{}
	if len(c.doc.Routes) > 0 {
		pos = c.doc.Routes[0].Pos
	} else if len(c.doc.Clusters) > 0 {
		pos = c.doc.Clusters[0].Pos
	}
	fix := `add listeners: [{name: public, address: ":8080"}]`
	if c.in.Previous != nil {
		fix += "; until then the last good state stays"
	}
	c.problems = append(c.problems, config.Problem{Pos: pos, Severity: config.Error, What: "the documents have no listener", Fix: fix})
	return true
}

// checkReferences holds, or refuses, new routes that name what is not there.
func (c *compiler) checkReferences() {
	listeners := c.listeners.names()
	clusters := c.clusters.names()
	for _, name := range c.routes.fresh() {
		if !c.routeRefersTo(name, listeners, clusters) {
			c.routes.hold(name)
		}
	}
}

// routeRefersTo tells whether all that a route refers to is there.
func (c *compiler) routeRefersTo(name string, listeners, clusters []string) bool {
	route := c.routes.chosen[name]
	clean := true
	r := c.routes.report(c, name).Watch(&clean)
	for i, listener := range route.Spec.Listeners {
		resolve(c, c.listeners, listener, index("listeners", i), listeners, r)
	}
	for i, target := range route.Spec.To {
		resolve(c, c.clusters, target.Cluster, index("to", i)+".cluster", clusters, r)
		if cluster := c.clusters.chosen[target.Cluster]; cluster != nil {
			checkSubset(&target, cluster, index("to", i)+".labels", r)
			c.checkKeysOf(cluster, &route.Spec, index("to", i)+".cluster", r)
		}
	}
	if canary := route.Spec.Canary; canary != nil {
		resolve(c, c.clusters, canary.Cluster, "canary.cluster", clusters, r)
		if cluster := c.clusters.chosen[canary.Cluster]; cluster != nil {
			checkSubset(&config.Target{Cluster: canary.Cluster, Labels: canary.Labels}, cluster, "canary.labels", r)
			c.checkKeysOf(cluster, &route.Spec, "canary.cluster", r)
		}
	}
	for i, f := range route.Filters {
		definition, _ := c.in.Filters.Lookup(f.Name)
		for _, ref := range definition.References(f.Settings) {
			at := index("filters", i) + "." + f.Name + "." + ref.At
			resolve(c, c.clusters, ref.Cluster, at, clusters, r)
			if cluster := c.clusters.chosen[ref.Cluster]; cluster != nil && ref.Secure {
				checkSecure(cluster, at, r)
			}
		}
	}
	if !c.checkSpeakers(route, r) {
		return false
	}
	if route.Spec.ClientCertificate == "require" {
		c.checkClientCertificate(c.speakers(&route.Spec), r)
	}
	return clean
}

// checkSecure: what a filter believes may come from nobody else.
func checkSecure(cluster *snapshot.Cluster, at string, r *config.Report) {
	name := cluster.Spec.Name
	switch {
	case cluster.Spec.TLS == nil:
		r.Errorf(at, "write tls: {} in the cluster", "cluster %q has no TLS: whoever is between could answer in its place", name)
	case cluster.Spec.TLS.Verify == "off":
		r.Errorf(at, "write verify: full in the cluster, and ca if its certificate is your own",
			"cluster %q accepts any certificate: whoever is between could answer in its place", name)
	}
}

// resolve reports a reference that leads nowhere. At the start, one to an
// object that has errors of its own is not reported again.
func resolve[T any](c *compiler, s *set[T], name, path string, names []string, r *config.Report) {
	switch {
	case s.chosen[name] != nil:
	case !s.refused[name]:
		r.Errorf(path, suggestOr(name, names, fmt.Sprintf("add a %s of that name", s.kind)), "there is no %s %q", s.kind, name)
	case c.in.Previous != nil:
		r.Errorf(path, "mend it first", "%s %q has errors", s.kind, name)
	}
}

// checkClientCertificate: a route that requires one needs a listener that asks
// for one, or it refuses every request.
func (c *compiler) checkClientCertificate(listeners []string, r *config.Report) {
	var without []string
	for _, name := range listeners {
		l := c.listeners.chosen[name]
		if l != nil && (l.Spec.TLS == nil || l.Spec.TLS.ClientCertificate.Mode == "off") {
			without = append(without, name)
		}
	}
	const fix = "add tls: {client_certificate: {mode: optional, ca: {file: PATH}}} to the listener"
	switch {
	case len(without) == 0:
	case len(without) == len(listeners):
		r.Errorf("client_certificate", fix, "no listener of the route asks for a client certificate, so that it refuses every request")
	default:
		r.Warnf("client_certificate", fix, "listener %q asks for no client certificate, so that the route refuses every request there", without[0])
	}
}

// linkListeners spells out the listeners of every route. A held route loses
// those that are gone or speak something else now, and goes when none is left.
func (c *compiler) linkListeners() {
	for _, name := range c.routes.names() {
		route := c.routes.chosen[name]
		if route.Listeners = c.speakers(&route.Spec); len(route.Listeners) == 0 {
			c.routes.refuse(name)
		}
	}
}

// keepReferenced keeps clusters that the documents removed while a held route
// still needs them.
func (c *compiler) keepReferenced() {
	for _, name := range c.routes.names() {
		if !c.routes.held[name] {
			continue
		}
		for _, cluster := range c.routes.chosen[name].Clusters() {
			if c.clusters.chosen[cluster] == nil {
				c.keepCluster(cluster, name)
			}
		}
	}
}

func (c *compiler) keepCluster(name, route string) {
	if c.clusters.hold(name); !c.clusters.held[name] {
		c.routes.refuse(route) // the last state was not whole: it must not be, and must not do harm
		return
	}
	config.NewReport("cluster "+name, c.written(route), &c.problems).Warnf("to", "mend the route",
		"cluster %q was removed, but is kept because route %q keeps its last good version, which uses it", name, route)
}

// written is where the parts of a held route stand: now, or in its last version.
func (c *compiler) written(route string) func(path string) config.Pos {
	for i := range c.doc.Routes {
		if spec := &c.doc.Routes[i]; spec.Name == route {
			return spec.At
		}
	}
	return c.routes.chosen[route].Spec.At
}
