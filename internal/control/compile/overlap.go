package compile

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/snapshot"
)

// checkConflicts holds, or refuses, new routes that match what another route
// matches under the same conditions: which one wins must not hang on their
// names. A held route gives way to a new one.
func (c *compiler) checkConflicts() {
	seen := map[string][]string{} // match -> names of routes
	for _, name := range c.routes.fresh() {
		other := c.conflicting(name, seen)
		if other == "" {
			continue
		}
		route := c.routes.chosen[other]
		c.routes.report(c, name).Errorf("match", "change the match of one, or give one a priority",
			"route %q matches what route %q matches%s, under the same conditions", name, other, at(route.Spec.Pos))
		c.routes.hold(name)
	}
	for _, name := range c.routes.names() {
		if c.routes.held[name] && c.conflicting(name, seen) != "" {
			c.routes.refuse(name)
		}
	}
	c.linkListeners()
}

// conflicting is the name of a route seen before that takes the same requests
// with the same precedence, or "", and then the route is seen from now on.
func (c *compiler) conflicting(name string, seen map[string][]string) string {
	route := c.routes.chosen[name]
	keys := matchKeys(route)
	for _, key := range keys {
		for _, other := range seen[key] {
			if o := c.routes.chosen[other]; sharesAny(o.Listeners, route.Listeners) && sharesMethod(o.Match.Methods, route.Match.Methods) {
				return other
			}
		}
	}
	for _, key := range keys {
		seen[key] = append(seen[key], name)
	}
	return ""
}

// matchKeys has one key per host: routes with an equal key have the same
// conditions, methods and listeners apart. Every part stands with its length.
func matchKeys(route *snapshot.Route) []string {
	m := &route.Match
	rest := fmt.Sprintf("%s %d %s methods=%t grpc=%t", trafficOf(&route.Spec), route.Spec.Priority, pathKey(&m.Path), len(m.Methods) > 0, m.GRPC)
	for _, part := range [][]string{
		valueKeys(m.Headers, strings.ToLower), valueKeys(m.Query, asIs), valueKeys(m.Cookies, asIs), prefixKeys(m.Clients),
		slices.Clone(m.ALPN), portKeys(m.Ports), geoKeys(m.Geo),
	} {
		slices.Sort(part)
		rest += fmt.Sprintf(" %q", part)
	}
	keys := make([]string, 0, len(m.Hosts)+1)
	for _, host := range hostsOf(route) {
		keys = append(keys, fmt.Sprintf("%q %s", host, rest))
	}
	return keys
}

// hostsOf spells out "any host".
func hostsOf(route *snapshot.Route) []string {
	if len(route.Match.Hosts) == 0 {
		return []string{"*"}
	}
	return route.Match.Hosts
}

// pathKey is equal for conditions that hold for the same paths, as far as that
// can be seen: the names in a template do not matter.
func pathKey(p *snapshot.Path) string {
	switch p.Kind {
	case snapshot.PathAny:
		return `prefix "/"`
	case snapshot.PathExact:
		return fmt.Sprintf("exact %q", p.Text)
	case snapshot.PathRegex:
		return fmt.Sprintf("regex %q", p.Text)
	case snapshot.PathPrefix:
		return fmt.Sprintf("prefix %q", p.Text)
	}
	key := "template"
	for _, s := range p.Segments {
		switch {
		case s.Rest:
			key += " ..."
		case s.Name != "":
			key += " *"
		default:
			key += fmt.Sprintf(" %q", s.Literal)
		}
	}
	return key
}

func asIs(s string) string { return s }

func valueKeys(values []snapshot.Value, fold func(string) string) []string {
	keys := make([]string, len(values))
	for i, v := range values {
		keys[i] = fmt.Sprintf("%q absent=%t not=%t", fold(v.Name), v.Absent, v.Not)
		switch {
		case v.Exact != nil:
			keys[i] += fmt.Sprintf(" exact %q", *v.Exact)
		case v.Prefix != nil:
			keys[i] += fmt.Sprintf(" prefix %q", *v.Prefix)
		case v.Regex != nil:
			keys[i] += fmt.Sprintf(" regex %q", v.Regex.String())
		}
	}
	return keys
}

func prefixKeys(prefixes []netip.Prefix) []string {
	keys := make([]string, len(prefixes))
	for i, p := range prefixes {
		keys[i] = p.String()
	}
	return keys
}

func portKeys(ports []uint16) []string {
	keys := make([]string, len(ports))
	for i, port := range ports {
		keys[i] = strconv.Itoa(int(port))
	}
	return keys
}

func sharesAny(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

// sharesMethod: no methods are all methods. Routes with methods come before
// those without (matchKeys tells them apart), so both or none have some.
func sharesMethod(a, b []string) bool { return len(a) == 0 || len(b) == 0 || sharesAny(a, b) }

func geoKeys(g *config.GeoMatch) (keys []string) {
	if g == nil {
		return nil
	}
	for _, code := range g.Countries {
		keys = append(keys, "country "+code)
	}
	for _, code := range g.Continents {
		keys = append(keys, "continent "+code)
	}
	for _, number := range g.ASNs {
		keys = append(keys, fmt.Sprintf("asn %d", number))
	}
	return append(keys, fmt.Sprintf("not %t", g.Not))
}
