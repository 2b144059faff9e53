package compile

import (
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/internal/snapshot"
)

// byKey are the balancers that keep what has the same key at one endpoint.
var byKey = []string{"hash", "maglev", "rendezvous"}

// checkBalancing refuses what the balancer of the cluster could not do, and says
// what has no effect.
func checkBalancing(spec *config.Cluster, r *config.Report) {
	checkHashKey(spec, r)
	checkPlaces(spec, r)
	if spec.SlowStart != nil {
		checkSlowStart(spec, r.Below("slow_start"))
	}
	if spec.Sticky != nil {
		checkSticky(spec.Sticky, r.Below("sticky"))
	}
	if n := len(spec.Endpoints); spec.Balance == "rendezvous" && n > manyAsked {
		r.Warnf("balance", "write balance: maglev", "rendezvous asks every endpoint for each request, and %d stand here: that takes longer than the rest of it", n)
	}
	checkLoad(spec, r)
}

// manyAsked is how many endpoints rendezvous may have before it is worth a word:
// each takes about 13 ns.
const manyAsked = 200

// checkLoad: weights from endpoints go with balancers that can follow them.
func checkLoad(spec *config.Cluster, r *config.Report) {
	fixed := slices.Contains(byKey, spec.Balance) || spec.Balance == "first"
	for _, setting := range []struct {
		name string
		is   bool
	}{{"load_reports", spec.LoadReports}, {"load_stream", spec.LoadStream != nil}} {
		if setting.is && fixed {
			r.Errorf(setting.name, "write balance: round_robin, random, least_request or peak_ewma, or remove it",
				"%s changes weights, which do not change with balance %s: every change would move keys, or nothing", setting.name, spec.Balance)
		}
	}
	s := spec.LoadStream
	if s == nil {
		return
	}
	if spec.Protocol == "h3" || !mayMultiplex(spec) {
		r.Errorf("load_stream", "write protocol: h2c (with tls: h2), or load_reports: true for reports beside responses",
			"load_stream needs HTTP/2, and cluster %q speaks %s", spec.Name, spokenBy(spec))
	}
	atLeast(r, "load_stream.interval", s.Interval, config.Duration(100*time.Millisecond))
	if s.Silence <= s.Interval {
		r.Errorf("load_stream.silence", "make it some times longer than interval", "silence (%s) is not longer than interval (%s): every stream would be given up", s.Silence, s.Interval)
	}
}

func checkHashKey(spec *config.Cluster, r *config.Report) {
	keyed, defaults := slices.Contains(byKey, spec.Balance), config.Default[config.Cluster]()
	if _, err := requestkey.Parse(spec.HashKey); err != nil {
		r.Errorf("hash_key", "", "hash_key: %v", err)
	} else if !keyed && spec.HashKey != defaults.HashKey {
		r.Warnf("hash_key", "write balance: hash, or remove it", "hash_key has no effect with balance %s", spec.Balance)
	}
	switch bound := spec.HashBound; {
	case bound != 0 && bound <= 1:
		r.Errorf("hash_bound", "write 1.25, or 0 for none", "hash_bound is %v: with 1 or less no endpoint could take its part", bound)
	case bound != 0 && !keyed:
		r.Warnf("hash_bound", "write balance: hash, or remove it", "hash_bound has no effect with balance %s", spec.Balance)
	}
}

// placeWord is what zones, labels and their values may be: they stand in logs and
// metrics.
var placeWord = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$`)

// checkPlaces: priorities follow each other, and the local zone has endpoints.
func checkPlaces(spec *config.Cluster, r *config.Report) {
	zones, priorities := map[string]bool{}, map[int]bool{}
	for i := range spec.Endpoints {
		endpoint, at := &spec.Endpoints[i], index("endpoints", i)
		if endpoint.Zone != "" {
			zones[endpoint.Zone] = true
			checkPlaceWord(endpoint.Zone, "zone", r, at+".zone")
		}
		if endpoint.Weight > 0 {
			priorities[endpoint.Priority] = true
		}
		checkLabels(endpoint.Labels, r, at+".labels")
	}
	if len(spec.Endpoints) > 0 && len(priorities) > 0 && !priorities[0] {
		r.Warnf("endpoints", "begin with priority 0", "no endpoint with a weight has priority 0")
	}
	if spec.Zone == nil {
		return
	}
	switch {
	case spec.DNS != nil:
		r.Errorf("zone", "write endpoints: [{srv: NAME, zone: ZONE}], a name for each zone", "zone has no effect with dns: records say no zone")
	case len(zones) == 0:
		r.Errorf("zone", "write zone at the endpoints, or remove it", "no endpoint of cluster %q has a zone", spec.Name)
	case spec.Zone.Local != "" && !zones[spec.Zone.Local]:
		r.Errorf("zone.local", "write the zone of some endpoints, or give them this one", "no endpoint of cluster %q is in zone %q", spec.Name, spec.Zone.Local)
	case len(zones) == 1:
		r.Warnf("zone", "remove it", "zone has no effect: all endpoints are in one")
	case spec.Balance == "first":
		r.Warnf("zone", "remove it, or write another balance", "zone has no effect with balance first, which goes by the order alone")
	case slices.Contains(byKey, spec.Balance):
		r.Warnf("zone", "remove it, or take care that it does not matter",
			"with zone, proxies in different zones send the same hash_key to different endpoints")
	}
}

func checkLabels(labels map[string]string, r *config.Report, at string) {
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		checkPlaceWord(name, "label", r, at)
		checkPlaceWord(labels[name], "value of a label", r, at)
	}
}

func checkPlaceWord(text, noun string, r *config.Report, at string) {
	if !placeWord.MatchString(text) {
		r.Errorf(at, "write up to 63 letters, digits, dots, slashes, hyphens and underscores, a letter or digit at both ends", "%s %q", noun, text)
	}
}

func checkSlowStart(spec *config.Cluster, r *config.Report) {
	s := spec.SlowStart
	needed(r, "window", s.Window)
	if s.MinShare <= 0 {
		r.Errorf("min_share", "write 0.1", "min_share is 0: an endpoint that gets nothing never warms up")
	}
	if s.Aggression <= 0 {
		r.Errorf("aggression", "write 1", "aggression is 0: the share would not grow")
	}
	if spec.Balance == "first" {
		r.Warnf("", "remove it, or write another balance", "slow_start has no effect with balance first")
	}
}

// checkSubset says when no endpoint has the labels that a route asks for. They may
// come back, so that it is no error.
func checkSubset(target *config.Target, cluster *snapshot.Cluster, at string, r *config.Report) {
	if len(target.Labels) == 0 {
		return
	}
	for _, e := range cluster.Endpoints {
		if has(e.Labels, target.Labels) {
			return
		}
	}
	r.Warnf(at, "give them to some endpoints", "no endpoint of %q has these labels: its requests are answered with 503", target.Cluster)
}

func has(labels, wanted map[string]string) bool {
	for name, value := range wanted {
		if have, ok := labels[name]; !ok || have != value {
			return false
		}
	}
	return true
}
