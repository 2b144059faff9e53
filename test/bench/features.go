//go:build linux

package main

import (
	"fmt"
	"io"
	"net"
	"slices"
)

// feature is what a route or a cluster can be told to do beside carrying a
// request, in the words of each proxy. Its limits are never reached: the cost
// of watching is measured.
type feature struct {
	endpoints   int    // 0: 1
	weirRoute   string // keys of the route
	weirCluster string // keys of the cluster
	nginxHTTP   string // directives of the http block, of the location, of the upstream
	nginxRoute  string
	nginxPeers  string
	haproxyTop  string // a section, and lines of the backend
	haproxyPeer string
	cacheable   bool // the upstream's answer may be stored
}

// bare is the case from which the others differ by their feature.
const bare = "feature: none"

func featureCases() []benchCase {
	all := "nginx haproxy weir"
	cache := feature{
		cacheable:  true,
		weirRoute:  "    filters: [{cache: {size: 64MiB}}]\n",
		nginxHTTP:  "  sendfile on;\n  proxy_cache_path cache keys_zone=c:10m max_size=64m;\n", // as Debian ships it
		nginxRoute: " proxy_cache c;", haproxyTop: "cache c\n  total-max-size 64\n  max-object-size 1000000\n  max-age 3600\n",
		haproxyPeer: "  http-request cache-use c\n  http-response cache-store c\n",
	}
	return []benchCase{
		{name: bare, conns: 64, response: 100, peers: all},
		{name: "feature: retries by status", conns: 64, response: 100, peers: "weir", feature: feature{
			weirRoute: "    retry: {attempts: 3, on: [connect, reset, 502, 503]}\n"}},
		{name: "feature: hedging", conns: 64, response: 100, peers: "weir", feature: feature{
			weirRoute: "    hedge: {quantile: 0.99, least: 1s}\n"}},
		{name: "feature: rate limit by client", conns: 64, response: 100, peers: "nginx weir", feature: feature{
			weirRoute:  "    filters: [{rate_limit: {limits: [{name: client, rate: 1000000/s, burst: 1000000, key: client}]}}]\n",
			nginxHTTP:  "  limit_req_zone $binary_remote_addr zone=r:10m rate=1000000r/s;\n",
			nginxRoute: " limit_req zone=r burst=1000000 nodelay;"}},
		{name: "feature: adaptive concurrency", conns: 64, response: 100, peers: "weir", feature: feature{
			weirCluster: "    adaptive: {min: 200, max: 1000}\n"}},
		{name: "feature: breaker", conns: 64, response: 100, peers: "weir", feature: feature{
			weirCluster: "    breaker: {when: \"error_ratio > 0.5 || latency(0.9) > 10s\"}\n"}},
		{name: "feature: least requests, 100 endpoints", conns: 64, response: 100, peers: all, feature: feature{
			endpoints: 100, weirCluster: "    balance: least_request\n", nginxPeers: " least_conn;", haproxyPeer: "  balance leastconn\n"}},
		{name: "feature: peak EWMA, 100 endpoints", conns: 64, response: 100, peers: "weir", feature: feature{
			endpoints: 100, weirCluster: "    balance: peak_ewma\n"}},
		{name: "feature: cache hit, 100 B", conns: 64, response: 100, peers: all, feature: cache},
		{name: "feature: cache hit, 10 KiB", conns: 64, response: 10 << 10, peers: all, feature: cache},
		{name: "feature: cache hit, 100 KB", conns: 64, response: 100_000, peers: all, feature: cache},
	}
}

// servers are the addresses of the upstream: the same port on further addresses
// of the loopback network, if there are more than one.
func (f *feature) servers(upstream string) []string {
	host, port, err := net.SplitHostPort(upstream)
	if err != nil || f.endpoints < 2 {
		return []string{upstream}
	}
	base, servers := net.ParseIP(host).To4(), make([]string, f.endpoints)
	for i := range servers {
		servers[i] = net.JoinHostPort(net.IPv4(base[0], base[1], base[2], base[3]+byte(i)).String(), port)
	}
	return servers
}

// printFeatures is what each feature costs Weir beside a request without it, in
// the same round.
func (t *table) printFeatures(w io.Writer) error {
	without := t.results[[2]string{bare, "weir"}]
	if len(without) == 0 {
		return nil
	}
	if _, err := fmt.Fprint(w, "\n| Weir | CPU us/req | more than without |\n|---|---|---|\n"); err != nil {
		return err
	}
	for _, c := range t.order {
		with := t.results[[2]string{c.name, "weir"}]
		if c.feature == (feature{}) || len(with) != len(without) {
			continue
		}
		more := make([]float64, len(with))
		for i := range with {
			more[i] = with[i].cpu - without[i].cpu
		}
		slices.Sort(more)
		if _, err := fmt.Fprintf(w, "| %s | %.2f | %+.2f |\n", c.name, median(with, func(r result) float64 { return r.cpu }), more[len(more)/2]); err != nil {
			return err
		}
	}
	return nil
}
