package balance

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
)

// TestModel compares every balancer, over random sets in random states, with what
// the package comment says in one sentence each: an endpoint that may be picked and
// was not tried comes first, wherever it is; then one that was tried; then one that
// is ejected; and never one that is unfit.
func TestModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	balancers := map[string]Picker{}
	for _, name := range Names() {
		balancers[name], _ = balancer(t, name)
	}
	for range 300 {
		list, layout := randomState(r)
		set := layout.NewSet(list)
		var tried []*endpoint.Endpoint
		for _, e := range list {
			if r.IntN(3) == 0 {
				tried = append(tried, e)
			}
		}
		now := start.Add(time.Duration(r.IntN(20)) * time.Second)
		want := best(set, now, tried)
		for _, name := range Names() {
			p := balancers[name]
			key := r.Uint64() >> (r.IntN(2) * 63) // 0 or 1 now and then
			ep, open := p.Pick(set, now, tried, key)
			got := 0
			if ep != nil {
				got = rank(set, ep, now, tried)
			}
			if got != want || open != (want == ejectedRank || want == ejectedAgainRank) || ep != nil && ep.Weight() == 0 {
				t.Fatalf("seed %d, %s: picked %v of rank %d, open %v; the best there is has %d", seed, name, ep, got, open, want)
			}
		}
	}
}

func best(set *endpoint.Set, now time.Time, tried []*endpoint.Endpoint) int {
	most := 0
	for i := range set.Len() {
		most = max(most, rank(set, set.At(i), now, tried))
	}
	return most
}

func randomState(r *rand.Rand) ([]*endpoint.Endpoint, endpoint.Layout) {
	load := endpoint.NewLoad(0, 0)
	var list []*endpoint.Endpoint
	levels, zones := 1+r.IntN(3), 1+r.IntN(3)
	unfitOf, ejectedOf := r.IntN(4), r.IntN(4)
	for i := range r.IntN(12) {
		e := endpoint.New(endpoint.Spec{
			Network: "tcp", Address: string(rune('a' + i)), Weight: r.IntN(4),
			Place: endpoint.Place{Priority: r.IntN(levels), Zone: []string{"x", "y", "z"}[r.IntN(zones)]},
		}, load, start)
		if r.IntN(4) < unfitOf {
			e.Checked(false, 0, "test", start)
		}
		if r.IntN(4) < ejectedOf {
			e.Eject(start, endpoint.Ejection{Length: func(int) time.Duration { return time.Duration(1+r.IntN(15)) * time.Second }})
		}
		if r.IntN(3) == 0 {
			e.Begin(start)
		}
		for range r.IntN(5) {
			e.Began()
		}
		list = append(list, e)
	}
	layout := endpoint.Layout{Zone: "x", ZoneLeast: 1 + r.IntN(3), Overprovision: 1 + r.Float64()}
	if r.IntN(2) == 0 {
		layout.SlowStart = endpoint.SlowStart{Window: 10 * time.Second, Least: 0.05}
	}
	return list, layout
}
