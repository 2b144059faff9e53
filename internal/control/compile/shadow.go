package compile

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/snapshot"
)

// shadower finds routes that can get no request because others, which come
// before them, match all that they match. Only what can be seen for sure
// counts: a route is never called dead that is not.
//
// A route that covers another begins with the same segments, or fewer of them.
// So routes are kept by host and by the literal segments at the start of their
// paths, and few are compared.
type shadower struct {
	byLead map[leadKey][]*outline // those of a higher priority first
	left   int                    // comparisons that may still be made
}

// maxComparisons ends the search in documents made to make it long (some
// seconds); what is not found then is not warned about.
const maxComparisons = 20_000_000

type leadKey struct {
	kind       traffic
	host, lead string
}

// outline is a route with what comparisons need.
type outline struct {
	route     *snapshot.Route
	kind      traffic
	key, lead string
	rank      int // order of the kinds of paths; lower comes first
	shape     *shape
	headers   []string
	query     []string
	cookies   []string
}

func outlineOf(route *snapshot.Route) *outline {
	m := &route.Match
	o := &outline{
		route: route, kind: trafficOf(&route.Spec), key: pathKey(&m.Path), rank: rankOf(&m.Path), shape: shapeOf(&m.Path),
		headers: valueKeys(m.Headers, strings.ToLower), query: valueKeys(m.Query, asIs), cookies: valueKeys(m.Cookies, asIs),
	}
	if o.shape != nil {
		o.lead = o.shape.lead()
	}
	return o
}

// rankOf is the order of the route stage: exact, template, regex, prefix.
func rankOf(p *snapshot.Path) int {
	return slices.Index([]snapshot.PathKind{snapshot.PathExact, snapshot.PathTemplate, snapshot.PathRegex, snapshot.PathPrefix, snapshot.PathAny}, p.Kind)
}

// warnAboutDead warns about every new route that others shadow.
func (c *compiler) warnAboutDead() {
	s := shadower{byLead: map[leadKey][]*outline{}, left: maxComparisons}
	outlines := map[string]*outline{}
	for _, route := range c.routes.sorted() {
		o := outlineOf(route)
		outlines[route.Spec.Name] = o
		for _, host := range hostsOf(route) {
			key := leadKey{o.kind, host, o.lead}
			s.byLead[key] = append(s.byLead[key], o)
		}
	}
	for _, list := range s.byLead {
		slices.SortStableFunc(list, func(a, b *outline) int {
			return cmp.Compare(b.route.Spec.Priority, a.route.Spec.Priority)
		})
	}
	for _, name := range c.routes.fresh() {
		if by := s.shadow(outlines[name]); by != nil {
			c.routes.report(c, name).Warnf("match", "narrow the other route, or give this one a higher priority",
				"route %q gets no request: route %q%s matches all of it and comes first%s",
				name, by.route.Spec.Name, at(by.route.Spec.Pos), reason(by, outlines[name]))
		}
	}
}

func reason(by, dead *outline) string {
	if by.route.Spec.Priority > dead.route.Spec.Priority {
		return fmt.Sprintf(" (priority %d)", by.route.Spec.Priority)
	}
	return ""
}

// shadow is the route that shadows inner on the first of its hosts, when there
// is one for each of them.
func (s *shadower) shadow(inner *outline) *outline {
	var first *outline
	for _, host := range hostsOf(inner.route) {
		by := s.onHost(inner, host)
		if by == nil {
			return nil
		}
		if first == nil {
			first = by
		}
	}
	return first
}

func (s *shadower) onHost(inner *outline, host string) *outline {
	for wider := host; wider != ""; wider = widen(wider) {
		for lead := inner.lead; ; lead = lead[:strings.LastIndexByte(lead, '/')] {
			for _, outer := range s.byLead[leadKey{inner.kind, wider, lead}] {
				if outer.route.Spec.Priority < inner.route.Spec.Priority || s.left == 0 {
					break
				}
				s.left--
				if outer.before(inner, wider == host) && outer.covers(inner) {
					return outer
				}
			}
			if lead == "" {
				break
			}
		}
	}
	return nil
}

// widen is the next wider host pattern: a.b.c, *.b.c, *.c, *, "".
func widen(host string) string {
	if host == "*" {
		return ""
	}
	_, parent, found := strings.Cut(strings.TrimPrefix(host, "*."), ".")
	if !found {
		return "*"
	}
	return "*." + parent
}

