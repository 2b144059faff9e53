package engine

import (
	"time"

	"github.com/weirproxy/weir/internal/breaker"
	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/internal/proxy/cluster"
	"github.com/weirproxy/weir/internal/proxy/record"
	"github.com/weirproxy/weir/internal/proxy/resolve"
)

var (
	poolConns     = gauge("weir_pool_connections", "Open upstream connections, by state.")
	poolEvents    = counter("weir_pool_events_total", "What happened to upstream connections.")
	upstreamHTTP2 = counter("weir_upstream_http2_events_total", "What happened on HTTP/2 connections to endpoints.")
	upstreamHTTP3 = counter("weir_upstream_http3_events_total", "What happened on HTTP/3 connections to endpoints.")
	upstreamUDP   = counter("weir_upstream_udp_events_total", "What happened on sessions with endpoints.")
	upstreamTLS   = counter("weir_upstream_tls_handshakes_total", "Handshakes with endpoints, by result.")
	clusterEvents = counter("weir_cluster_events_total", "Requests refused by a limit or for want of a fit endpoint, attempts at ejected endpoints because no other was left, stale connections replaced; keys passed on for hash_bound, picks outside of the first priority or of the local zone, or whatever the health; sessions whose endpoint could not be picked, or had no room; load reports that could not be read.")
	gateRefused   = counter("weir_cluster_refused_total", "Requests that a limit of the cluster refused before an attempt, by the limit.")
	gateBreaker   = gauge("weir_cluster_breaker", "1 for the state that the breaker is in.")
	gateRefusing  = gauge("weir_cluster_admission_refusing", "Share of requests that admission refuses now.")
	gateLimit     = gauge("weir_cluster_adaptive_limit", "Requests that may be under way now, as found out.")
	gateWaiting   = gauge("weir_cluster_queue_waiting", "Requests that wait for a place.")
	gateTenants   = gauge("weir_cluster_tenants", "Tenants with a request that is under way or waits.")
	checks        = counter("weir_health_checks_total", "Active health checks, by result.")
	checkChanges  = counter("weir_health_changes_total", "Changes of the verdict of active health checks.")
	loadStreams   = gauge("weir_cluster_load_streams", "Endpoints that report their load by a stream now; for clusters with load_stream.")
	loadEvents    = counter("weir_cluster_load_stream_events_total", "What happened on streams of load reports: opened, reports taken, what is none or too much, streams that ended or could not be opened.")
	dnsQuestions  = counter("weir_dns_questions_total", "Questions sent to name servers.")
	dnsFailed     = counter("weir_dns_failures_total", "Names that could not be resolved, by reason; the last good answer stays.")
	dnsChanges    = counter("weir_dns_changes_total", "Changes of the addresses of a name.")
	requestsOpen  = gauge("weir_cluster_requests", "Requests of a cluster under way.")
	retriesOpen   = gauge("weir_cluster_retries", "Retries of a cluster under way, those that wait for their turn included.")
	endpointsFull = gauge("weir_cluster_endpoints_full", "Endpoints of a cluster that are at a limit of their own; for clusters with limits.endpoint.")
	pending       = gauge("weir_cluster_pending", "Requests that wait for a connection to an endpoint, be it opened or become free.")
	endpoints     = gauge("weir_cluster_endpoints", "Endpoints of a cluster, by health.")
	levelShare    = gauge("weir_cluster_priority", "Share of the traffic of a cluster that each priority takes; for clusters with several.")
	localShare    = gauge("weir_cluster_local_share", "Share of the traffic of a priority that stays in the local zone; for clusters with zone.")
	panicking     = gauge("weir_cluster_panic", "1 while too few endpoints of a priority are fit to believe it, and all are used; for clusters with panic.")
	healthEvents  = counter("weir_health_events_total", "Changes of the health of endpoints, by what happened and why.")
	endpointOut   = counter("weir_cluster_ejections_total", "Ejections of endpoints that failed real requests.")
)

func (e *Engine) upstreamSamples(emit func(record.Sample)) {
	g := e.running.Load()
	if g == nil {
		return
	}
	for name, u := range g.upstreams {
		u.poolSamples(emit, name)
		u.stageSamples(emit, name)
		u.gateSamples(emit, name)
		requestsOpen.sample(emit, float64(u.load.Requests()), "cluster", name)
		byHealth, ejections := map[endpoint.Health]int{endpoint.Fit: 0, endpoint.Ejected: 0, endpoint.Unfit: 0, endpoint.Probation: 0}, int64(0)
		open, idle, full, waiting := 0, 0, 0, int64(0)
		for _, ep := range u.endpoints() {
			st := ep.Status(time.Now())
			byHealth[st.Health]++
			ejections += st.Ejections
			open, idle, waiting = open+st.Open, idle+st.Idle, waiting+st.Pending
			if st.Full {
				full++
			}
		}
		retriesOpen.sample(emit, float64(u.cluster.Retries()), "cluster", name)
		pending.sample(emit, float64(waiting), "cluster", name)
		if u.spec.Spec.Limits.Endpoint != nil {
			endpointsFull.sample(emit, float64(full), "cluster", name)
		}
		for health, n := range byHealth {
			endpoints.sample(emit, float64(n), "cluster", name, "health", health.String())
		}
		endpointOut.sample(emit, float64(ejections), "cluster", name)
		poolConns.sample(emit, float64(idle), "cluster", name, "state", "idle")
		poolConns.sample(emit, float64(open-idle), "cluster", name, "state", "busy")
	}
}

