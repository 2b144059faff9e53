package explain

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// String is the explanation for people: one line per step, in the order in
// which a request takes them.
func (e *Explanation) String() string {
	t := &text{}
	r := &e.Request
	url := r.Path
	if r.Host != "" {
		url = r.Host + url
		if r.Scheme != "" {
			url = r.Scheme + "://" + url
		}
	}
	if r.Query != "" {
		url += "?" + r.Query
	}
	t.line("request", "%s %s%s from %s%s", r.Method, url, word(r.GRPC, " (gRPC)"), r.Client, r.place())
	if l := e.Listener; l != nil {
		t.line("listener", "%s on %s%s%s", l.Name, l.Address, word(l.TLS, ", TLS"), at(l.Pos))
	}
	for _, other := range e.OtherListeners {
		t.line("", "not %s: %s", other.Name, other.Why)
	}
	e.routes(t)
	if e.Route != nil {
		e.Route.text(t)
	}
	for i := range e.Clusters {
		e.Clusters[i].text(t)
	}
	if e.Refused != "" {
		t.line("refused", "%s", e.Refused)
	}
	for _, note := range e.Notes {
		t.line("note", "%s", note)
	}
	return t.b.String()
}

// place is where the client is, or "".
func (r *Request) place() string {
	var words []string
	for _, code := range []string{r.Country, r.Continent} {
		if code != "" {
			words = append(words, code)
		}
	}
	if r.ASN != 0 {
		words = append(words, fmt.Sprintf("AS%d", r.ASN))
	}
	return word(len(words) > 0, " ("+strings.Join(words, ", ")+")")
}

// text is lines with a word at the start of each step.
type text struct{ b strings.Builder }

func (t *text) line(step, format string, args ...any) {
	fmt.Fprintf(&t.b, "%-9s ", step)
	fmt.Fprintf(&t.b, format, args...)
	t.b.WriteByte('\n')
}

func word(is bool, text string) string {
	if is {
		return text
	}
	return ""
}

func at(pos string) string { return word(pos != "", " ("+pos+")") }

func (e *Explanation) routes(t *text) {
	step := "route"
	for _, c := range e.Candidates {
		switch {
		case c.Won:
			t.line(step, "%s%s%s wins", c.Route, word(c.Host != "" && c.Host != "*", " by host "+c.Host), at(c.Pos))
		case c.Route == "":
			t.line(step, "and %s", c.Why)
		default:
			t.line(step, "not %s%s: %s", c.Route, at(c.Pos), c.Why)
		}
		step = ""
	}
}

func (r *Route) text(t *text) {
	if r.Held {
		t.line("held", "route %s has an error in its document; this is its last good version", r.Name)
	}
	for i, f := range r.Filters {
		t.line(word(i == 0, "filters"), "%d. %s %s", i+1, f.Name, f.Settings)
	}
	if a := r.Answer; a != nil {
		t.line("answer", "%d%s", a.Status, word(a.Location != "", " to "+a.Location))
		return
	}
	until := "the head of the response"
	if u := r.Upstream; u != nil {
		t.line("upstream", "sees %s for host %s%s", u.Path, u.Host, word(u.Rewritten, ", rewritten"))
	} else {
		until = "the connection is there"
		r.carriage(t)
	}
	if r.Retry == nil {
		t.line("timeout", "%s until %s", r.Timeout, until)
		return
	}
	t.line("timeout", "%s until %s%s", r.Timeout, until, word(r.Retry.PerTry > 0, fmt.Sprintf(", %s per attempt", r.Retry.PerTry)))
	r.Retry.text(t)
	if r.Hedge != nil {
		r.Hedge.text(t)
	}
	r.split(t)
}

// split is how a side is chosen.
func (r *Route) split(t *text) {
	if len(r.Sides) < 2 && r.Canary == nil {
		return
	}
	var sides []string
	for _, side := range r.Sides {
		sides = append(sides, fmt.Sprintf("%s %.4g%%", side.Cluster, side.Percent))
	}
	rest := ""
	if r.Canary != nil {
		rest = " of what the canary leaves"
	}
	how := "at random"
	if r.Chosen {
		how = fmt.Sprintf("and by its match here %s", r.Cluster)
	} else if r.Cluster != "" {
		how = fmt.Sprintf("by %s, here %s", r.SplitKey, r.Cluster)
	} else if r.SplitKey != "" {
		how = fmt.Sprintf("by %s, which the request does not have: at random", r.SplitKey)
	}
	t.line("split", "%s%s, %s", strings.Join(sides, ", "), rest, how)
	if r.Canary != nil {
		r.Canary.text(t)
	}
}