// before tells whether o comes before inner whatever their names are.
func (o *outline) before(inner *outline, sameHost bool) bool {
	if o.route.Spec.Priority != inner.route.Spec.Priority {
		return o.route.Spec.Priority > inner.route.Spec.Priority
	}
	return sameHost && o.rank < inner.rank
}

// covers tells whether everything that inner matches, o matches too, hosts
// apart.
func (o *outline) covers(inner *outline) bool {
	outer, in := &o.route.Match, &inner.route.Match
	return o.coversPath(inner) &&
		coversAny(outer.Methods, in.Methods) &&
		containsAll(inner.headers, o.headers) && containsAll(inner.query, o.query) && containsAll(inner.cookies, o.cookies) &&
		coversClients(outer.Clients, in.Clients) && coversGeo(outer.Geo, in.Geo) && (in.GRPC || !outer.GRPC) &&
		coversAny(outer.ALPN, in.ALPN) && coversAny(outer.Ports, in.Ports) &&
		containsAll(o.route.Listeners, inner.route.Listeners)
}

func containsAll[E comparable](all, some []E) bool {
	for _, s := range some {
		if !slices.Contains(all, s) {
			return false
		}
	}
	return true
}

// coversAny: of a list one must hold, and no list always holds.
func coversAny[E comparable](outer, inner []E) bool {
	return len(outer) == 0 || len(inner) > 0 && containsAll(outer, inner)
}

func coversClients(outer, inner []netip.Prefix) bool {
	if len(outer) == 0 {
		return true
	}
	for _, i := range inner {
		if !slices.ContainsFunc(outer, func(o netip.Prefix) bool { return o.Bits() <= i.Bits() && o.Contains(i.Addr()) }) {
			return false
		}
	}
	return len(inner) > 0
}

// coversGeo: what is turned around is compared with its like only.
func coversGeo(outer, inner *config.GeoMatch) bool {
	switch {
	case outer == nil:
		return true
	case inner == nil || outer.Not != inner.Not:
		return false
	case outer.Not:
		outer, inner = inner, outer
	}
	return coversAny(outer.Countries, inner.Countries) && coversAny(outer.Continents, inner.Continents) && coversAny(outer.ASNs, inner.ASNs)
}

// coversPath: an expression is compared by its text only, but for one that
// holds for every path.
func (o *outline) coversPath(inner *outline) bool {
	return o.key == inner.key || holdsForAll(&o.route.Match.Path) || segmentsCover(o.shape, inner.shape)
}

func holdsForAll(p *snapshot.Path) bool {
	switch p.Kind {
	case snapshot.PathAny:
		return true
	case snapshot.PathPrefix:
		return p.Text == "/"
	case snapshot.PathRegex:
		return p.Text == ".*" || p.Text == "/.*" || p.Text == ".+"
	case snapshot.PathTemplate:
		return len(p.Segments) == 1 && p.Segments[0].Rest
	}
	return false
}

// shape is a condition on the path as segments; nil for an expression.
type shape struct {
	segments []snapshot.Segment
	below    bool // a prefix: holds for these segments and for more
}

func shapeOf(p *snapshot.Path) *shape {
	switch p.Kind {
	case snapshot.PathTemplate:
		return &shape{segments: p.Segments}
	case snapshot.PathAny:
		return &shape{below: true}
	case snapshot.PathExact, snapshot.PathPrefix:
		s := &shape{below: p.Kind == snapshot.PathPrefix}
		if text := strings.TrimPrefix(p.Text, "/"); text != "" || !s.below {
			for _, literal := range strings.Split(text, "/") {
				s.segments = append(s.segments, snapshot.Segment{Literal: literal})
			}
		}
		return s
	}
	return nil
}

// lead is the path of the literal segments at the start: "/users" of
// /users/{id}, "" of "/".
func (s *shape) lead() string {
	lead := ""
	for _, segment := range s.segments {
		if segment.Name != "" || segment.Literal == "" {
			break
		}
		lead += "/" + segment.Literal
	}
	return lead
}

// segmentsCover tells whether every path of inner's shape is of outer's.
func segmentsCover(outer, inner *shape) bool {
	if outer == nil || inner == nil {
		return false
	}
	for n, o := range outer.segments {
		if n >= len(inner.segments) { // inner may end here, outer does not
			return false
		}
		i := inner.segments[n]
		switch {
		case o.Rest:
			return true
		case i.Rest:
			return false
		case o.Name != "":
			if i.Name == "" && i.Literal == "" { // {name} needs a text
				return false
			}
		case i.Name != "" || i.Literal != o.Literal:
			return false
		}
	}
	return outer.below || len(outer.segments) == len(inner.segments) && !inner.below
}
