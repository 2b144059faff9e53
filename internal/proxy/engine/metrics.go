package engine

import (
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/internal/proxy/record"
	"github.com/weirproxy/weir/internal/proxy/resolve"
	"github.com/weirproxy/weir/internal/proxy/tlsedge"
	"github.com/weirproxy/weir/stream"
)

// register makes the counters of all stages part of each scrape.
func (e *Engine) register() {
	e.recorder.Register(e.processSamples)
	e.recorder.Register(e.frontSamples)
	e.recorder.Register(e.upstreamSamples)
	if e.cfg.Control.Metrics != nil {
		e.recorder.Register(e.cfg.Control.Metrics)
	}
}

// family is a metric of the engine, without its values.
type family struct {
	name, help string
	kind       record.Type
}

func gauge(name, help string) family   { return family{name, help, record.Gauge} }
func counter(name, help string) family { return family{name, help, record.Counter} }

// sample emits one value; labels are name, value, name, value, ...
func (f family) sample(emit func(record.Sample), value float64, labels ...string) {
	pairs := make([][2]string, 0, len(labels)/2)
	for i := 0; i+1 < len(labels); i += 2 {
		pairs = append(pairs, [2]string{labels[i], labels[i+1]})
	}
	emit(record.Sample{Name: f.name, Help: f.help, Type: f.kind, Labels: pairs, Value: value})
}

// counted is a counter of a stage with the value of its label.
type counted struct {
	label string
	value *atomic.Int64
}

func (f family) each(emit func(record.Sample), values []counted, label string, labels ...string) {
	for _, c := range values {
		f.sample(emit, float64(c.value.Load()), append(labels[:len(labels):len(labels)], label, c.label)...)
	}
}

var (
	buildInfo   = gauge("weir_build_info", "1, with the version as a label.")
	startTime   = gauge("weir_start_timestamp_seconds", "When the process began to serve.")
	generations = gauge("weir_generation_timestamp_seconds", "When the running generation was put in place.")
	bgPanics    = counter("weir_background_panics_total", "Goroutines that serve no connection and panicked.")

	connsOpen     = gauge("weir_listener_connections", "Open connections.")
	connsAccepted = counter("weir_listener_accepted_total", "Connections accepted.")
	connsRefused  = counter("weir_listener_refused_total", "Connections closed at once, by the limit that was reached.")
	acceptErrors  = counter("weir_listener_accept_errors_total", "Failed accept calls.")
	connPanics    = counter("weir_listener_panics_total", "Connections that ended with a panic.")

	http1Events    = counter("weir_http1_events_total", "Upgrades, drained connections and panics of HTTP/1 connections.")
	http1Malformed = counter("weir_http1_malformed_total", "Requests that could not be read, by reason word.")
	entryEvents    = counter("weir_entry_events_total", "Fields removed because their peer may not write them, and loops found.")
	routeRefused   = counter("weir_route_refused_total", "Requests without a route, or that a route refused for their connection.")
	routesServed   = gauge("weir_route_table_routes", "Routes in the table of a listener.")

	tlsHandshakes = counter("weir_tls_handshakes_total", "Handshakes with clients that succeeded, by whether they resumed a session.")
	tlsFailed     = counter("weir_tls_handshake_failures_total", "Handshakes with clients that failed, by reason.")
	tlsUnderway   = gauge("weir_tls_handshakes_underway", "Handshakes with clients under way.")
	tlsExpiry     = gauge("weir_tls_certificate_expiry_days", "Days until a certificate expires; negative once it has.")
	tlsUpdates    = counter("weir_tls_updates_total", "Changes of certificates or trust, by whether they were taken over.")

	poolConns     = gauge("weir_pool_connections", "Open upstream connections, by state.")
	poolEvents    = counter("weir_pool_events_total", "What happened to upstream connections.")
	upstreamTLS   = counter("weir_upstream_tls_handshakes_total", "Handshakes with endpoints, by result.")
	clusterEvents = counter("weir_cluster_events_total", "Requests refused by a limit or for want of a fit endpoint, attempts at ejected endpoints because no other was left, stale connections replaced.")
	checks        = counter("weir_health_checks_total", "Active health checks, by result.")
	checkChanges  = counter("weir_health_changes_total", "Changes of the verdict of active health checks.")
	dnsQuestions  = counter("weir_dns_questions_total", "Questions sent to name servers.")
	dnsFailed     = counter("weir_dns_failures_total", "Names that could not be resolved, by reason; the last good answer stays.")
	dnsChanges    = counter("weir_dns_changes_total", "Changes of the addresses of a name.")
	requestsOpen  = gauge("weir_cluster_requests", "Requests of a cluster under way.")
	endpoints     = gauge("weir_cluster_endpoints", "Endpoints of a cluster, by health.")
	endpointOut   = counter("weir_cluster_ejections_total", "Ejections of endpoints that failed real requests.")
)

func (e *Engine) processSamples(emit func(record.Sample)) {
	buildInfo.sample(emit, 1, "version", e.cfg.Version)
	startTime.sample(emit, seconds(e.started))
	bgPanics.sample(emit, float64(e.panics.Load()))
	if g := e.running.Load(); g != nil {
		generations.sample(emit, seconds(g.since))
	}
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1e3 }

func (e *Engine) frontSamples(emit func(record.Sample)) {
	g := e.running.Load()
	if g == nil {
		return
	}
	for name, f := range g.fronts {
		s := &f.ln.Stats
		connsOpen.sample(emit, float64(s.Open.Load()), "listener", name)
		connsAccepted.sample(emit, float64(s.Accepted.Load()), "listener", name)
		connsRefused.each(emit, []counted{{"max_connections", &s.RefusedFull}, {"max_connections_per_client", &s.RefusedClient}}, "limit", "listener", name)
		acceptErrors.sample(emit, float64(s.AcceptErrors.Load()), "listener", name)
		connPanics.sample(emit, float64(s.Panics.Load()), "listener", name)
		f.codecSamples(emit, name)
		if f.tls != nil {
			tlsSamples(emit, f.tls, name)
		}
	}
}