func (c *Canary) text(t *text) {
	var steps []string
	for _, share := range c.Steps {
		steps = append(steps, fmt.Sprintf("%.4g%%", 100*share))
	}
	t.line("canary", "%s gets %s, each for %s at least, as long as it does no worse", c.Cluster, strings.Join(steps, ", "), c.Hold)
	s := c.State
	if s == nil {
		return
	}
	t.line("", "%s at step %d of %d since %s: it gets %.4g%%%s", s.Phase, s.Step, s.Steps, s.Since.UTC().Format(time.RFC3339), 100*s.Share,
		word(s.Reason != "", ", because: "+s.Reason))
	t.line("", "in this step %d requests, %.4g%% failed, %.4g%% slow, against %d, %.4g%% failed, %.4g%% slow; evidence %.2f of %.2f",
		s.Canary.Requests, 100*s.Canary.Errors, 100*s.Canary.Slow, s.Baseline.Requests, 100*s.Baseline.Errors, 100*s.Baseline.Slow, s.Evidence, s.Threshold)
}

// carriage is what stands in the place of what an upstream sees.
func (r *Route) carriage(t *text) {
	if r.Target != "" {
		t.line("upstream", "is %s, as the client asks", r.Target)
	} else {
		t.line("upstream", "gets the bytes as they are")
	}
	t.line("tunnel", "ends after %s of silence%s", r.Tunnel.Idle, word(r.Tunnel.Max > 0, fmt.Sprintf(", and after %s at the latest", r.Tunnel.Max)))
}

func (r *Retry) text(t *text) {
	if r.Attempts <= 1 {
		t.line("retry", "never")
		return
	}
	when := "only when nothing of it was sent"
	if r.Repeatable {
		when = "on " + strings.Join(r.On, ", ")
	}
	t.line("retry", "%d attempts, %s, after up to %s", r.Attempts, when, r.BackoffMax)
}

func (h *Hedge) text(t *text) {
	if h.Not != "" {
		t.line("hedge", "not for this request: %s", h.Not)
		return
	}
	t.line("hedge", "a second attempt after longer than %.4g%% of responses took, and %s at least, for %.4g%% of requests at the most, none with content",
		100*h.Quantile, h.Least, 100*h.Share)
}

func (c *Cluster) text(t *text) {
	var endpoints []string
	for _, e := range c.Endpoints {
		endpoints = append(endpoints, e.text())
	}
	if c.SRV != "" {
		endpoints = append(endpoints, "those of SRV "+c.SRV)
	}
	t.line("cluster", "%s: %s, connect within %s%s%s%s", c.Name, c.balancing(), c.ConnectTimeout, word(c.TLS, ", TLS"),
		word(c.Protocol != "" && c.Protocol != "auto", ", "+c.Protocol),
		word(c.ProxyProtocol != "" && c.ProxyProtocol != "off", ", PROXY protocol "+c.ProxyProtocol))
	t.line("", "%s", strings.Join(endpoints, ", "))
	if l := c.Limits; l != nil {
		t.line("limits", "%s", l.text())
	}
}

// text is "4096 requests, 4096 connections; each endpoint 100 requests".
func (l *Limits) text() string {
	all := counts("requests", l.Requests, "connections", l.Connections, "retries", l.Retries)
	if l.Endpoint == nil {
		return all
	}
	return all + "; each endpoint " + counts("requests", l.Endpoint.Requests, "connections", l.Endpoint.Connections, "that wait for a connection", l.Endpoint.Pending)
}

// counts is "1 what, 2 what" for pairs of them, without those of 0.
func counts(pairs ...any) string {
	var words []string
	for i := 0; i < len(pairs); i += 2 {
		if n := pairs[i+1].(int); n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, pairs[i]))
		}
	}
	return strings.Join(words, ", ")
}

// balancing is how an endpoint is chosen.
func (c *Cluster) balancing() string {
	how := c.Balance + word(c.HashKey != "", " by "+c.HashKey)
	how += word(c.Zone != "", ", in zone "+c.Zone+" while it has its share")
	how += word(c.Load != "", ", weights by load reports of "+c.Load)
	if c.Sticky == "cookie" {
		return how + ", sessions by a cookie"
	}
	return how + word(c.Sticky != "", ", sessions by the header "+c.Sticky)
}

func (e *Endpoint) text() string {
	var words []string
	if e.Weight != 1 {
		words = append(words, fmt.Sprintf("weight %d", e.Weight))
	}
	if e.Priority != 0 {
		words = append(words, fmt.Sprintf("priority %d", e.Priority))
	}
	if e.Zone != "" {
		words = append(words, "zone "+e.Zone)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Labels)) {
		words = append(words, name+"="+e.Labels[name])
	}
	return e.Address + word(len(words) > 0, " ("+strings.Join(words, ", ")+")")
}
