// Package explain tells what a snapshot would do with one request: which
// listener and route take it and why the others do not, what the upstream would
// see, and where it would go. It sends nothing: how a route is found and what
// its action does are functions that the assembler brings, made of the stages
// that do it for real.
package explain

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

// Query is the request to explain, as a person types it.
type Query struct {
	Method string
	// URL is http://host[:port]/path?query, or a path alone when a Host header
	// is among Header.
	URL    string
	Header [][2]string
	// Client is the address of the client; the zero Addr: 192.0.2.1, an address
	// that nobody has.
	Client netip.Addr
	// Listener is the name of one; empty: the one that fits the URL.
	Listener string
}

// Stages is what the stages of the request path say.
type Stages struct {
	// Find lists routes of a listener in the order of precedence.
	Find func(listener string, req *stream.Request) []Candidate
	// Act runs the action of a route on the request, with nothing behind it.
	Act func(route *snapshot.Route, req *stream.Request) (Outcome, error)
}

// Candidate is a route that was regarded, or some that were left out.
type Candidate struct {
	Route   *snapshot.Route // nil when Omitted is set
	Host    string          // of the route, by which the request came in
	Won     bool
	Why     string // it lost
	Omitted int
}

// Outcome is what an action did.
type Outcome struct {
	// Response is the answer of a redirect or a direct response; nil when the
	// request goes to a cluster.
	Response *stream.Response
	Target   stream.Target // as the upstream would see it
	Cluster  string        // where this request would go
}

// Explain answers q. The error is about q itself; what the proxy would refuse
// stands in Explanation.Refused.
func Explain(s *snapshot.Snapshot, q Query, stages Stages) (*Explanation, error) {
	parsed, err := parseURL(&q)
	if err != nil {
		return nil, err
	}
	e := &Explanation{Snapshot: s.Number}
	listener, err := e.chooseListener(s, &q, parsed, stages)
	if err != nil || listener == nil {
		return e, err
	}
	req, refused := parsed.request(listener)
	if refused == "" {
		e.describeRequest(req)
		refused = unknownName(listener, req.Target.Host)
	}
	if e.Refused = refused; refused != "" {
		return e, nil
	}
	var won *snapshot.Route
	for _, c := range stages.Find(listener.Spec.Name, req) {
		e.Candidates = append(e.Candidates, viewOf(&c))
		if c.Won {
			won = c.Route
		}
	}
	if won == nil {
		e.Refused = "no route matches: 404"
		return e, nil
	}
	return e, e.describeRoute(s, won, listener, req, stages)
}

// url is a URL in its parts, not changed in any way.
type url struct {
	scheme, authority, target string // scheme is "" when the listener decides
	method                    string
	header                    stream.Header
	client                    netip.Addr
}

// parseURL cuts the URL without reading it: that is done as for every request.
func parseURL(q *Query) (*url, error) {
	u := &url{method: q.Method, client: q.Client}
	if !u.client.IsValid() {
		u.client = netip.AddrFrom4([4]byte{192, 0, 2, 1})
	}
	for _, field := range q.Header {
		if stream.EqualFold(field[0], "Host") {
			u.authority = field[1]
			continue
		}
		u.header.Add(field[0], field[1])
	}
	rest, _, _ := strings.Cut(q.URL, "#") // clients do not send it
	scheme, behind, absolute := strings.Cut(rest, "://")
	switch {
	case absolute && (scheme == "http" || scheme == "https"):
		end := strings.IndexAny(behind, "/?")
		if end < 0 {
			end = len(behind)
		}
		u.scheme, u.target = scheme, behind[end:]
		if u.authority == "" {
			u.authority = behind[:end]
		}
		if !strings.HasPrefix(u.target, "/") {
			u.target = "/" + u.target
		}
	case strings.HasPrefix(rest, "/"), rest == "*":
		u.target = rest
	default:
		return nil, fmt.Errorf("URL %q is neither http://HOST/PATH, https://HOST/PATH nor /PATH", q.URL)
	}
	return u, nil
}

// request is the request as the edge makes it, or why the edge refuses it.
func (u *url) request(l *snapshot.Listener) (*stream.Request, string) {
	req := &stream.Request{
		Method: u.method, Proto: stream.HTTP11, Header: u.header.Clone(), Body: stream.NoBody, Client: u.client,
		Conn: &stream.Conn{Listener: l.Spec.Name, Remote: netip.AddrPortFrom(u.client, 40000)},
	}
	scheme := "http"
	if l.TLS != nil {
		scheme = "https"
		req.Conn.TLS = &stream.TLS{}
	}
	if limit := l.Spec.Limits.MaxURIBytes; limit > 0 && len(u.target) > int(limit) {
		return req, fmt.Sprintf("the target has %d bytes, more than max_uri_bytes (%s): 414", len(u.target), limit)
	}
	target, fault := stream.ParseTarget(scheme, u.method, u.target, u.authority)
	if fault != nil {
		return req, fmt.Sprintf("%v", fault)
	}
	if target.Host == "" {
		return req, "the Host field is missing: 400 (give a whole URL, or a Host header)"
	}
	if req.Target = target; req.Conn.TLS != nil {
		req.Conn.TLS.ServerName = target.Host
	}
	return req, ""
}

