package balance

import (
	"fmt"
	"testing"

	"github.com/weirproxy/weir/internal/endpoint"
)

// crowd makes endpoints with one request each at the most, of which all but some
// have it.
func crowd(n int, empty ...int) []*endpoint.Endpoint {
	load := endpoint.NewLoad(0, 0)
	load.LimitEndpoints(endpoint.Limits{Requests: 1})
	list := make([]*endpoint.Endpoint, n)
	for i := range list {
		list[i] = endpoint.New(endpoint.Spec{Network: "tcp", Address: fmt.Sprint(i), Weight: 1, Place: endpoint.Place{Priority: i % 2}}, load, start)
		_ = list[i].Began()
	}
	for _, i := range empty {
		list[i].Aborted()
	}
	return list
}

// TestPassesFullOnesOver: every balancer, with and without priorities, finds the
// one that has room, and when none has a full one rather than an ejected one.
func TestPassesFullOnesOver(t *testing.T) {
	for _, name := range Names() {
		for layout, l := range map[string]endpoint.Layout{"plain": {}, "panic": {PanicBelow: 0.1}} {
			p, _ := balancer(t, name)
			for empty := range 20 {
				list := crowd(20, empty)
				set := l.NewSet(list)
				for key := range uint64(50) {
					if e, open := p.Pick(set, start, nil, mix(key)); e != list[empty] || open {
						t.Fatalf("%s, %s: not the one with room", name, layout)
					}
				}
				tried := list[empty]
				if e, open := p.Pick(set, start, []*endpoint.Endpoint{tried}, 4711); e != tried || open {
					t.Errorf("%s, %s: one that was tried and has room is better than a full one", name, layout)
				}
				eject(list[empty])
				if e, open := p.Pick(set, start, nil, 4711); e == nil || e == list[empty] || open {
					t.Errorf("%s, %s: a full one is fit, and better than one that is ejected", name, layout)
				}
			}
		}
	}
}

// TestManyFullOnes: one of them is picked, without an allocation.
func TestManyFullOnes(t *testing.T) {
	list := crowd(3000)
	set := endpoint.NewSet(list)
	for _, name := range Names() {
		p, _ := balancer(t, name)
		p.(interface{ Prepare(*endpoint.Set) }).Prepare(set)
		if e, open := p.Pick(set, start, nil, 4711); e == nil || open {
			t.Errorf("%s: %v", name, e)
		}
		if n := testing.AllocsPerRun(10, func() { p.Pick(set, start, nil, 4711) }); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// BenchmarkAllFull is a pick among ten thousand endpoints that are all at their limit.
func BenchmarkAllFull(b *testing.B) {
	set := endpoint.NewSet(crowd(10_000))
	for _, name := range Names() {
		b.Run(name, func(b *testing.B) {
			p, _ := balancer(b, name)
			p.(interface{ Prepare(*endpoint.Set) }).Prepare(set)
			key := uint64(1)
			for b.Loop() {
				key += 0x9e3779b97f4a7c15
				p.Pick(set, start, nil, key)
			}
		})
	}
}
