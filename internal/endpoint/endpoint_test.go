package endpoint

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func members(load *Load, weights ...int) []*Endpoint {
	var list []*Endpoint
	for i, w := range weights {
		list = append(list, New(Spec{Network: "tcp", Address: fmt.Sprintf("10.0.0.%d:80", i), Host: "x", Weight: w}, load, start))
	}
	return list
}

// TestOwner compares the guided search with a walk.
func TestOwner(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	cases := [][]int{{1}, {1, 1}, {1, 2}, {1, 1 << 20}, {1 << 20, 1, 1, 1}, {1, 1, 1, 1 << 20}, {4, 8, 12}, {0, 3, 0, 1}}
	for range 200 {
		weights := make([]int, 1+r.IntN(40))
		for i := range weights {
			weights[i] = r.IntN(1 << r.IntN(12))
		}
		cases = append(cases, weights)
	}
	for _, weights := range cases {
		set := NewSet(members(NewLoad(0, 0), weights...))
		var owners []int
		for i := range set.Len() {
			n := 1
			if !set.Even() {
				n = int(set.sums[i])
				if i > 0 {
					n -= int(set.sums[i-1])
				}
			}
			for range n {
				owners = append(owners, i)
			}
		}
		if len(owners) != int(set.Tickets()) {
			t.Fatalf("%v: %d tickets, want %d", weights, set.Tickets(), len(owners))
		}
		for ticket, want := range owners {
			if got := set.Owner(uint64(ticket)); got != want {
				t.Fatalf("%v: ticket %d belongs to %d, want %d", weights, ticket, got, want)
			}
		}
		if set.Len() == 0 {
			continue
		}
		turns := make([]int, set.Len())
		for n := range set.Tickets() {
			turns[set.Turn(n)]++
		}
		for i, n := range turns {
			if uint64(n)*uint64(set.Weight(0)) != uint64(turns[0])*uint64(set.Weight(i)) {
				t.Fatalf("%v: turns %v in one round", weights, turns)
			}
		}
	}
}

// TestHugeWeights: the sum stays below 2^32, and nobody loses everything.
func TestHugeWeights(t *testing.T) {
	weights := make([]int, 10_000)
	for i := range weights {
		weights[i] = 1<<30 + i // clamped to maxWeight
	}
	weights[7] = 1
	set := NewSet(members(NewLoad(0, 0), weights...))
	if set.Tickets() >= 1<<32 {
		t.Fatalf("%d tickets do not fit", set.Tickets())
	}
	own := set.sums[7] - set.sums[6]
	if own != 1 {
		t.Errorf("the smallest weight has %d tickets, want 1", own)
	}
	set.Turn(1<<64 - 1)
	set.Owner(set.Tickets() - 1)
}

func TestUpdateKeepsWhatStays(t *testing.T) {
	load, built := NewLoad(0, 0), 0
	build := func(s Spec) *Endpoint { built++; return New(s, load, start) }
	spec := func(address string, weight int) Spec {
		return Spec{Network: "tcp", Address: address, Host: "h", Weight: weight}
	}
	var none *Set
	first, gone := none.Update([]Spec{spec("a", 1), spec("b", 1), spec("a", 9)}, build)
	if built != 2 || len(gone) != 0 || len(first.All()) != 2 || !first.Even() {
		t.Fatalf("built %d, gone %d, all %d", built, len(gone), len(first.All()))
	}
	a := first.All()[0]
	a.Failed()
	second, gone := first.Update([]Spec{spec("c", 1), spec("a", 3)}, build)
	if built != 3 || len(gone) != 1 || gone[0].Address != "b" {
		t.Fatalf("built %d, gone %v", built, gone)
	}
	if second.All()[1] != a || a.Status(start).Failures != 1 || a.Weight() != 3 || second.Even() {
		t.Error("the endpoint that stayed lost its state or kept its old weight")
	}
	other := spec("a", 1)
	other.Host = "another"
	if third, _ := second.Update([]Spec{other}, build); third.All()[0] == a {
		t.Error("the same address under another name is another endpoint (SNI)")
	}
}

func TestLoad(t *testing.T) {
	l := NewLoad(2, 1)
	if first, second, third := l.Enter(), l.Enter(), l.Enter(); !first || !second || third {
		t.Fatal("two places, not more and not fewer")
	}
	e := members(l, 1)[0]
	e.Began()
	e.Aborted()
	if l.Requests() != 2 || e.InFlight() != 0 {
		t.Fatal("an attempt without response keeps the place of the request")
	}
	e.Began()
	e.Ended()
	if l.Requests() != 1 || e.InFlight() != 0 || !l.Enter() {
		t.Fatal("the end of an exchange gives the place back")
	}
	if !l.Open() || l.Open() || l.Connections() != 1 {
		t.Fatal("one connection, not more")
	}
	l.Closed()
	if !l.Open() {
		t.Fatal("the place of a closed connection is free")
	}
	for none := NewLoad(0, 0); none.Requests() < 100; {
		if !none.Enter() {
			t.Fatal("0 is no limit")
		}
	}
}

func TestLoadIsNeverExceeded(t *testing.T) {
	l := NewLoad(5, 0)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 1000 {
				if l.Enter() {
					if n := l.Requests(); n > 5+16 { // others may be about to find it full
						t.Errorf("%d under way", n)
					}
					l.Leave()
				}
			}
		})
	}
	wg.Wait()
	if l.Requests() != 0 {
		t.Errorf("%d places lost", l.Requests())
	}
}

func TestAuthority(t *testing.T) {
	for _, tt := range []struct {
		spec Spec
		want string
	}{
		{Spec{Network: "tcp", Address: "10.0.0.1:8080", Host: "api.example."}, "api.example:8080"},
		{Spec{Network: "tcp", Address: "10.0.0.1:80", Host: "api.example"}, "api.example"},
		{Spec{Network: "tcp", Address: "[2001:db8::1]:443", Host: "2001:db8::1"}, "[2001:db8::1]"},
		{Spec{Network: "tcp", Address: "[2001:db8::1]:81", Host: "[2001:db8::1]"}, "[2001:db8::1]:81"},
		{Spec{Network: "tcp", Address: "10.0.0.1:81"}, "10.0.0.1:81"},
		{Spec{Network: "unix", Address: "/run/api.sock"}, "localhost"},
	} {
		e := New(tt.spec, NewLoad(0, 0), time.Time{})
		if got := e.Authority(); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.spec, got, tt.want)
		}
	}
}
