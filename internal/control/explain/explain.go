// Package explain tells what a snapshot would do with one request: which
// listener and route take it and why the others do not, what the upstream would
// see, and where it would go. It sends nothing: how a route is found and what
// its action does are functions that the assembler brings, made of the stages
// that do it for real.
package explain

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/canary"
	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

// Query is the request to explain, as a person types it.
type Query struct {
	// Method is that of a request, or GRPC for a call (a POST), or TCP or UDP for a
	// connection or session.
	Method string
	// URL is http://host[:port]/path?query, or a path alone when a Host header
	// is among Header; host:port for CONNECT; tcp://[host][:port],
	// tls://name[:port]?alpn=h2,... or udp://[host][:port] for what is carried.
	URL    string
	Header [][2]string
	// Claims are what a verified token of the request says, by name; none: it has
	// no token.
	Claims [][2]string
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
	Chosen   bool          // by the match of that side
	// Canary is what the canary of the route is at; nil: it has none, or nothing
	// runs.
	Canary *canary.State
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
	req := e.enter(s, parsed, listener, stages)
	if e.Refused != "" {
		return e, nil
	}
	if s.Places != nil {
		req.Conn.Places = s.Places
		e.describePlace(req)
	}
	if len(q.Claims) > 0 {
		req.Identify(&stream.Claims{All: claimsOf(q.Claims)})
	}
	candidates := stages.Find(listener.Spec.Name, req)
	for i := range candidates {
		e.Candidates = append(e.Candidates, viewOf(&candidates[i]))
	}
	won := winner(candidates)
	if won == nil {
		e.Refused = parsed.kind.lost(listener)
		return e, nil
	}
	return e, e.describeRoute(s, won, listener, req, stages, parsed.kind)
}

// describePlace says where the client is.
func (e *Explanation) describePlace(req *stream.Request) {
	p := req.Place()
	e.Request.Country, e.Request.Continent, e.Request.ASN = p.Country, p.Continent, p.ASN
}

// claimsOf are claims that somebody has typed; one that is there twice is a list.
func claimsOf(typed [][2]string) stream.Claim {
	all := stream.Claim{Kind: stream.ObjectClaim, Members: map[string]stream.Claim{}}
	for _, c := range typed {
		steps, err := stream.ParseClaimName(c[0])
		if err != nil {
			continue
		}
		at := all
		for _, step := range steps[:len(steps)-1] {
			below := at.Members[step]
			if below.Kind != stream.ObjectClaim {
				below = stream.Claim{Kind: stream.ObjectClaim, Members: map[string]stream.Claim{}}
				at.Members[step] = below
			}
			at = below
		}
		last, text := steps[len(steps)-1], stream.Claim{Kind: stream.TextClaim, Text: c[1], Quoted: true}
		switch before := at.Members[last]; before.Kind {
		case stream.TextClaim:
			at.Members[last] = stream.Claim{Kind: stream.ListClaim, Items: []stream.Claim{before, text}}
		case stream.ListClaim:
			before.Items = append(before.Items, text)
			at.Members[last] = before
		default:
			at.Members[last] = text
		}
	}
	return all
}

// enter makes the request that the routes see, and notes why there is none.
func (e *Explanation) enter(s *snapshot.Snapshot, u *url, l *snapshot.Listener, stages Stages) *stream.Request {
	if framed := l.Spec.Protocol == "framed" && u.kind == request; !takes(l, u) && !framed { // a listener that was asked for by name
		e.Refused = "listener " + l.Spec.Name + " " + misplaced(l, u)
		return nil
	}
	if u.kind == connection || u.kind == session {
		req, note, refused := u.carried(s, l, stages)
		if e.Refused = refused; note != "" {
			e.Notes = append(e.Notes, note)
		}
		return req
	}
	req, refused := u.request(l)
	if refused == "" {
		e.describeRequest(req)
	}
	if refused == "" && u.kind == request { // the host of CONNECT is that of another server
		refused = unknownName(l, req.Target.Host)
	}
	e.Refused = refused
	return req
}

