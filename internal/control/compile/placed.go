package compile

import (
	"slices"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/snapshot"
)

// settlePlaces makes one step towards a state in which the databases know what a
// route asks, and tells whether one was needed. Without them a condition with
// not would hold for everybody, and a limit by country for nobody.
func (c *compiler) settlePlaces(name string) bool {
	wrong := c.unplaced(c.routes.chosen[name])
	if wrong == nil {
		return false
	}
	switch {
	case !c.routes.held[name]: // geo is held for another route
		c.routes.report(c, name).Errorf("", "mend the route for which geo is held first", "route %q asks where clients are, and %s", name, wrong.what)
		c.routes.hold(name)
	case !slices.Contains(c.general.held, "geo"):
		c.general.hold("geo", c.previous)
		config.NewReport("geo", c.written(name), &c.problems).Warnf("", "mend or remove the route first",
			"the databases stay as they were: route %q keeps its last good version, which needs them", name)
	default:
		c.routes.refuse(name)
	}
	return true
}

// unplaced is what a route, or a cluster that it goes to, asks of the databases
// and they do not know; nil: nothing.
func (c *compiler) unplaced(route *snapshot.Route) *misfit {
	if c.previous.Places == nil { // new routes were compiled with these, and held ones with none
		return nil
	}
	for _, m := range append([]*snapshot.Match{&route.Match}, route.Sides...) {
		if m == nil || m.Geo == nil {
			continue
		}
		if wrong := c.unplacedMatch(m.Geo); len(wrong) > 0 {
			return &wrong[0]
		}
	}
	for _, text := range c.keysBehind(route) {
		if why, fix := c.unknown(text, true); why != "" {
			return &misfit{"key " + text + " is not known" + why, fix}
		}
	}
	return nil
}

// keysBehind are all keys that requests of a route are looked at for.
func (c *compiler) keysBehind(route *snapshot.Route) []string {
	texts := []string{route.Spec.Split.Key}
	for _, f := range route.Filters {
		definition, _ := c.in.Filters.Lookup(f.Name)
		for _, key := range definition.Keys(f.Settings) {
			texts = append(texts, key.Text)
		}
	}
	for _, name := range route.Clusters() {
		cluster := c.clusters.chosen[name]
		if cluster == nil { // a held route keeps it
			cluster = c.clusters.previous[name]
		}
		if cluster != nil {
			texts = append(texts, keysOf(cluster)...)
		}
	}
	return texts
}
