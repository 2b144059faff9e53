package balance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/weirproxy/weir/internal/endpoint"
)

// named makes n endpoints of weight 1.
func named(n int) []*endpoint.Endpoint {
	weights := make([]int, n)
	for i := range weights {
		weights[i] = 1
	}
	return members(weights...)
}

// owners is the endpoint of each of n keys.
func owners(set *endpoint.Set, n int, tried ...*endpoint.Endpoint) []*endpoint.Endpoint {
	keys, list := rand.New(rand.NewPCG(3, 4)), make([]*endpoint.Endpoint, n)
	for i := range list {
		list[i], _ = Hash{}.Pick(set, start, tried, keys.Uint64()|1)
	}
	return list
}

func TestHashSharesByWeight(t *testing.T) {
	for _, weights := range [][]int{{1, 1}, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, {1, 2, 3, 4}, {10, 1, 1}, {1 << 20, 1 << 19, 1 << 19}} {
		list := members(weights...)
		set, count, sum := endpoint.NewSet(list), map[*endpoint.Endpoint]int{}, 0
		for _, w := range weights {
			sum += w
		}
		const picks = 100_000
		for _, e := range owners(set, picks) {
			count[e]++
		}
		for i, e := range list {
			want := float64(picks*weights[i]) / float64(sum)
			if off := math.Abs(float64(count[e])-want) / want; off > 0.25 {
				t.Errorf("%v: endpoint %d has %d keys, want about %.0f", weights, i, count[e], want)
			}
		}
	}
}

// TestHashMovesOnlyWhatItMust: whichever way an endpoint leaves, its keys alone
// move, and to more than one other; when one comes, keys move to it alone.
func TestHashMovesOnlyWhatItMust(t *testing.T) {
	const keys = 20_000
	list := named(10)
	gone := list[3]
	before := owners(endpoint.NewSet(list), keys)
	check := func(name string, after []*endpoint.Endpoint) {
		heirs := map[*endpoint.Endpoint]int{}
		for i := range before {
			switch {
			case before[i] != gone && after[i] != before[i]:
				t.Fatalf("%s: key %d moved from an endpoint that stayed", name, i)
			case before[i] == gone && after[i] == gone:
				t.Fatalf("%s: key %d stayed at the endpoint that left", name, i)
			case before[i] == gone:
				heirs[after[i]]++
			}
		}
		if len(heirs) != 9 {
			t.Errorf("%s: %d endpoints took its keys over, want all 9", name, len(heirs))
		}
	}
	without := append(slices.Clone(list[:3]), list[4:]...)
	removed := owners(endpoint.NewSet(without), keys)
	check("removed", removed)
	check("tried", owners(endpoint.NewSet(list), keys, gone))
	eject(gone)
	ejected := owners(endpoint.NewSet(list), keys)
	check("ejected", ejected)
	if !slices.Equal(removed, ejected) {
		t.Error("a key goes elsewhere when its endpoint is ejected than when it is removed")
	}
	slices.Reverse(without)
	if !slices.Equal(removed, owners(endpoint.NewSet(without), keys)) {
		t.Error("the order of the endpoints in the document matters")
	}
}

// TestHashWeightMovesItsShare: more weight takes keys from all others, and moves
// none between them.
func TestHashWeightMovesItsShare(t *testing.T) {
	list := named(10)
	before := owners(endpoint.NewSet(list), 20_000)
	heavy := members(1, 1, 1, 2, 1, 1, 1, 1, 1, 1)
	after, moved := owners(endpoint.NewSet(heavy), 20_000), 0
	for i := range before {
		if before[i].Host == after[i].Host {
			continue
		}
		if moved++; after[i].Host != heavy[3].Host {
			t.Fatalf("key %d moved from %s to %s", i, before[i].Host, after[i].Host)
		}
	}
	if share := float64(moved) / 20_000; share < 0.05 || share > 0.12 {
		t.Errorf("%.3f of the keys moved, want about 1/11", share)
	}
}

// TestHashWhenFewAreLeft: the walk along the ring ends, and the best that is
// left is picked, in the key's own order.
func TestHashWhenFewAreLeft(t *testing.T) {
	list := named(200)
	set := endpoint.NewSet(list)
	for i, e := range list {
		if i != 7 && i != 9 {
			eject(e)
		}
	}
	count := map[*endpoint.Endpoint]int{}
	for _, e := range owners(set, 10_000) {
		count[e]++
	}
	if len(count) != 2 || count[list[7]] < 3500 || count[list[9]] < 3500 {
		t.Errorf("of two endpoints left: %d and %d of 10000", count[list[7]], count[list[9]])
	}
	steps := []struct {
		change func()
		tried  []*endpoint.Endpoint
		want   *endpoint.Endpoint
		open   bool
	}{
		{func() {}, []*endpoint.Endpoint{list[7]}, list[9], false},
		{func() { list[9].Checked(false, endpoint.ByAnswer, "test", start) }, []*endpoint.Endpoint{list[7]}, list[7], false},
		{func() { list[7].Checked(false, endpoint.ByAnswer, "test", start) }, nil, nil, true},
		{func() {
			for _, e := range list[:199] {
				e.Checked(false, endpoint.ByAnswer, "test", start)
			}
		}, nil, list[199], true},
		{func() {}, []*endpoint.Endpoint{list[199]}, list[199], true},
	}
	for i, s := range steps {
		s.change()
		e, open := Hash{}.Pick(set, start, s.tried, 12345)
		if s.want != nil && e != s.want || e == nil || open != s.open {
			t.Fatalf("step %d: %v, open %v", i, e, open)
		}
	}
	list[199].Checked(false, endpoint.ByAnswer, "test", start)
	if e, open := (Hash{}).Pick(set, start, nil, 12345); e != nil || open {
		t.Error("all are unfit, and one was picked")
	}
	if e, _ := (Hash{}).Pick(endpoint.NewSet(nil), start, nil, 1); e != nil {
		t.Error("an endpoint out of nothing")
	}
}

func TestHashWithoutKey(t *testing.T) {
	list := members(3, 1)
	set, heavy := endpoint.NewSet(list), 0
	for range 4000 {
		if e, _ := (Hash{}).Pick(set, start, nil, 0); e == list[0] {
			heavy++
		}
	}
	if heavy < 2800 || heavy > 3200 {
		t.Errorf("%d of 4000 without a key, want about 3000 by weight", heavy)
	}
}

func TestAllocsHash(t *testing.T) {
	set := endpoint.NewSet(named(100))
	Hash{}.Prepare(set)
	if n := testing.AllocsPerRun(1000, func() { Hash{}.Pick(set, start, nil, 99) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkHash(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000} {
		set := endpoint.NewSet(named(n))
		Hash{}.Prepare(set)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			key := uint64(1)
			for b.Loop() {
				key += 0x9e3779b97f4a7c15
				Hash{}.Pick(set, start, nil, key)
			}
		})
	}
}

// BenchmarkHashPrepare is what a change of endpoints costs.
func BenchmarkHashPrepare(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000} {
		list := named(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				Hash{}.Prepare(endpoint.NewSet(list))
			}
		})
	}
}
