package record

import (
	"github.com/weirproxy/weir/internal/histogram"
	"github.com/weirproxy/weir/stream"
)

// family is a metric family of the recorder's own.
type family struct {
	name   string
	help   string
	labels []string
	kind   familyKind
}

type familyKind string

const (
	counters   familyKind = "counter"
	gauges     familyKind = "gauge"
	histograms familyKind = "histogram"
)

// The families, in the order of docs/metrics.md. Durations are in seconds.
var (
	requestsTotal = family{"weir_requests_total", "Exchanges that are over, by route and class of the status sent; none: nothing was sent.", []string{"route", "code"}, counters}
	requestTime   = family{"weir_request_duration_seconds", "Time from the first byte of the request to the last of the response.", []string{"route"}, histograms}
	proxyTime     = family{"weir_request_proxy_seconds", "Time inside Weir: from the request head to the first attempt, and from the upstream's response head to ours.", []string{"route"}, histograms}
	bodyIn        = family{"weir_request_body_bytes_total", "Bytes of request bodies read from clients.", []string{"route"}, counters}
	bodyOut       = family{"weir_response_body_bytes_total", "Bytes of response bodies written to clients.", []string{"route"}, counters}
	faultsTotal   = family{"weir_faults_total", "Exchanges that ended with a fault, by reason word.", []string{"kind", "origin"}, counters}
	upstreamTotal = family{"weir_upstream_requests_total", "Exchanges that asked an upstream, by cluster and class of its status; none: no response.", []string{"cluster", "code"}, counters}
	upstreamTime  = family{"weir_upstream_duration_seconds", "Time from the first attempt to the upstream's response head, or to the end when there was none.", []string{"cluster"}, histograms}
	attemptsTotal = family{"weir_upstream_attempts_total", "Attempts at endpoints.", []string{"cluster"}, counters}
	retriesTotal  = family{"weir_upstream_retries_total", "Attempts after the first of an exchange.", []string{"cluster"}, counters}
	refusedTotal  = family{"weir_upstream_retries_refused_total", "Retries that were not made, by reason.", []string{"reason"}, counters}
	callsTotal    = family{"weir_grpc_requests_total", "gRPC calls that are over, by route, cluster, service and status; none: the call ended without one.", []string{"route", "cluster", "service", "code"}, counters}
	linesTotal    = family{"weir_access_log_lines_total", "Lines of the access log, by what became of them.", []string{"result"}, counters}
	logErrors     = family{"weir_access_log_errors_total", "Failed writes and openings of the access log.", nil, counters}
	foldedShare   = family{"weir_metrics_folded_ratio", "Share of requests that count under the name other, because the budget of series was used up or the name is gone.", []string{"label"}, gauges}
)

// families lists them for the documentation.
var families = []family{
	requestsTotal, requestTime, proxyTime, bodyIn, bodyOut, faultsTotal,
	upstreamTotal, upstreamTime, attemptsTotal, retriesTotal, refusedTotal, callsTotal,
	linesTotal, logErrors, foldedShare,
}

// totals are the sums over all shards at one time.
type totals struct {
	routes   []routeBlock // by handle
	clusters []clusterBlock
	faults   [stream.NumKinds]uint64
	refusals map[string]uint64
}

// sum adds the shards up. A shard is locked for one block at a time, so that
// no request waits for a scrape; a Done that runs meanwhile is in this scrape
// or in the next. Retain does not run meanwhile.
func (r *Recorder) sum(routes, clusters []string) *totals {
	t := &totals{
		routes:   make([]routeBlock, len(routes)),
		clusters: make([]clusterBlock, len(clusters)),
		refusals: map[string]uint64{},
	}
	for _, s := range r.shards {
		sumBlocks(s, t.routes, &s.routes, routes, (*routeBlock).add)
		sumBlocks(s, t.clusters, &s.clusters, clusters, (*clusterBlock).add)
		s.mu.Lock()
		for i, n := range &s.faults {
			t.faults[i] += n
		}
		for _, refusal := range &s.refusals {
			if refusal.count > 0 {
				t.refusals[refusal.reason] += refusal.count
			}
		}
		s.mu.Unlock()
	}
	return t
}

