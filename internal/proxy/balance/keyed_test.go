package balance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/weirproxy/weir/internal/endpoint"
)

func keyedPickers(k Keyed) map[string]Picker {
	return map[string]Picker{"hash": Hash{k}, "maglev": Maglev{k}, "rendezvous": Rendezvous{k}}
}

func homes(p Picker, set *endpoint.Set, n int, tried ...*endpoint.Endpoint) []*endpoint.Endpoint {
	keys, list := rand.New(rand.NewPCG(3, 4)), make([]*endpoint.Endpoint, n)
	for i := range list {
		list[i], _ = p.Pick(set, start, tried, keys.Uint64()|1)
	}
	return list
}

func TestKeyedSharesByWeight(t *testing.T) {
	for name, p := range keyedPickers(Keyed{}) {
		for _, weights := range [][]int{{1, 1}, {1, 2, 3, 4}, {10, 1, 1}} {
			list := members(weights...)
			count, sum := map[*endpoint.Endpoint]int{}, 0
			for _, w := range weights {
				sum += w
			}
			const picks = 50_000
			for _, e := range homes(p, endpoint.NewSet(list), picks) {
				count[e]++
			}
			for i, e := range list {
				want, slack := float64(picks*weights[i])/float64(sum), 0.05
				if name == "hash" {
					slack = 0.25 // the ring is not exact
				}
				if off := math.Abs(float64(count[e])-want) / want; off > slack {
					t.Errorf("%s %v: endpoint %d has %d keys, want about %.0f", name, weights, i, count[e], want)
				}
			}
		}
	}
}

// TestKeyedMoves: how many keys move beside those that must, when an endpoint is
// ejected or tried, and when it is removed.
func TestKeyedMoves(t *testing.T) {
	const keys = 20_000
	for name, p := range keyedPickers(Keyed{}) {
		list := named(20)
		set, gone := endpoint.NewSet(list), list[3]
		before := homes(p, set, keys)
		moved := func(after []*endpoint.Endpoint) (others int) {
			heirs := map[*endpoint.Endpoint]int{}
			for i := range before {
				switch {
				case before[i] != gone && after[i] != before[i]:
					others++
				case before[i] == gone && after[i] == gone:
					t.Fatalf("%s: a key stayed at the endpoint that left", name)
				case before[i] == gone:
					heirs[after[i]]++
				}
			}
			if len(heirs) != 19 {
				t.Errorf("%s: %d endpoints took its keys over, want all 19", name, len(heirs))
			}
			return others
		}
		if n := moved(homes(p, set, keys, gone)); n != 0 {
			t.Errorf("%s: %d keys of others moved although only one endpoint was tried", name, n)
		}
		without := slices.Delete(slices.Clone(list), 3, 4)
		removed := homes(p, endpoint.NewSet(without), keys)
		n := moved(removed)
		if limit := keys / 50; n > 0 && name != "maglev" || n > limit {
			t.Errorf("%s: %d keys of others moved when one endpoint was removed", name, n)
		}
		slices.Reverse(without)
		if !slices.Equal(removed, homes(p, endpoint.NewSet(without), keys)) {
			t.Errorf("%s: the order of the document matters", name)
		}
		eject(gone)
		if n := moved(homes(p, set, keys)); n != 0 {
			t.Errorf("%s: %d keys of others moved although one endpoint was ejected", name, n)
		}
	}
}