// describeRequest shows the request as the stages see it.
func (e *Explanation) describeRequest(req *stream.Request) {
	e.Request = Request{
		Method: req.Method, Scheme: req.Target.Scheme, Host: hostPort(&req.Target), Path: req.Target.Path,
		Query: req.Target.Query, Client: req.Client.String(),
	}
}

func hostPort(t *stream.Target) string {
	if t.Port == "" {
		return t.Host
	}
	return t.Host + ":" + t.Port
}

func viewOf(c *Candidate) CandidateView {
	view := CandidateView{Host: c.Host, Won: c.Won, Why: c.Why, Omitted: c.Omitted}
	if c.Route != nil {
		view.Route, view.Pos = c.Route.Spec.Name, place(c.Route.Spec.Pos)
	}
	return view
}

// place is where something stands, or "" for what a tool made.
func place(pos config.Pos) string {
	if pos.Line == 0 {
		return ""
	}
	return pos.String()
}

func (e *Explanation) describeRoute(s *snapshot.Snapshot, route *snapshot.Route, l *snapshot.Listener, req *stream.Request, stages Stages) error {
	spec := &route.Spec
	e.Route = &Route{Name: spec.Name, Pos: place(spec.Pos)}
	for _, h := range s.Held {
		if h.Kind == "route" && h.Name == spec.Name {
			e.Route.Held = true
		}
	}
	if spec.ClientCertificate == "require" {
		e.Notes = append(e.Notes, "the route needs a verified client certificate: without one the answer is 403, or 421 on a connection for another host")
	}
	for _, f := range route.Filters {
		settings, err := config.NewNode(f.Settings).CanonicalJSON()
		if err != nil {
			return fmt.Errorf("settings of filter %s: %w", f.Name, err)
		}
		e.Route.Filters = append(e.Route.Filters, Filter{Name: f.Name, Settings: settings})
	}
	outcome, err := stages.Act(route, req)
	if err != nil {
		return fmt.Errorf("the action of route %s: %w", spec.Name, err)
	}
	if outcome.Response != nil {
		location, _ := outcome.Response.Header.GetID(stream.Location)
		e.Route.Answer = &Answer{Status: outcome.Response.Status, Location: location}
		return nil
	}
	e.Route.Upstream = upstreamOf(&req.Target, &outcome.Target)
	e.Route.Timeout = spec.Timeout
	e.Route.Retry = retryOf(&spec.Retry, req.Method)
	e.describeSplit(spec, outcome.Cluster, req)
	for _, k := range s.Clusters {
		for _, target := range spec.To {
			if target.Cluster == k.Spec.Name {
				e.Clusters = append(e.Clusters, clusterOf(k))
			}
		}
	}
	return nil
}

// upstreamOf is what the upstream sees, with what was rewritten.
func upstreamOf(from, to *stream.Target) *Upstream {
	return &Upstream{Host: hostPort(to), Path: to.Path, Rewritten: from.Path != to.Path || hostPort(from) != hostPort(to)}
}

func retryOf(spec *config.Retry, method string) *Retry {
	r := &Retry{Attempts: spec.Attempts, On: spec.On, PerTry: spec.PerTry, Backoff: spec.BackoffBase, BackoffMax: spec.BackoffMax}
	for _, m := range spec.Methods {
		r.Repeatable = r.Repeatable || m == method
	}
	return r
}

func (e *Explanation) describeSplit(spec *config.Route, chosen string, req *stream.Request) {
	sum := 0
	for _, target := range spec.To {
		sum += target.Weight
	}
	for _, target := range spec.To {
		e.Route.Sides = append(e.Route.Sides, Side{Cluster: target.Cluster, Weight: target.Weight, Percent: 100 * float64(target.Weight) / float64(sum)})
	}
	if len(spec.To) == 1 {
		e.Route.Cluster = spec.To[0].Cluster
		return
	}
	e.Route.SplitKey = spec.Split.Key
	if key, err := requestkey.Parse(spec.Split.Key); err == nil {
		if value, ok := key.Of(req); ok && value != "" { // else the side is random
			e.Route.Cluster = chosen
		}
	}
}

func clusterOf(k *snapshot.Cluster) Cluster {
	c := Cluster{Name: k.Spec.Name, Balance: k.Spec.Balance, ConnectTimeout: k.Spec.ConnectTimeout, TLS: k.TLS != nil}
	if k.Spec.DNS != nil {
		c.SRV = k.Spec.DNS.SRV
	}
	for _, endpoint := range k.Spec.Endpoints {
		c.Endpoints = append(c.Endpoints, Endpoint{Address: endpoint.Address, Weight: endpoint.Weight})
	}
	return c
}