// request is the request as the edge makes it, or why the edge refuses it.
func (u *url) request(l *snapshot.Listener) (*stream.Request, string) {
	req := &stream.Request{
		Method: u.method, Proto: stream.HTTP11, Header: u.header.Clone(), Body: stream.NoBody, Client: u.client,
		Conn: &stream.Conn{Listener: l.Spec.Name, Remote: netip.AddrPortFrom(u.client, 40000)},
	}
	scheme := "http"
	if u.secure(l) {
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
	if req.Target = target; req.Conn.TLS != nil && u.kind == request {
		req.Conn.TLS.ServerName = target.Host
	}
	if req.GRPC = stream.GRPCOf(u.method, &u.header); req.GRPC == stream.GRPCCall {
		req.Proto = stream.HTTP2
	}
	return req, ""
}

// secure tells whether the client speaks TLS with the listener.
func (u *url) secure(l *snapshot.Listener) bool {
	return l.TLS != nil && (u.scheme != "http" || l.Spec.Protocol != "detect")
}

// describeRequest shows the request as the stages see it.
func (e *Explanation) describeRequest(req *stream.Request) {
	scheme := req.Target.Scheme
	if req.Method == "CONNECT" { // it names a host and a port only
		scheme = ""
	}
	e.Request = Request{
		Method: req.Method, Scheme: scheme, Host: hostPort(&req.Target), Path: req.Target.Path,
		Query: req.Target.Query, Client: req.Client.String(), GRPC: req.GRPC != stream.NotGRPC,
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

func (e *Explanation) describeRoute(s *snapshot.Snapshot, route *snapshot.Route, l *snapshot.Listener, req *stream.Request, stages Stages, k kind) error {
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
	if note := underOverload(spec.Importance, &s.Overload); note != "" {
		e.Notes = append(e.Notes, note)
	}
	for _, f := range route.Filters {
		settings, err := config.NewNode(f.Settings).CanonicalJSON()
		if err != nil {
			return fmt.Errorf("settings of filter %s: %w", f.Name, err)
		}
		e.Route.Filters = append(e.Route.Filters, Filter{Name: f.Name, Settings: settings})
	}
	if req.Caller == nil && finds(route, "jwt") {
		e.Notes = append(e.Notes, "a token is not verified here, and the request is nobody's: say what it claims with --claim name=value")
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
	e.Route.Timeout = spec.Timeout
	if k == request {
		e.Route.Upstream = upstreamOf(&req.Target, &outcome.Target)
	} else {
		e.describeCarriage(route, l, req, k)
	}
	if e.Route.Target != "" {
		return nil
	}
	e.Route.Retry, e.Route.Hedge = retryOf(&spec.Retry, req.Method), hedgeOf(spec.Hedge, req)
	e.describeSplit(spec, &outcome, req)
	for _, k := range s.Clusters {
		if mayTake(spec, k.Spec.Name) {
			e.Clusters = append(e.Clusters, clusterOf(k))
		}
	}
	return nil
}

// finds tells whether a filter of that name stands on the route.
func finds(route *snapshot.Route, filter string) bool {
	return slices.ContainsFunc(route.Filters, func(f snapshot.Filter) bool { return f.Name == filter })
}

// mayTake tells whether requests of the route may go to a cluster.
func mayTake(spec *config.Route, cluster string) bool {
	return slices.ContainsFunc(spec.To, func(t config.Target) bool { return t.Cluster == cluster }) || spec.Canary != nil && spec.Canary.Cluster == cluster
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

// hedgeOf is nil for a route without one.
func hedgeOf(spec *config.Hedge, req *stream.Request) *Hedge {
	if spec == nil {
		return nil
	}
	h := &Hedge{Quantile: spec.Quantile, Least: spec.Least, Share: spec.Share}
	switch {
	case req.GRPC != stream.NotGRPC:
		h.Not = "it is a call of gRPC"
	case !slices.Contains(spec.Methods, req.Method):
		h.Not = req.Method + " is not in hedge.methods"
	}
	return h
}

func (e *Explanation) describeSplit(spec *config.Route, outcome *Outcome, req *stream.Request) {
	sum := 0
	for _, target := range spec.To {
		sum += target.Weight
	}
	for _, target := range spec.To {
		e.Route.Sides = append(e.Route.Sides, Side{Cluster: target.Side(), Weight: target.Weight, Percent: 100 * float64(target.Weight) / float64(sum)})
	}
	if c := spec.Canary; c != nil {
		e.Route.Canary = &Canary{Cluster: c.Side(), Steps: c.Steps, Hold: c.Hold, State: outcome.Canary}
	} else if len(spec.To) == 1 {
		e.Route.Cluster = spec.To[0].Side()
		return
	}
	e.Route.SplitKey = spec.Split.Key
	if outcome.Chosen {
		e.Route.Cluster, e.Route.Chosen = outcome.Cluster, true
		return
	}
	if key, err := requestkey.Parse(spec.Split.Key); err == nil {
		if value, ok := key.Of(req); ok && value != "" { // else the side is random
			e.Route.Cluster = outcome.Cluster
		}
	}
}

func clusterOf(k *snapshot.Cluster) Cluster {
	c := Cluster{
		Name: k.Spec.Name, Balance: k.Spec.Balance, ConnectTimeout: k.Spec.ConnectTimeout, TLS: k.TLS != nil,
		Protocol: k.Spec.Protocol, ProxyProtocol: k.Spec.ProxyProtocol,
	}
	if k.Spec.DNS != nil {
		c.SRV = k.Spec.DNS.SRV
	}
	switch c.Balance {
	case "hash", "maglev", "rendezvous":
		c.HashKey = k.Spec.HashKey
	}
	if z := k.Spec.Zone; z != nil {
		c.Zone = z.Local
	}
	if s := k.Spec.Sticky; s != nil {
		if c.Sticky = "cookie"; s.Cookie == nil {
			c.Sticky = s.Header
		}
	}
	c.Limits = limitsOf(&k.Spec.Limits)
	switch {
	case k.Spec.LoadReports && k.Spec.LoadStream != nil:
		c.Load = "responses and streams"
	case k.Spec.LoadReports:
		c.Load = "responses"
	case k.Spec.LoadStream != nil:
		c.Load = "streams"
	}
	for _, endpoint := range k.Spec.Endpoints {
		c.Endpoints = append(c.Endpoints, Endpoint{
			Address: cmp.Or(endpoint.Address, "SRV "+endpoint.SRV), Weight: endpoint.Weight, Priority: endpoint.Priority, Zone: endpoint.Zone, Labels: endpoint.Labels,
		})
	}
	return c
}

// limitsOf is nil for those that every cluster has.
func limitsOf(spec *config.ClusterLimits) *Limits {
	usual, each := config.Default[config.ClusterLimits](), spec.Endpoint
	if each == nil && spec.MaxRequests == usual.MaxRequests && spec.MaxConnections == usual.MaxConnections && spec.MaxRetries == usual.MaxRetries {
		return nil
	}
	l := &Limits{Requests: spec.MaxRequests, Connections: spec.MaxConnections, Retries: spec.MaxRetries}
	if each != nil {
		l.Endpoint = &EndpointLimits{Requests: each.MaxRequests, Connections: each.MaxConnections, Pending: each.MaxPending}
	}
	return l
}

// underOverload is what the importance of a route means; "" for what holds unless
// somebody says otherwise.
func underOverload(importance string, o *config.Overload) string {
	switch {
	case !o.Enabled:
		return ""
	case importance == "low":
		return fmt.Sprintf("with importance: low, requests are the first to be refused under overload: from %.4g%% of a resource on (overload.shed)", 100*o.Shed)
	case importance == "high":
		return "with importance: high, no request is refused under overload"
	}
	return ""
}
