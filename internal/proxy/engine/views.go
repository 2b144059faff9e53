package engine

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/proxy/admin"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

func (e *Engine) views() admin.Views {
	return admin.Views{
		Ready: e.ready, Policy: e.recorder.Policy, Metrics: e.recorder.Handler(),
		Snapshot: e.viewSnapshot, Routes: e.viewRoutes, Clusters: e.viewClusters, Events: e.viewEvents, Connections: e.viewConnections,
		Overload: e.viewOverload, Canaries: e.viewCanaries, Places: e.viewPlaces, CommandCanary: e.commandCanary, Filter: e.viewFilter, Operate: e.operateFilter, Explain: e.explain, Reload: e.cfg.Control.Reload,
	}
}

// viewSnapshot is the running snapshot as one document with every default.
// Secrets stand in it as references only; the admin pages redact the rest.
func (e *Engine) viewSnapshot() any {
	g := e.running.Load()
	if g == nil {
		return nil
	}
	s := g.snapshot
	document, err := config.CanonicalJSON(documentOf(s))
	if err != nil {
		e.log.Error("the snapshot cannot be shown", "err", err)
		document = []byte("null")
	}
	return struct {
		Number   uint64          `json:"number"`
		Hash     string          `json:"hash"`
		Since    time.Time       `json:"since"`
		Held     []snapshot.Held `json:"held"`
		Document json.RawMessage `json:"document"`
	}{s.Number, hex.EncodeToString(s.Hash[:]), g.since, append([]snapshot.Held{}, s.Held...), document}
}

// documentOf is the document that would compile to s.
func documentOf(s *snapshot.Snapshot) *config.Document {
	doc := &config.Document{Admin: s.Admin, AccessLog: s.AccessLog, Metrics: s.Metrics, Redact: s.Redact, Geo: s.Geo, Overload: s.Overload, Drain: s.Drain}
	for _, l := range s.Listeners {
		doc.Listeners = append(doc.Listeners, l.Spec)
	}
	for _, r := range s.Routes {
		doc.Routes = append(doc.Routes, r.Spec)
	}
	for _, c := range s.Clusters {
		doc.Clusters = append(doc.Clusters, c.Spec)
	}
	return doc
}

func (e *Engine) viewRoutes() []admin.Route {
	g := e.running.Load()
	if g == nil {
		return nil
	}
	held := heldReasons(g.snapshot, "route")
	rows := make([]admin.Route, 0, len(g.snapshot.Routes))
	for _, r := range g.snapshot.Routes {
		filters, numbers := []string{}, map[string]int{}
		for _, f := range r.Filters {
			numbers[f.Name]++
			filters = append(filters, f.Name+seat{f.Name, numbers[f.Name]}.mark())
		}
		rows = append(rows, admin.Route{
			Name: r.Spec.Name, Listeners: r.Listeners, Match: describeMatch(&r.Match), Action: describeAction(&r.Spec), Filters: filters,
			Priority: r.Spec.Priority, Timeout: admin.Duration(r.Spec.Timeout), Pos: r.Spec.Pos.String(), Held: held[r.Spec.Name],
		})
	}
	return rows
}

// heldReasons says, by name, why objects of a kind keep their last version.
func heldReasons(s *snapshot.Snapshot, kind string) map[string]string {
	reasons := map[string]string{}
	for _, h := range s.Held {
		if h.Kind == kind && len(h.Problems) > 0 {
			reasons[h.Name] = h.Problems[0].String()
		}
	}
	return reasons
}

func describeMatch(m *snapshot.Match) string {
	hosts, path := "any host", ""
	if len(m.Hosts) > 0 {
		hosts = strings.Join(m.Hosts, ",")
	}
	switch m.Path.Kind {
	case snapshot.PathExact:
		path = " " + m.Path.Text
	case snapshot.PathPrefix:
		path = " " + strings.TrimSuffix(m.Path.Text, "/") + "/*"
	case snapshot.PathTemplate:
		path = " template " + m.Path.Text
	case snapshot.PathRegex:
		path = " regex " + m.Path.Text
	case snapshot.PathAny:
	}
	words := []string{hosts + path}
	if len(m.Methods) > 0 {
		words = append(words, strings.Join(m.Methods, ","))
	}
	for _, part := range []struct {
		word   string
		values []snapshot.Value
	}{{"header", m.Headers}, {"query", m.Query}, {"cookie", m.Cookies}} {
		for _, v := range part.values {
			words = append(words, part.word+":"+v.Name)
		}
	}
	for _, c := range m.Clients {
		words = append(words, "client:"+c.String())
	}
	if g := m.Geo; g != nil {
		word := "geo:"
		if g.Not {
			word = "not geo:"
		}
		for _, code := range slices.Concat(g.Countries, g.Continents) {
			words = append(words, word+code)
		}
		for _, number := range g.ASNs {
			words = append(words, fmt.Sprintf("%sAS%d", word, number))
		}
	}
	return strings.Join(words, " ")
}

