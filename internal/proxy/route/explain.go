package route

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

// Candidate is a route that Find regarded, or nearly, and what became of it.
type Candidate struct {
	// Entry is nil in the last candidate of a list that leaves some out.
	Entry *Entry
	// Host is the host of the route that the request came in by, or the one
	// that it nearly did.
	Host string
	Won  bool
	// Why it lost, or how many are left out.
	Why string
	// Omitted is how many routes this candidate stands for, without an Entry.
	Omitted int
}

// maxCandidates bounds what Explain lists.
const maxCandidates = 100

// Explain lists the routes whose host matches, or nearly does, in the order of
// precedence, with the reason why each of them lost. It goes over all routes:
// for people, not for the path of a request.
func (t *Table) Explain(req *stream.Request) []Candidate {
	near, others := t.near(req.Target.Host)
	entry := t.Find(req)
	won := slices.IndexFunc(near, func(s standing) bool { return &s.route.entry == entry })
	var winner *standing
	if won >= 0 {
		winner = &near[won]
	}
	shown := near[:min(len(near), maxCandidates)]
	if won >= maxCandidates { // the last line is kept for the winner
		shown = append(slices.Clone(near[:maxCandidates-1]), *winner)
	}
	list := make([]Candidate, 0, len(shown)+1)
	for _, s := range shown {
		c := Candidate{Entry: &s.route.entry, Host: s.host, Won: winner != nil && s.route == winner.route}
		if !c.Won {
			c.Why = loss(s, winner, req)
		}
		list = append(list, c)
	}
	if left := others + len(near) - len(shown); left > 0 {
		list = append(list, omission(others, len(near)-len(shown)))
	}
	return list
}

func omission(others, more int) Candidate {
	c := Candidate{Omitted: others + more}
	switch {
	case more == 0:
		c.Why = fmt.Sprintf("%s for other hosts", routes(others))
	case others == 0:
		c.Why = fmt.Sprintf("%s more for this host", routes(more))
	default:
		c.Why = fmt.Sprintf("%s more for this host, %s for other hosts", routes(more), routes(others))
	}
	return c
}

func routes(n int) string {
	if n == 1 {
		return "1 route"
	}
	return fmt.Sprintf("%d routes", n)
}

// near has the routes that stand under host, each by the best of its hosts,
// and those that nearly do, in the order of precedence; others is the number
// of the rest.
func (t *Table) near(host string) (near []standing, others int) {
	t.names.each(func(_ string, r *indexed) {
		best := standing{route: r}
		for _, h := range r.hosts {
			if hostHolds(h, host) && (best.host == "" || better(h, best.host)) {
				best.host = h
			}
		}
		if best.host == "" {
			i := slices.IndexFunc(r.hosts, func(h string) bool { return isNear(h, host) })
			if i < 0 {
				others++
				return
			}
			best.host = r.hosts[i]
		}
		near = append(near, best)
	})
	slices.SortFunc(near, func(a, b standing) int {
		order, _ := precedence(a, b)
		return order
	})
	return near, others
}

func better(a, b string) bool {
	order, _ := hostPrecedence(a, b)
	return order < 0
}

func hostHolds(pattern, host string) bool {
	switch hostClass(pattern) {
	case hostAny:
		return true
	case hostWildcard:
		return len(host) >= len(pattern) && strings.HasSuffix(host, pattern[1:])
	}
	return pattern == host
}

// isNear tells of a host that does not match, but that a person may take for
// one that does: one of the two is a parent of the other, or they are siblings
// by "www".
func isNear(pattern, host string) bool {
	p := strings.TrimPrefix(strings.TrimPrefix(pattern, "*."), "www.")
	h := strings.TrimPrefix(host, "www.")
	if !strings.Contains(p, ".") || !strings.Contains(h, ".") {
		return p == h
	}
	return p == h || strings.HasSuffix(h, "."+p) || strings.HasSuffix(p, "."+h)
}

// loss is why s did not win; winner is nil when nothing did.
func loss(s standing, winner *standing, req *stream.Request) string {
	if !hostHolds(s.host, req.Target.Host) {
		return fmt.Sprintf("host %s is not %s", orNone(req.Target.Host), s.host)
	}
	if asks := trafficFor(req); s.route.serves != asks {
		return fmt.Sprintf("the route is for %s, not for %s", trafficNames[s.route.serves], trafficNames[asks])
	}
	if why := pathLoss(s.route, req.Target.Path); why != "" {
		return why
	}
	if why := s.route.refusal(req); why != "" {
		return why
	}
	if winner == nil { // then Find and refusal disagree: a defect, and people should see it
		return "every condition holds"
	}
	_, why := precedence(*winner, s)
	return fmt.Sprintf("loses to route %s: %s", winner.route.name, why)
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}

