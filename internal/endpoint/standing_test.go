package endpoint

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// placed makes an endpoint for each place "priority/zone".
func placed(places ...string) []*Endpoint {
	load := NewLoad(0, 0)
	var list []*Endpoint
	for i, text := range places {
		var p Place
		_, _ = fmt.Sscanf(text, "%d/%s", &p.Priority, &p.Zone)
		list = append(list, New(Spec{Network: "tcp", Address: fmt.Sprintf("10.0.0.%d:80", i), Weight: 1, Place: p}, load, start))
	}
	return list
}

func times(n int, place string) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = place
	}
	return list
}

func concat(parts ...[]string) (all []string) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func TestLevelShares(t *testing.T) {
	cases := []struct {
		name  string
		sizes []int // of each priority
		unfit []int
		over  float64
		want  string
	}{
		{"all fit", []int{10, 10}, []int{0, 0}, 1.4, "1.00 0.00"},
		{"what overprovisioning covers", []int{10, 10}, []int{2, 0}, 1.4, "1.00 0.00"},
		{"half fit", []int{10, 10}, []int{5, 0}, 1.4, "0.70 0.30"},
		{"half fit, no overprovisioning", []int{10, 10}, []int{5, 0}, 1, "0.50 0.50"},
		{"the first is out", []int{10, 10}, []int{10, 0}, 1.4, "0.00 1.00"},
		{"the third takes what is left", []int{10, 10, 10}, []int{8, 6, 0}, 1.4, "0.28 0.56 0.16"},
		{"all together are too few", []int{10, 10}, []int{8, 9}, 1.4, "0.67 0.33"},
		{"nobody", []int{10, 10}, []int{10, 10}, 1.4, "1.00 0.00"},
		{"a single backup", []int{1, 1}, []int{1, 0}, 1.4, "0.00 1.00"},
	}
	for _, c := range cases {
		var places []string
		for priority, n := range c.sizes {
			places = append(places, times(n, fmt.Sprintf("%d/", priority*3))...)
		}
		list := placed(places...)
		at := 0
		for priority, n := range c.unfit {
			for _, e := range list[at : at+n] {
				e.Checked(false, ByAnswer, "test", start)
			}
			at += c.sizes[priority]
		}
		set := Layout{Overprovision: c.over}.NewSet(list)
		got, sum := "", 0.0
		for i, l := range set.Standing(start).Levels {
			if i > 0 {
				got += " "
			}
			got += fmt.Sprintf("%.2f", l.Share)
			sum += l.Share
			if l.Priority != i*3 {
				t.Errorf("%s: level %d has priority %d", c.name, i, l.Priority)
			}
		}
		if got != c.want || math.Abs(sum-1) > 1e-9 {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// TestZonePreference: how much stays in zone a.
func TestZonePreference(t *testing.T) {
	abc := concat(times(3, "0/a"), times(3, "0/b"), times(3, "0/c"))
	cases := []struct {
		name   string
		places []string
		unfit  []int
		want   string // shares of the zones; "": the level shares as one
	}{
		{"its share is there", abc, nil, "[1.00 0.00 0.00]"},
		{"another zone is smaller", abc, []int{3, 4}, "[1.00 0.00 0.00]"},
		{"one of three is out", abc, []int{0}, "[0.75 0.12 0.12]"},
		{"two of three are out, and one in b", abc, []int{0, 1, 3}, "[0.50 0.00 0.50]"},
		{"none is left", abc, []int{0, 1, 2}, "[0.00 0.50 0.50]"},
		{"too few are left", abc, []int{0, 1, 2, 3}, ""},
		{"a small zone among large ones", concat(times(1, "0/a"), times(4, "0/b"), times(3, "0/c")), nil, "[0.38 0.50 0.13]"},
		{"a large zone", concat(times(8, "0/a"), times(1, "0/b")), nil, "[1.00 0.00]"},
		{"two zones, one endpoint more in the other", concat(times(3, "0/a"), times(4, "0/b")), nil, "[0.86 0.14]"},
		{"not our zone", concat(times(5, "0/x"), times(5, "0/b")), nil, ""},
		{"one zone", times(9, "0/a"), nil, ""},
	}
	for _, c := range cases {
		list := placed(c.places...)
		for _, i := range c.unfit {
			list[i].Checked(false, ByAnswer, "test", start)
		}
		set := Layout{Zone: "a", ZoneLeast: 6}.NewSet(list)
		got := ""
		if set.Levels() != nil {
			if zones := set.Standing(start).Levels[0].Zones; zones != nil {
				got = fmt.Sprintf("%.2f", zones)
			}
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// TestZonesShareEvenly: when every zone has a proxy that sends the same, what
// arrives at each fit endpoint is the same, as far as zones have a surplus to give.
func TestZonesShareEvenly(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	for range 500 {
		n := 2 + r.IntN(4)
		fit, load := make([]float64, n), make([]float64, n)
		total := 0.0
		for i := range fit {
			fit[i] = float64(1 + r.IntN(20))
			total += fit[i]
		}
		for local := range fit {
			sum := 0.0
			for i, share := range zoneShares(fit, local) {
				load[i] += share / float64(n)
				sum += share
			}
			if math.Abs(sum-1) > 1e-9 {
				t.Fatalf("seed %d: the shares of %v from %d add up to %v", seed, fit, local, sum)
			}
		}
		for i := range fit {
			if want := fit[i] / total; math.Abs(load[i]-want) > 1e-9 {
				t.Fatalf("seed %d: of %v zone %d gets %v, want %v", seed, fit, i, load[i], want)
			}
		}
	}
}

// TestStandingFollows: it is made again when health changes and when an ejection
// ends, and at no other time.
func TestStandingFollows(t *testing.T) {
	list := placed("0/", "0/", "1/", "1/")
	made := 0
	layout := Layout{Overprovision: 1, PanicBelow: 0.4, OnStanding: func(*Standing) { made++ }}
	set := layout.NewSet(list)
	look := func(at time.Duration, share float64, panics bool, times int) {
		t.Helper()
		st := set.Standing(start.Add(at))
		if st != set.Standing(start.Add(at)) {
			t.Error("made again without a change")
		}
		if l := st.Levels[0]; l.Share != share || l.Panic != panics || made != times {
			t.Errorf("after %v: share %v, panic %v, made %d times; want %v, %v, %d", at, l.Share, l.Panic, made, share, panics, times)
		}
	}
	look(0, 1, false, 1)
	list[0].Eject(start, Ejection{Length: func(int) time.Duration { return time.Minute }})
	look(time.Second, 0.5, false, 2)
	list[1].Checked(false, ByAnswer, "test", start.Add(time.Second))
	look(2*time.Second, 0, true, 3)
	look(59*time.Second, 0, true, 3)
	look(60*time.Second, 0, true, 3) // nobody has tried it
	trial, _ := list[0].Try(start.Add(60 * time.Second))
	trial.Good(start.Add(60*time.Second), 1)
	look(60*time.Second, 0.5, false, 4)
	list[1].Checked(true, ByAnswer, "", start.Add(time.Minute))
	look(61*time.Second, 1, false, 5)
	look(time.Hour, 1, false, 5)
}

// TestNothingToDecide: a set without differences has no levels.
func TestNothingToDecide(t *testing.T) {
	for _, places := range [][]string{nil, {"0/"}, {"0/a", "0/a"}, {"2/", "2/"}} {
		set := Layout{Zone: "a", Overprovision: 1.4}.NewSet(placed(places...))
		if set.Levels() != nil {
			t.Errorf("%v: levels", places)
		}
		if st := set.Standing(start); len(st.Levels) != 0 {
			t.Errorf("%v: %v", places, st)
		}
	}
}

func TestDraw(t *testing.T) {
	st := &Standing{Levels: []LevelStanding{{Share: 0.25}, {Share: 0}, {Share: 0.75, Zones: []float64{0, 0.5, 0.5, 0}}}}
	for _, c := range []struct {
		point float64
		want  int
	}{{0, 0}, {0.24, 0}, {0.26, 2}, {0.9999999, 2}} {
		if got := st.Draw(uint32(c.point * (1 << 32))); got != c.want {
			t.Errorf("%v: level %d, want %d", c.point, got, c.want)
		}
	}
	for point, want := range map[uint32]int{0: 1, 1<<31 - 1: 1, 1 << 31: 2, math.MaxUint32: 2} {
		if got := st.Levels[2].DrawZone(point); got != want {
			t.Errorf("%d: zone %d, want %d", point, got, want)
		}
	}
}

func TestSlowStartShare(t *testing.T) {
	cases := []struct {
		aggression float64
		age        time.Duration
		want       float64
	}{
		{1, 0, 0.1}, {1, time.Second, 0.1}, {1, 15 * time.Second, 0.5}, {1, 30 * time.Second, 1}, {1, time.Hour, 1},
		{2, 7500 * time.Millisecond, 0.5}, {0.5, 15 * time.Second, 0.25}, {0, 15 * time.Second, 0.5},
	}
	for _, c := range cases {
		e := placed("0/")[0]
		s := SlowStart{Window: 30 * time.Second, Least: 0.1, Aggression: c.aggression}
		if s.Share(e, start) != 1 {
			t.Error("one that was there from the start has less than its share")
		}
		e.Begin(start.Add(time.Minute))
		if got := s.Share(e, start.Add(time.Minute+c.age)); math.Abs(got-c.want) > 1e-6 {
			t.Errorf("aggression %v after %v: %v, want %v", c.aggression, c.age, got, c.want)
		}
	}
}

// TestSlowStartBegins: when an endpoint comes back from a check or an ejection, and
// goes on in the one that replaces it.
func TestSlowStartBegins(t *testing.T) {
	s := SlowStart{Window: 10 * time.Second, Least: 0.1}
	share := func(e *Endpoint, at time.Duration, want float64) {
		t.Helper()
		if got := s.Share(e, start.Add(at)); math.Abs(got-want) > 1e-6 {
			t.Errorf("after %v: %v, want %v", at, got, want)
		}
	}
	e := placed("0/")[0]
	e.Checked(false, ByAnswer, "test", start.Add(time.Second))
	e.Checked(true, ByAnswer, "", start.Add(20*time.Second))
	share(e, 25*time.Second, 0.5)
	e.Eject(start.Add(40*time.Second), Ejection{Length: func(int) time.Duration { return 5 * time.Second }})
	trial, _ := e.Try(start.Add(50 * time.Second))
	trial.Good(start.Add(50*time.Second), 1)
	share(e, 50*time.Second, 0.1)
	share(e, 55*time.Second, 0.5)
	heir := New(Spec{Network: "tcp", Address: "10.0.0.0:80", Weight: 1}, NewLoad(0, 0), start.Add(55*time.Second))
	heir.Inherit(e)
	share(heir, 57*time.Second, 0.7)
	share(heir, 60*time.Second, 1)
}

func TestSubset(t *testing.T) {
	load := NewLoad(0, 0)
	var list []*Endpoint
	for i, labels := range []map[string]string{{"version": "v1"}, {"version": "v2"}, {"version": "v2", "size": "big"}, nil} {
		list = append(list, New(Spec{Network: "tcp", Address: fmt.Sprint(i), Weight: 1, Place: Place{Priority: i % 2, Labels: labels}}, load, start))
	}
	set := Layout{Overprovision: 1.4, SlowStart: SlowStart{Window: time.Minute}}.NewSet(list)
	for _, c := range []struct {
		labels map[string]string
		want   string
	}{
		{nil, "0123"}, {map[string]string{"version": "v2"}, "12"}, {map[string]string{"version": "v2", "size": "big"}, "2"},
		{map[string]string{"version": "v3"}, ""}, {map[string]string{"size": ""}, ""},
	} {
		by, got := NewSelector(c.labels), ""
		sub := set.Subset(by)
		for _, e := range sub.All() {
			got += e.Address
		}
		if got != c.want || !sub.Slow() {
			t.Errorf("%v: %s, want %s", c.labels, got, c.want)
		}
	}
	if NewSelector(map[string]string{"a": "b", "c": "d"}).Key() != NewSelector(map[string]string{"c": "d", "a": "b"}).Key() ||
		NewSelector(map[string]string{"a": "bc"}).Key() == NewSelector(map[string]string{"ab": "c"}).Key() {
		t.Error("keys")
	}
}

// TestBusy: a small set is counted exactly, a large one after some time.
func TestBusy(t *testing.T) {
	list := placed(times(4, "0/")...)
	set := NewSet(list)
	list[0].Began()
	list[1].Began()
	list[1].Checked(false, ByAnswer, "test", start)
	if n, w := set.Busy(start); n != 1 || w != 3 {
		t.Errorf("%d under way at a weight of %d", n, w)
	}
	for inFlight, want := range map[int64]int64{0: leastRoom, 7: leastRoom, 19: 7} { // 1.25 * 20 / 4
		if room := set.Room(0, 1.25, inFlight, 4); room != want {
			t.Errorf("room for %d when %d are under way, want %d", room, inFlight, want)
		}
	}
	list = placed(times(1000, "0/")...)
	set = NewSet(list)
	set.Busy(start)
	list[0].Began()
	if n, _ := set.Busy(start.Add(time.Microsecond)); n != 0 {
		t.Error("a large set is counted each time")
	}
	if n, _ := set.Busy(start.Add(time.Millisecond)); n != 1 {
		t.Error("a large set is not counted again")
	}
}

func TestTableShares(t *testing.T) {
	for _, weights := range [][]int{{1}, {1, 1, 1}, {1, 2, 3, 4}, {1000, 1}, {1 << 20, 1 << 19, 1}} {
		set := NewSet(members(NewLoad(0, 0), weights...))
		set.Table()
		count, sum := make([]int, len(weights)), 0
		for key := range uint64(set.Seats()) {
			count[set.Seat(key)]++
		}
		for _, w := range weights {
			sum += w
		}
		for i, w := range weights {
			want := float64(set.Seats()) * float64(w) / float64(sum)
			if off := math.Abs(float64(count[i]) - want); off > 0.01*want+1 {
				t.Errorf("%v: endpoint %d has %d seats, want %.0f", weights, i, count[i], want)
			}
		}
	}
}

func TestPrime(t *testing.T) {
	for n, want := range map[int]int{1: 2, 2: 2, 4: 5, 65537: 65537, 65538: 65539, 1_000_000: 1_000_003} {
		if got := prime(n); got != want {
			t.Errorf("%d: %d, want %d", n, got, want)
		}
	}
}

// TestParts: what picks look at is made ready, and nothing else.
func TestParts(t *testing.T) {
	for _, c := range []struct {
		places []string
		below  float64
		want   int
	}{
		{nil, 0, 1}, {[]string{"0/", "0/"}, 0, 1}, {[]string{"0/", "1/"}, 0, 2}, {[]string{"0/", "1/"}, 0.1, 4},
		{[]string{"0/a", "0/b"}, 0, 3}, {[]string{"0/a", "0/b", "1/a", "1/a"}, 0, 4},
	} {
		n := 0
		Layout{PanicBelow: c.below}.NewSet(placed(c.places...)).Parts(func(*Set) { n++ })
		if n != c.want {
			t.Errorf("%v: %d parts, want %d", c.places, n, c.want)
		}
	}
}

// TestStandingConcurrently: many ask while health changes; each has an answer that
// was true.
func TestStandingConcurrently(t *testing.T) {
	list := placed("0/", "0/", "1/", "1/")
	set := Layout{Overprovision: 1}.NewSet(list)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 500 {
				if i == 0 {
					list[n%4].Checked(n/4%2 == 0, ByAnswer, "test", start)
				}
				if l := set.Standing(start).Levels; len(l) != 2 || math.Abs(l[0].Share+l[1].Share-1) > 1e-9 {
					t.Errorf("%+v", l)
					return
				}
			}
		})
	}
	wg.Wait()
}
