package balance

import (
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirproxy/weir/internal/endpoint"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// members makes one endpoint per weight, named a, b, c, ...
func members(weights ...int) []*endpoint.Endpoint {
	load := endpoint.NewLoad(0, 0)
	var list []*endpoint.Endpoint
	for i, w := range weights {
		list = append(list, endpoint.New(endpoint.Spec{Network: "tcp", Address: fmt.Sprintf("%c", 'a'+i%26), Host: fmt.Sprint(i), Weight: w}, load, start))
	}
	return list
}

func forever(int) time.Duration { return time.Hour }

func eject(e *endpoint.Endpoint) { e.Eject(start, endpoint.Ejection{Length: forever}) }

func pickers() map[string]Picker {
	return map[string]Picker{"round_robin": newRoundRobin(0), "random": Random{}, "least_request": LeastRequest{}, "peak_ewma": PeakEWMA{}}
}

func TestRoundRobinOrder(t *testing.T) {
	cases := []struct {
		weights []int
		want    string
	}{
		{[]int{1, 1, 1}, "bcabcabca"},
		{[]int{7, 7, 7}, "bcabcabca"},
		{[]int{1, 0, 1}, "cacac"},
		{[]int{5, 1, 1}, "aabacaaaabaca"}, // never more than four in a row, as with the well-known smooth algorithm
		{[]int{2, 4}, "bbabba"},
	}
	for _, c := range cases {
		set, r, got := endpoint.NewSet(members(c.weights...)), newRoundRobin(0), ""
		for range c.want {
			e, _ := r.Pick(set, start, nil, 0)
			got += e.Address
		}
		if got != c.want {
			t.Errorf("weights %v: %s, want %s", c.weights, got, c.want)
		}
	}
}

// TestRoundRobinIsSmooth: in any window every endpoint is near its share.
func TestRoundRobinIsSmooth(t *testing.T) {
	for _, weights := range [][]int{{1, 2, 3, 4}, {100, 1}, {3, 3, 7, 11, 1}, {1000, 999, 998, 1}} {
		list := members(weights...)
		set, r := endpoint.NewSet(list), newRoundRobin(0)
		count, total := map[*endpoint.Endpoint]float64{}, 0.0
		for _, w := range weights {
			total += float64(w)
		}
		for n := 1.0; n <= total; n++ {
			e, _ := r.Pick(set, start, nil, 0)
			count[e]++
			for _, e := range list {
				if off := math.Abs(count[e] - n*float64(e.Weight())/total); off > 2.5 {
					t.Fatalf("weights %v: after %v picks %s is %.1f off its share", weights, n, e.Address, off)
				}
			}
		}
		for _, e := range list {
			if count[e] != float64(e.Weight()) {
				t.Errorf("weights %v: %s came %v times in one round, want %d", weights, e.Address, count[e], e.Weight())
			}
		}
	}
}

// TestRoundRobinSkipsWithoutFavour: the endpoint behind one that is out does
// not get its share.
func TestRoundRobinSkipsWithoutFavour(t *testing.T) {
	list := members(1, 1, 1, 1)
	eject(list[1])
	set, r, count := endpoint.NewSet(list), newRoundRobin(0), map[string]int{}
	for range 300 {
		e, _ := r.Pick(set, start, nil, 0)
		count[e.Address]++
	}
	if count["a"] != 100 || count["b"] != 0 || count["c"] != 100 || count["d"] != 100 {
		t.Errorf("picks %v, want 100 each but none of b", count)
	}
}

func TestSharesByWeight(t *testing.T) {
	for name, p := range pickers() {
		for _, weights := range [][]int{{1, 1, 1, 1}, {1, 2, 3, 4}, {50, 1, 1, 1}} {
			list := members(weights...)
			set, count, sum := endpoint.NewSet(list), map[*endpoint.Endpoint]int{}, 0
			for _, w := range weights {
				sum += w
			}
			const picks = 100_000
			for range picks {
				e, _ := p.Pick(set, start, nil, 0)
				count[e]++
			}
			for i, e := range list {
				want := float64(picks*weights[i]) / float64(sum)
				if got := float64(count[e]); math.Abs(got-want) > 6*math.Sqrt(want)+1 {
					t.Errorf("%s %v: endpoint %d picked %v times, want about %v", name, weights, i, got, want)
				}
			}
		}
	}
}

// TestWhatMayBePicked is the table of the package comment.
func TestWhatMayBePicked(t *testing.T) {
	cases := []struct {
		name    string
		unfit   string
		ejected string
		tried   string
		want    string // any of these
		open    bool
	}{
		{name: "all fit", want: "abc"},
		{name: "one unfit", unfit: "b", want: "ac"},
		{name: "one ejected", ejected: "a", want: "bc"},
		{name: "tried comes last", tried: "ab", want: "c"},
		{name: "all tried", tried: "abc", want: "abc"},
		{name: "a tried one before an ejected one", tried: "a", ejected: "bc", want: "a"},
		{name: "all ejected: fail open", ejected: "abc", want: "abc", open: true},
		{name: "all ejected, untried first", ejected: "abc", tried: "ab", want: "c", open: true},
		{name: "all ejected and tried", ejected: "abc", tried: "abc", want: "abc", open: true},
		{name: "rest unfit: the ejected one", ejected: "c", unfit: "ab", want: "c", open: true},
		{name: "all unfit", unfit: "abc", want: ""},
		{name: "unfit counts more than ejected", unfit: "abc", ejected: "abc", want: ""},
	}
	for _, c := range cases {
		list := members(1, 1, 1)
		by := map[string]*endpoint.Endpoint{"a": list[0], "b": list[1], "c": list[2]}
		for _, r := range c.unfit {
			by[string(r)].Checked(false, endpoint.ByAnswer, "test", start)
		}
		for _, r := range c.ejected {
			eject(by[string(r)])
		}
		var tried []*endpoint.Endpoint
		for _, r := range c.tried {
			tried = append(tried, by[string(r)])
		}
		set := endpoint.NewSet(list)
		for name, p := range pickers() {
			got := map[string]bool{}
			for range 500 {
				e, open := p.Pick(set, start, tried, 0)
				if e == nil {
					got[""] = true
					continue
				}
				got[e.Address] = true
				if open != c.open {
					t.Fatalf("%s, %s: open %v, want %v", c.name, name, open, c.open)
				}
			}
			want := map[string]bool{}
			for _, r := range c.want {
				want[string(r)] = true
			}
			if c.want == "" {
				want[""] = true
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s, %s: picked %v, want %v", c.name, name, got, want)
			}
		}
	}
}

// TestFailOpenReachesAll, whatever number of turns a search takes.
func TestFailOpenReachesAll(t *testing.T) {
	for n := 1; n <= 2*maxDraws+2; n++ {
		weights := make([]int, n)
		for i := range weights {
			weights[i] = 1
		}
		list := members(weights...)
		for _, e := range list {
			eject(e)
		}
		set, seen, r := endpoint.NewSet(list), map[*endpoint.Endpoint]bool{}, newRoundRobin(0)
		for range 50 * n {
			e, _ := r.Pick(set, start, nil, 0)
			seen[e] = true
		}
		if len(seen) != n {
			t.Errorf("of %d ejected endpoints %d were picked", n, len(seen))
		}
	}
}

func TestNoEndpoints(t *testing.T) {
	for name, p := range pickers() {
		for _, set := range []*endpoint.Set{endpoint.NewSet(nil), endpoint.NewSet(members(0, 0))} {
			if e, open := p.Pick(set, start, nil, 0); e != nil || open {
				t.Errorf("%s picked %v from nothing", name, e)
			}
		}
	}
}

// TestFewAvailable goes through the look at every endpoint.
func TestFewAvailable(t *testing.T) {
	weights := make([]int, 5000)
	for i := range weights {
		weights[i] = 1 + i%3
	}
	list := members(weights...)
	for i, e := range list {
		if i != 1234 {
			eject(e)
		}
	}
	set := endpoint.NewSet(list)
	for name, p := range pickers() {
		for range 100 {
			if e, open := p.Pick(set, start, nil, 0); e != list[1234] || open {
				t.Fatalf("%s did not find the only endpoint", name)
			}
		}
	}
}

func TestLeastRequestPrefersTheIdle(t *testing.T) {
	list := members(1, 1)
	list[0].Began()
	set := endpoint.NewSet(list)
	for range 100 {
		if e, _ := (LeastRequest{}).Pick(set, start, nil, 0); e != list[1] {
			t.Fatal("picked the busy one of two")
		}
	}
	heavy := members(10, 1) // nine under way of weight 10 are less than one of weight 1
	for range 9 {
		heavy[0].Began()
	}
	heavy[1].Began()
	set = endpoint.NewSet(heavy)
	light := 0
	for range 1000 {
		if e, _ := (LeastRequest{}).Pick(set, start, nil, 0); e == heavy[1] {
			light++
		}
	}
	if light > 0 {
		// Only when the light one was drawn twice in a row eight times over.
		t.Errorf("picked the fuller one %d times", light)
	}
}

// TestLeastRequestKeepsQueuesShort is the power of two choices: with as many
// under way as endpoints, the longest queue stays short.
func TestLeastRequestKeepsQueuesShort(t *testing.T) {
	weights := make([]int, 1000)
	for i := range weights {
		weights[i] = 1
	}
	list := members(weights...)
	set, longest := endpoint.NewSet(list), int64(0)
	for range list {
		e, _ := (LeastRequest{}).Pick(set, start, nil, 0)
		e.Began()
		longest = max(longest, e.InFlight())
	}
	if longest > 4 { // by chance alone it is 5 to 7
		t.Errorf("longest queue %d, want at most 4", longest)
	}
}

func TestConcurrentPicks(t *testing.T) {
	list := members(1, 2, 3, 4)
	set := endpoint.NewSet(list)
	for _, p := range pickers() {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for i := range 2000 {
					e, _ := p.Pick(set, start, nil, 0)
					if e == nil {
						t.Error("no endpoint")
						return
					}
					e.Began()
					if i%100 == 0 && e != list[0] {
						e.Checked(i%200 == 0, endpoint.ByAnswer, "test", start)
					}
					e.Aborted()
				}
			})
		}
		wg.Wait()
	}
}

