package balance

import (
	"testing"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
)

// reporting simulates endpoints of different capacities that say each second what
// they served and how busy that made them, as a service would, and gives the share
// of each in the last ten seconds.
func reporting(t *testing.T, capacities []float64) (shares []float64, sets int) {
	t.Helper()
	p, _ := balancer(t, "round_robin")
	list := named(len(capacities))
	set := endpoint.Layout{Reports: true}.NewSet(list)
	const rate, seconds = 1000, 60
	shares = make([]float64, len(list))
	for second := range seconds {
		served := map[*endpoint.Endpoint]float64{}
		now := start.Add(time.Duration(second) * time.Second)
		for range rate {
			ep, _ := p.Pick(set, now, nil, 0)
			served[ep]++
		}
		for i, ep := range list {
			if second >= seconds-10 {
				shares[i] += served[ep] / (10 * rate)
			}
			ep.Reported(served[ep]/(served[ep]/capacities[i]), now) // rps / utilisation
		}
		if next := set.Weigh(now); next != set {
			set = next
			sets++
		}
	}
	return shares, sets
}

// TestReportsFollowCapacity is the scenario in which reports are needed: alike by
// weight, and one has three times as much to give.
func TestReportsFollowCapacity(t *testing.T) {
	got, sets := reporting(t, []float64{1000, 1000, 3000})
	if got[2] < 0.58 || got[2] > 0.62 || got[0] < 0.18 || got[0] > 0.22 {
		t.Errorf("shares %v, want 0.2, 0.2, 0.6", got)
	}
	if sets != 1 {
		t.Errorf("%d sets were made, want one: the capacities do not change", sets)
	}
}

// TestReportsStayQuiet: equals stay equals, and no set is made.
func TestReportsStayQuiet(t *testing.T) {
	got, sets := reporting(t, []float64{2000, 2000, 2000})
	if sets != 0 || got[0] < 0.32 || got[0] > 0.35 {
		t.Errorf("shares %v after %d sets", got, sets)
	}
}
