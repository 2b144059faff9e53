package route

import (
	"net/netip"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

// indexed is a route as the index holds it: one for all its hosts, never
// written again.
type indexed struct {
	// What a search reads of every route that it visits, side by side.
	priority int
	depth    int // segments of a prefix; 0 for "/" and no condition
	regex    *regexp.Regexp
	kind     snapshot.PathKind
	serves   traffic
	plain    bool // no condition but those on host and path
	entry    Entry

	methods    []string
	conditions []condition // headers, cookies, query
	clients    []netip.Prefix
	geo        *config.GeoMatch // nil: none
	grpc       bool
	alpn       []string
	ports      []uint16

	name     string
	hosts    []string // "*" is any
	path     string   // of exact and prefix, the latter without a slash at its end; source of template and regex
	segments []snapshot.Segment
	headers  int // conditions that count as header matches in the order of precedence
	queries  int
}

func index(entry Entry) *indexed {
	match := &entry.Route.Match
	r := &indexed{
		entry: entry, name: entry.Route.Spec.Name, priority: entry.Route.Spec.Priority,
		kind: match.Path.Kind, path: strings.Clone(match.Path.Text), segments: match.Path.Segments,
		regex: whole(match.Path.Regex), methods: match.Methods,
		headers: len(match.Headers) + len(match.Cookies), queries: len(match.Query),
	}
	r.serves = trafficOf(&entry.Route.Spec)
	r.entry.fill()
	for _, host := range match.Hosts {
		r.hosts = append(r.hosts, strings.Clone(host)) // near the rest, not in the text of the document
	}
	if len(r.hosts) == 0 {
		r.hosts = []string{"*"}
	}
	slices.Sort(r.hosts)
	r.hosts = slices.Compact(r.hosts)
	if r.kind == snapshot.PathPrefix {
		r.path = strings.TrimSuffix(r.path, "/")
		r.depth = strings.Count(r.path, "/")
	}
	r.conditions = make([]condition, 0, r.headers+r.queries)
	r.conditions = appendConditions(r.conditions, inHeader, match.Headers)
	r.conditions = appendConditions(r.conditions, inCookie, match.Cookies)
	r.conditions = appendConditions(r.conditions, inQuery, match.Query)
	for _, p := range match.Clients {
		r.clients = append(r.clients, unmapped(p))
	}
	r.geo, r.grpc, r.alpn, r.ports = match.Geo, match.GRPC, match.ALPN, match.Ports
	for _, given := range [...]bool{len(r.clients) > 0, r.geo != nil, r.grpc, len(r.alpn) > 0, len(r.ports) > 0} {
		if given {
			r.headers++
		}
	}
	r.plain = r.headers+r.queries+len(r.methods) == 0
	return r
}

// unmapped is the IPv4 range that a range of IPv4-mapped IPv6 addresses stands
// for; clients are compared in that form (requestkey.Client).
func unmapped(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked()
}

// holds tells whether every condition but those on host and path holds.
func (r *indexed) holds(req *stream.Request) bool {
	if r.plain {
		return true
	}
	if len(r.methods) > 0 && !slices.Contains(r.methods, req.Method) || r.grpc && req.GRPC == stream.NotGRPC {
		return false
	}
	if !r.holdsConn(req.Conn) {
		return false
	}
	for i := range r.conditions {
		if !r.conditions[i].holds(req) {
			return false
		}
	}
	return (len(r.clients) == 0 || r.holdsClient(req)) && (r.geo == nil || holdsGeo(r.geo, req))
}

// holdsGeo looks the client up, once for each request.
func holdsGeo(m *config.GeoMatch, req *stream.Request) bool {
	p := req.Place()
	holds := (len(m.Countries) == 0 || slices.Contains(m.Countries, p.Country)) &&
		(len(m.Continents) == 0 || slices.Contains(m.Continents, p.Continent)) &&
		(len(m.ASNs) == 0 || slices.Contains(m.ASNs, int(p.ASN)))
	return holds != m.Not
}

func (r *indexed) holdsClient(req *stream.Request) bool {
	client := requestkey.Client(req)
	for _, p := range r.clients {
		if p.Contains(client) {
			return true
		}
	}
	return false
}

// source says where a condition finds its value.
type source uint8

const (
	inHeader source = iota
	inCookie
	inQuery
	inClaim
)

var sourceNames = [...]string{inHeader: "header", inCookie: "cookie", inQuery: "query parameter", inClaim: "claim"}

// condition is on one named value (config.ValueMatch). All parts that are set
// must hold; not turns the outcome around, so that "not exact" holds for a
// request that lacks the value.
type condition struct {
	in     source
	name   string
	claim  stream.ClaimName // of inClaim
	exact  *string
	prefix *string
	regex  *regexp.Regexp // whole value
	absent bool
	not    bool
}

func appendConditions(dst []condition, in source, values []snapshot.Value) []condition {
	for _, v := range values {
		made := condition{in: in, name: v.Name, exact: v.Exact, prefix: v.Prefix, regex: whole(v.Regex), absent: v.Absent, not: v.Not}
		if in == inClaim {
			made.claim, _ = stream.ParseClaimName(v.Name) // compile has read it
		}
		dst = append(dst, made)
	}
	return dst
}

func (c *condition) holds(req *stream.Request) bool {
	if c.in == inClaim {
		return c.holdsClaim(req) != c.not
	}
	value, present := c.value(req)
	return c.plain(value, present) != c.not
}

func (c *condition) value(req *stream.Request) (value string, present bool) {
	switch c.in {
	case inHeader:
		return requestkey.Header(&req.Header, c.name)
	case inCookie:
		return requestkey.Cookie(&req.Header, c.name)
	}
	return req.Target.QueryGet(c.name)
}

// holdsClaim is the condition without not, on a claim: on its text, or on one of
// a list.
func (c *condition) holdsClaim(req *stream.Request) bool {
	if req.Caller == nil || req.Caller.Claims == nil {
		return c.absent
	}
	claim, present := req.Caller.Claims.At(c.claim)
	switch {
	case c.absent || !present:
		return c.absent && !present
	case c.exact == nil && c.prefix == nil && c.regex == nil:
		return true // it is there, whatever it is
	}
	return claim.Any(func(text string) bool { return c.plain(text, true) })
}

// plain is the condition without not.
func (c *condition) plain(value string, present bool) bool {
	switch {
	case c.absent || !present:
		return c.absent && !present
	case c.exact != nil && value != *c.exact:
		return false
	case c.prefix != nil && !strings.HasPrefix(value, *c.prefix):
		return false
	}
	return c.regex == nil || c.regex.MatchString(value)
}

// whole makes a regex match whole values only. One that is anchored on both
// sides already is used as it is.
func whole(re *regexp.Regexp) *regexp.Regexp {
	if re == nil {
		return nil
	}
	parsed, err := syntax.Parse(re.String(), syntax.Perl)
	if err != nil {
		panic("route: a compiled regex does not parse: " + err.Error()) // re came out of the same parser
	}
	if isAnchored(parsed) {
		return re
	}
	// String of the parsed form closes what the source leaves open ("\Q").
	return regexp.MustCompile(`\A(?:` + parsed.String() + `)\z`)
}

func isAnchored(re *syntax.Regexp) bool {
	return re.Op == syntax.OpConcat && len(re.Sub) > 1 &&
		re.Sub[0].Op == syntax.OpBeginText && re.Sub[len(re.Sub)-1].Op == syntax.OpEndText
}