func TestNewRefusesOtherNames(t *testing.T) {
	if _, err := New(Config{Name: "fastest"}); err == nil {
		t.Error("an unknown name was accepted")
	}
	for _, name := range Names() {
		if _, err := New(Config{Name: name}); err != nil {
			t.Error(err)
		}
	}
}

func TestAllocsPick(t *testing.T) {
	for _, weights := range [][]int{{1, 1, 1}, {1, 2, 3}} {
		set := endpoint.NewSet(members(weights...))
		for name, p := range pickers() {
			if n := testing.AllocsPerRun(1000, func() { p.Pick(set, start, nil, 0) }); n != 0 {
				t.Errorf("%s allocates %v times", name, n)
			}
		}
	}
}

func BenchmarkPick(b *testing.B) {
	for name, p := range pickers() {
		for _, c := range []struct {
			name   string
			weight func(i int) int
			out    int // of ten
		}{
			{"even", func(int) int { return 1 }, 0},
			{"weighted", func(i int) int { return 1 + i%100 }, 0},
			{"even,half_out", func(int) int { return 1 }, 5},
			{"weighted,nine_tenths_out", func(i int) int { return 1 + i%100 }, 9},
		} {
			weights := make([]int, 10_000)
			for i := range weights {
				weights[i] = c.weight(i)
			}
			list := members(weights...)
			for i, e := range list {
				if i*7%10 < c.out {
					eject(e)
				}
			}
			set := endpoint.NewSet(list)
			b.Run(name+"/"+c.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					p.Pick(set, start, nil, 0)
				}
			})
		}
	}
}