// TestHashBound is the scenario in which the bound is needed, one key that is half
// of the traffic, and the one in which it must stay quiet, keys that are all alike
// and few under way.
func TestHashBound(t *testing.T) {
	for name, p := range keyedPickers(Keyed{Bound: 1.25, Stats: new(Stats)}) {
		list := named(20)
		set, r := endpoint.NewSet(list), rand.New(rand.NewPCG(1, 1))
		for n := range 2000 {
			key := r.Uint64() | 1
			if n%2 == 0 {
				key = 4711
			}
			e, _ := p.Pick(set, start, nil, key)
			e.Began()
		}
		most := int64(0)
		for _, e := range list {
			most = max(most, e.InFlight())
		}
		if limit := int64(math.Ceil(1.25 * 2001 / 20)); most > limit {
			t.Errorf("%s: %d under way at one endpoint, want at most %d", name, most, limit)
		}
	}
	for name, p := range keyedPickers(Keyed{Bound: 1.25, Stats: new(Stats)}) {
		list := named(20)
		set, r := endpoint.NewSet(list), rand.New(rand.NewPCG(1, 1))
		free := keyedPickers(Keyed{})[name]
		for range 2000 { // one at a time: nobody is ever full
			key := r.Uint64() | 1
			e, _ := p.Pick(set, start, nil, key)
			if home, _ := free.Pick(set, start, nil, key); home != e {
				t.Fatalf("%s: a key left its home without need", name)
			}
			e.Began()
			e.Aborted()
		}
	}
}

// TestHashBoundKeepsTheOrder: what is too much goes to the same second endpoint.
func TestHashBoundKeepsTheOrder(t *testing.T) {
	for name := range keyedPickers(Keyed{}) {
		stats := new(Stats)
		p := keyedPickers(Keyed{Bound: 1.5, Stats: stats})[name]
		list := named(10)
		set := endpoint.NewSet(list)
		home, _ := p.Pick(set, start, nil, 4711)
		next, _ := p.Pick(set, start, []*endpoint.Endpoint{home}, 4711)
		for range 4 {
			home.Began()
		}
		for range 10 {
			if e, open := p.Pick(set, start, nil, 4711); e != next || open {
				t.Errorf("%s: the second in the order of the key is passed over", name)
			}
		}
		if stats.Spilled.Load() != 10 {
			t.Errorf("%s: %d counted as passed on", name, stats.Spilled.Load())
		}
	}
}

func TestKeyedWithoutKeyOrEndpoint(t *testing.T) {
	for name, p := range keyedPickers(Keyed{Bound: 1.25}) {
		set, heavy := endpoint.NewSet(members(3, 1)), 0
		for range 4000 {
			if e, _ := p.Pick(set, start, nil, 0); e == set.At(0) {
				heavy++
			}
		}
		if heavy < 2800 || heavy > 3200 {
			t.Errorf("%s: %d of 4000 without a key, want about 3000 by weight", name, heavy)
		}
		for _, key := range []uint64{0, 7} {
			if e, open := p.Pick(endpoint.NewSet(nil), start, nil, key); e != nil || open {
				t.Errorf("%s: an endpoint out of nothing", name)
			}
		}
	}
}

func TestAllocsKeyed(t *testing.T) {
	set := endpoint.NewSet(named(100))
	for name, p := range keyedPickers(Keyed{Bound: 1.25}) {
		key := uint64(1)
		if n := testing.AllocsPerRun(1000, func() { key++; p.Pick(set, start, nil, key) }); n > 0.1 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// BenchmarkPrepare is what a change of endpoints costs.
func BenchmarkPrepare(b *testing.B) {
	for name, p := range keyedPickers(Keyed{}) {
		for _, n := range []int{10, 1000, 10_000} {
			list := named(n)
			b.Run(fmt.Sprint(name, "/", n), func(b *testing.B) {
				for b.Loop() {
					p.(interface{ Prepare(*endpoint.Set) }).Prepare(endpoint.NewSet(list))
				}
			})
		}
	}
}

// BenchmarkBounded is a pick of each with the bound, among ten thousand endpoints.
func BenchmarkBounded(b *testing.B) {
	for name, p := range keyedPickers(Keyed{Bound: 1.25}) {
		set := endpoint.NewSet(named(10_000))
		p.(interface{ Prepare(*endpoint.Set) }).Prepare(set)
		b.Run(name, func(b *testing.B) {
			key := uint64(1)
			for b.Loop() {
				key += 0x9e3779b97f4a7c15
				p.Pick(set, start, nil, key)
			}
		})
	}
}