// codecSamples are those of the codec and the stages right behind it. They
// begin anew when the limits of the listener change.
func (f *front) codecSamples(emit func(record.Sample), name string) {
	server := f.server.Load()
	s := &server.codec.Stats
	http1Events.each(emit, []counted{{"upgrade", &s.Upgrades}, {"drained", &s.Drained}, {"panic", &s.Panics}, {"cut", &s.Cut}, {"answer_panic", &server.answer.Stats().Panics}},
		"event", "listener", name)
	for kind := range stream.NumKinds {
		if n := s.Refused[kind].Load(); n > 0 {
			http1Malformed.sample(emit, float64(n), "listener", name, "kind", kind.String())
		}
	}
	es := server.entry.Stats()
	entryEvents.each(emit, []counted{{"stripped", &es.Stripped}, {"loop", &es.Loops}}, "event", "listener", name)
	rs := f.router.Stats()
	routeRefused.each(emit, []counted{{"no_route", &rs.NoRoute}, {"misdirected", &rs.Misdirected}, {"forbidden", &rs.Forbidden}}, "reason", "listener", name)
	routesServed.sample(emit, float64(f.router.Table().Len()), "listener", name)
}

func tlsSamples(emit func(record.Sample), t *tlsedge.Server, name string) {
	s := &t.Stats
	done, resumed := s.Done.Load(), s.Resumed.Load()
	tlsHandshakes.sample(emit, float64(done-resumed), "listener", name, "resumed", "no")
	tlsHandshakes.sample(emit, float64(resumed), "listener", name, "resumed", "yes")
	for reason := range tlsedge.NumReasons {
		tlsFailed.sample(emit, float64(s.Failed[reason].Load()), "listener", name, "reason", reason.String())
	}
	tlsUnderway.sample(emit, float64(s.Underway.Load()), "listener", name)
	tlsUpdates.each(emit, []counted{{"applied", &s.Updates}, {"rejected", &s.Rejected}}, "result", "listener", name)
	for _, x := range t.Expiries(time.Now()) {
		tlsExpiry.sample(emit, x.Days, "listener", name, "certificate", x.Name)
	}
}

func (e *Engine) upstreamSamples(emit func(record.Sample)) {
	g := e.running.Load()
	if g == nil {
		return
	}
	for name, u := range g.upstreams {
		u.poolSamples(emit, name)
		u.stageSamples(emit, name)
		requestsOpen.sample(emit, float64(u.load.Requests()), "cluster", name)
		byHealth, ejections := map[endpoint.Health]int{endpoint.Fit: 0, endpoint.Ejected: 0, endpoint.Unfit: 0}, int64(0)
		open, idle := 0, 0
		for _, ep := range u.endpoints() {
			st := ep.Status(time.Now())
			byHealth[st.Health]++
			ejections += st.Ejections
			open, idle = open+st.Open, idle+st.Idle
		}
		for health, n := range byHealth {
			endpoints.sample(emit, float64(n), "cluster", name, "health", health.String())
		}
		endpointOut.sample(emit, float64(ejections), "cluster", name)
		poolConns.sample(emit, float64(idle), "cluster", name, "state", "idle")
		poolConns.sample(emit, float64(open-idle), "cluster", name, "state", "busy")
	}
}

// stageSamples are those of the stages that decide where attempts go.
func (u *upstream) stageSamples(emit func(record.Sample), name string) {
	s := &u.cluster.Stats
	clusterEvents.each(emit, []counted{
		{"full", &s.Full}, {"no_endpoint", &s.NoPick}, {"fail_open", &s.FailOpen}, {"replaced", &s.Replaced}, {"ejection_capped", &s.EjectionCapped},
	}, "event", "cluster", name)
	if c := u.checker; c != nil {
		checks.each(emit, []counted{{"good", &c.Stats.Good}, {"bad", &c.Stats.Bad}, {"unable", &c.Stats.Unable}}, "result", "cluster", name)
		checkChanges.sample(emit, float64(c.Stats.Changes.Load()), "cluster", name)
	}
	if r := u.discovery.resolver; r != nil {
		dnsQuestions.sample(emit, float64(r.Stats.Questions.Load()), "cluster", name)
		dnsChanges.sample(emit, float64(r.Stats.Changes.Load()), "cluster", name)
		for failure := range resolve.NumFailures {
			dnsFailed.sample(emit, float64(r.Stats.Failed[failure].Load()), "cluster", name, "reason", failure.String())
		}
	}
}

func (u *upstream) poolSamples(emit func(record.Sample), name string) {
	s := &u.group.Stats
	poolEvents.each(emit, []counted{
		{"dialed", &s.Dialed}, {"dial_failed", &s.DialFailed}, {"refused", &s.Refused}, {"stale", &s.Stale}, {"closed", &s.Closed},
		{"retired", &s.Retired}, {"aged", &s.Aged}, {"dropped", &s.Dropped}, {"evicted", &s.Evicted}, {"broken", &s.Broken},
	}, "event", "cluster", name)
	if u.tls != nil {
		upstreamTLS.each(emit, []counted{{"done", &u.tls.Stats.Done}, {"failed", &u.tls.Stats.Failed}, {"unverified", &u.tls.Stats.Unverified}},
			"result", "cluster", name)
	}
}