// pathLoss is why the condition on the path does not hold, or "".
func pathLoss(r *indexed, path string) string {
	if r.kind == snapshot.PathAny {
		return ""
	}
	if !isPath(path) {
		return fmt.Sprintf("%s is no path, and the route has a condition on the path", orNone(path))
	}
	switch r.kind {
	case snapshot.PathExact:
		if path != r.path {
			return fmt.Sprintf("path %s is not %s", path, r.path)
		}
	case snapshot.PathTemplate:
		if !holdsTemplate(r.segments, path) {
			return fmt.Sprintf("path %s is not of the form %s", path, r.path)
		}
	case snapshot.PathRegex:
		if !r.regex.MatchString(path) {
			return fmt.Sprintf("path %s does not match %s", path, r.entry.Route.Match.Path.Text)
		}
	case snapshot.PathPrefix:
		if !isBelow(path, r.path) {
			return fmt.Sprintf("path %s is not below %s", path, r.path)
		}
	}
	return ""
}

// refusal is why a condition other than host and path does not hold, or "".
func (r *indexed) refusal(req *stream.Request) string {
	if len(r.methods) > 0 && !slices.Contains(r.methods, req.Method) {
		return fmt.Sprintf("method %s is not %s", req.Method, strings.Join(r.methods, " or "))
	}
	if r.grpc && req.GRPC == stream.NotGRPC {
		return "the request is no gRPC call"
	}
	if why := r.refusalConn(req.Conn); why != "" {
		return why
	}
	for i := range r.conditions {
		if c := &r.conditions[i]; !c.holds(req) {
			return c.refusal(req)
		}
	}
	if len(r.clients) > 0 && !r.holdsClient(req) {
		return fmt.Sprintf("client %s is not in %s", client(req), ranges(r))
	}
	if r.geo != nil && !holdsGeo(r.geo, req) {
		return fmt.Sprintf("client %s is in %s: match.geo does not hold", client(req), placeOf(req))
	}
	return ""
}

// refusalConn is why a condition on the connection does not hold, or "".
func (r *indexed) refusalConn(conn *stream.Conn) string {
	if port := conn.Local.Port(); len(r.ports) > 0 && !slices.Contains(r.ports, port) {
		wanted := make([]string, len(r.ports))
		for i, p := range r.ports {
			wanted[i] = strconv.Itoa(int(p))
		}
		return fmt.Sprintf("port %d is not %s", port, strings.Join(wanted, " or "))
	}
	if len(r.alpn) > 0 && !r.holdsALPN(conn) {
		return "ALPN has none of " + strings.Join(r.alpn, ", ")
	}
	return ""
}

func client(req *stream.Request) string {
	if !req.Client.IsValid() {
		return "(unknown)"
	}
	return req.Client.String()
}

// placeOf is where the client is, for people.
func placeOf(req *stream.Request) string {
	p := req.Place()
	if p == (stream.Place{}) {
		return "no known place"
	}
	words := []string{}
	for _, word := range []string{p.Country, p.Continent} {
		if word != "" {
			words = append(words, word)
		}
	}
	if p.ASN != 0 {
		words = append(words, "AS"+strconv.FormatUint(uint64(p.ASN), 10))
	}
	return strings.Join(words, ", ")
}

func ranges(r *indexed) string {
	texts := make([]string, len(r.clients))
	for i, p := range r.clients {
		texts[i] = p.String()
	}
	return strings.Join(texts, ", ")
}

// refusal names the condition, never the value of the request: it may be a
// credential.
func (c *condition) refusal(req *stream.Request) string {
	what := sourceNames[c.in] + " " + c.name
	_, present := c.value(req)
	switch {
	case c.absent && !c.not:
		return what + " is present"
	case !present:
		return what + " is absent"
	}
	verb, parts := " does not ", []string(nil)
	if c.not {
		verb = " does "
	}
	if c.exact != nil {
		parts = append(parts, fmt.Sprintf("equal %q", *c.exact))
	}
	if c.prefix != nil {
		parts = append(parts, fmt.Sprintf("begin with %q", *c.prefix))
	}
	if c.regex != nil {
		parts = append(parts, fmt.Sprintf("match %q", c.regex.String()))
	}
	if len(parts) == 0 { // not, with nothing but the name
		return what + " is present"
	}
	return what + verb + strings.Join(parts, " and ")
}