func describeAction(r *config.Route) string {
	switch {
	case r.Redirect != nil:
		return fmt.Sprintf("redirect %d", r.Redirect.Status)
	case r.Respond != nil:
		return fmt.Sprintf("respond %d", r.Respond.Status)
	case len(r.To) == 1 && r.Canary == nil:
		return r.To[0].Side()
	}
	sides := make([]string, len(r.To))
	for i, to := range r.To {
		sides[i] = fmt.Sprintf("%s (%d)", to.Side(), to.Weight)
	}
	if r.Canary != nil {
		sides = append(sides, "canary "+r.Canary.Side())
	}
	return strings.Join(sides, ", ")
}

func (e *Engine) viewClusters() []admin.Cluster {
	g := e.running.Load()
	if g == nil {
		return nil
	}
	held := heldReasons(g.snapshot, "cluster")
	rows := make([]admin.Cluster, 0, len(g.upstreams))
	for _, c := range g.snapshot.Clusters {
		u := g.upstreams[c.Spec.Name]
		if u == nil {
			continue
		}
		rows = append(rows, u.view(held[c.Spec.Name]))
	}
	return rows
}

func (u *upstream) view(held string) admin.Cluster {
	spec := &u.spec.Spec
	row := admin.Cluster{
		Name: spec.Name, Balance: spec.Balance, Held: held, Endpoints: []admin.Endpoint{},
		Requests: u.load.Requests(), MaxRequests: int64(spec.Limits.MaxRequests),
		Connections: u.load.Connections(), MaxConnections: int64(spec.Limits.MaxConnections),
		Retries: u.cluster.Retries(), MaxRetries: int64(spec.Limits.MaxRetries),
	}
	if each := spec.Limits.Endpoint; each != nil {
		row.Each = &admin.EndpointLimits{Requests: int64(each.MaxRequests), Connections: int64(each.MaxConnections), Pending: int64(each.MaxPending)}
	}
	now := time.Now()
	for _, ep := range u.endpoints() {
		var learned time.Duration
		if p, ok := ep.Transport.(interface{ Horizon() (time.Duration, bool) }); ok {
			if limit, known := p.Horizon(); known {
				learned = limit.Round(time.Millisecond)
			}
		}
		row.Endpoints = append(row.Endpoints, u.placed(ep, now, admin.EndpointOf(ep.Status(now), learned)))
	}
	row.Levels = u.levels(now)
	return row
}

func (e *Engine) viewConnections(limit int) admin.Connections {
	view := admin.Connections{Shown: []admin.Connection{}}
	g := e.running.Load()
	if g == nil {
		return view
	}
	add := func(row admin.Connection) bool {
		if len(view.Shown) < limit {
			view.Shown = append(view.Shown, row)
		}
		return len(view.Shown) < limit
	}
	for _, f := range g.fronts {
		if f.ln != nil {
			view.Open += int(f.ln.Stats.Open.Load())
		}
		for _, s := range f.servers() {
			s.connections(add)
		}
		if d := f.packets(); d != nil {
			view.Open += int(d.open())
			d.connections(add)
		}
	}
	slices.SortFunc(view.Shown, func(a, b admin.Connection) int { return int(a.ID) - int(b.ID) })
	return view
}

func tlsVersion(t *stream.TLS) string {
	return fmt.Sprintf("1.%d", t.Version-0x0301)
}

func identity(t *stream.TLS) string {
	switch {
	case t.Client == nil:
		return ""
	case t.Client.SPIFFE != "":
		return t.Client.SPIFFE
	}
	return t.Client.Subject
}