// gateSamples are those of the limits that the document gives the cluster.
func (u *upstream) gateSamples(emit func(record.Sample), name string) {
	state, refused := u.cluster.Gates(time.Now())
	if state == nil {
		return
	}
	spec := &u.spec.Spec
	for gate := range cluster.NumGates {
		gateRefused.sample(emit, float64(refused[gate].Load()), "cluster", name, "limit", gate.String())
	}
	if spec.Breaker != nil {
		for _, s := range []breaker.State{breaker.Closed, breaker.Open, breaker.HalfOpen} {
			value := 0.0
			if s.String() == state.Breaker {
				value = 1
			}
			gateBreaker.sample(emit, value, "cluster", name, "state", s.String())
		}
	}
	if spec.Admission != nil {
		gateRefusing.sample(emit, state.Refusing, "cluster", name)
	}
	if spec.Adaptive != nil {
		gateLimit.sample(emit, float64(state.Limit), "cluster", name)
	}
	if spec.Queue != nil {
		gateWaiting.sample(emit, float64(state.Waiting), "cluster", name)
	}
	if spec.Fair != nil {
		gateTenants.sample(emit, float64(state.Tenants), "cluster", name)
	}
}

// stageSamples are those of the stages that decide where attempts go.
func (u *upstream) stageSamples(emit func(record.Sample), name string) {
	s, b := &u.cluster.Stats, &u.balancing.stats
	u.levelSamples(emit, name)
	u.healthSamples(emit, name)
	u.loadSamples(emit, name)
	clusterEvents.each(emit, []counted{
		{"full", &s.Full}, {"endpoints_full", &s.EndpointsFull}, {"no_endpoint", &s.NoPick}, {"fail_open", &s.FailOpen}, {"replaced", &s.Replaced}, {"expired", &s.Expired}, {"hedged", &s.Hedges}, {"hedge_won", &s.HedgeWon}, {"ejection_capped", &s.EjectionCapped},
		{"spilled", &b.Spilled}, {"failover", &b.Failover}, {"off_zone", &b.OffZone}, {"panic", &b.Panicked}, {"session_lost", &s.SessionsLost}, {"session_away", &s.SessionsAway}, {"bad_load_report", &s.ReportsBad},
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
		{"dialed", &s.Dialed}, {"dial_failed", &s.DialFailed}, {"refused", &s.Refused}, {"crowded", &s.Crowded}, {"stale", &s.Stale}, {"closed", &s.Closed},
		{"retired", &s.Retired}, {"shortened", &s.Shortened}, {"aged", &s.Aged}, {"dropped", &s.Dropped}, {"evicted", &s.Evicted}, {"broken", &s.Broken},
		{"waited", &s.Waited}, {"switched", &s.Switched},
	}, "event", "cluster", name)
	u.codecSamples(emit, name)
	if u.tls != nil {
		upstreamTLS.each(emit, []counted{{"done", &u.tls.Stats.Done}, {"failed", &u.tls.Stats.Failed}, {"unverified", &u.tls.Stats.Unverified}},
			"result", "cluster", name)
	}
}

// codecSamples are those of protocols that were spoken.
func (u *upstream) codecSamples(emit func(record.Sample), name string) {
	if s := &u.codecs.http2.Stats; s.Streams.Load() > 0 || s.Open.Load() > 0 {
		upstreamHTTP2.each(emit, []counted{
			{"stream", &s.Streams}, {"ping", &s.Pings}, {"ping_dead", &s.PingDead}, {"goaway", &s.GoAways}, {"reset_in", &s.Resets}, {"unprocessed", &s.Unprocessed},
			{"reset_out", &s.Canceled}, {"violation", &s.Violations}, {"abuse", &s.Abusive}, {"panic", &s.Panics},
		}, "event", "cluster", name)
	}
	if d := u.codecs.http3; d != nil {
		s := &d.Stats
		upstreamHTTP3.each(emit, []counted{
			{"stream", &s.Streams}, {"goaway", &s.GoAways}, {"reset_in", &s.Resets}, {"unprocessed", &s.Unprocessed},
			{"reset_out", &s.Canceled}, {"violation", &s.Violations}, {"abuse", &s.Abusive}, {"panic", &s.Panics},
		}, "event", "cluster", name)
	}
	if s := &u.codecs.udp; s.Opened.Load() > 0 {
		upstreamUDP.each(emit, []counted{
			{"opened", &s.Opened}, {"max_connections", &s.Full}, {"refused", &s.Refused}, {"datagram_out", &s.DatagramsOut}, {"datagram_in", &s.DatagramsIn}, {"dropped", &s.Dropped},
		}, "event", "cluster", name)
	}
}