// sumBlocks skips handles without a name: their blocks are that of other.
func sumBlocks[B any](s *shard, sums []B, blocks *[]*B, names []string, add func(sum, b *B)) {
	for handle, text := range names {
		if text == "" {
			continue
		}
		s.mu.Lock()
		if handle < len(*blocks) && (*blocks)[handle] != nil {
			add(&sums[handle], (*blocks)[handle])
		}
		s.mu.Unlock()
	}
}

// writer is where families go.
type writer struct {
	number  func(f *family, value float64, labels ...string)
	buckets func(f *family, h *histogram.Durations, labels ...string)
}

// write gives every number of the recorder to w.
func (r *Recorder) write(w writer) {
	routes, clusters := r.routes.own(), r.clusters.own()
	t := r.sum(routes, clusters)
	for handle, route := range routes {
		if b := &t.routes[handle]; route != "" && b.total.Count > 0 {
			writeRoute(w, route, b)
		}
	}
	for handle, cluster := range clusters {
		if b := &t.clusters[handle]; cluster != "" && b.upstream.Count > 0 {
			writeCluster(w, cluster, b)
		}
	}
	for kind := range stream.NumKinds {
		fault := stream.Fault{Kind: kind}
		w.number(&faultsTotal, float64(t.faults[kind]), kind.String(), fault.Origin().String())
	}
	for reason, n := range t.refusals {
		w.number(&refusedTotal, float64(n), reason)
	}
	r.writeCalls(w, routes, clusters)
	w.number(&linesTotal, float64(r.lines.written.Load()), "written")
	w.number(&linesTotal, float64(r.lines.dropped.Load()), "dropped")
	w.number(&logErrors, float64(r.lines.errors.Load()))
	w.number(&foldedShare, share(len(t.routes), func(i int) uint64 { return t.routes[i].total.Count }), "route")
	w.number(&foldedShare, share(len(t.clusters), func(i int) uint64 { return t.clusters[i].upstream.Count }), "cluster")
}

func writeRoute(w writer, route string, b *routeBlock) {
	for class, n := range b.codes {
		if n > 0 {
			w.number(&requestsTotal, float64(n), route, classes[class])
		}
	}
	w.buckets(&requestTime, &b.total, route)
	w.buckets(&proxyTime, &b.proxy, route)
	w.number(&bodyIn, float64(b.bytesIn), route)
	w.number(&bodyOut, float64(b.bytesOut), route)
}

func writeCluster(w writer, cluster string, b *clusterBlock) {
	for class, n := range b.codes {
		if n > 0 {
			w.number(&upstreamTotal, float64(n), cluster, classes[class])
		}
	}
	w.buckets(&upstreamTime, &b.upstream, cluster)
	w.number(&attemptsTotal, float64(b.attempts), cluster)
	w.number(&retriesTotal, float64(b.retries), cluster)
}

// writeCalls leaves series for the next scrape whose route or cluster got its
// name after this one began.
func (r *Recorder) writeCalls(w writer, routes, clusters []string) {
	named := func(list []string, handle uint32) string {
		if int(handle) < len(list) {
			return list[handle]
		}
		return ""
	}
	keys := r.services.series()
	for place, n := range r.sumCalls(len(keys)) {
		key := &keys[place]
		route, cluster := named(routes, key.route), named(clusters, key.cluster)
		if n > 0 && route != "" && cluster != "" {
			w.number(&callsTotal, float64(n), route, cluster, key.service, grpcCode(key.code))
		}
	}
}

// share is what stands under other.
func share(handles int, count func(handle int) uint64) float64 {
	var all uint64
	for i := range handles {
		all += count(i)
	}
	if all == 0 {
		return 0
	}
	return float64(count(int(other))) / float64(all)
}
