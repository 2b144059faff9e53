package balance

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
)

// placed makes an endpoint for each "priority/zone", named by its number.
func placed(places ...string) []*endpoint.Endpoint {
	load := endpoint.NewLoad(0, 0)
	var list []*endpoint.Endpoint
	for i, text := range places {
		var p endpoint.Place
		_, _ = fmt.Sscanf(text, "%d/%s", &p.Priority, &p.Zone)
		list = append(list, endpoint.New(endpoint.Spec{Network: "tcp", Address: fmt.Sprint(i), Weight: 1, Place: p}, load, start))
	}
	return list
}

func unfit(list []*endpoint.Endpoint, which ...int) {
	for _, i := range which {
		list[i].Checked(false, endpoint.ByAnswer, "test", start)
	}
}

func balancer(t testing.TB, name string) (Picker, *Stats) {
	t.Helper()
	stats := new(Stats)
	p, err := New(Config{Name: name, Stats: stats})
	if err != nil {
		t.Fatal(err)
	}
	if prepared, ok := p.(interface{ Prepare(*endpoint.Set) }); !ok {
		t.Fatal("it cannot be shown a set")
	} else {
		prepared.Prepare(endpoint.NewSet(nil))
	}
	return p, stats
}

// shares picks n times with different keys and gives the share of each group of
// endpoints that by names.
func shares(p Picker, set *endpoint.Set, n int, by func(e *endpoint.Endpoint) string, tried ...*endpoint.Endpoint) map[string]float64 {
	got := map[string]float64{}
	for i := range n {
		ep, open := p.Pick(set, start, tried, mix(uint64(i)+1))
		name := "none"
		if ep != nil {
			name = by(ep)
		}
		if open {
			name += " open"
		}
		got[name] += 1 / float64(n)
	}
	return got
}

func byPriority(e *endpoint.Endpoint) string { return fmt.Sprint(e.Place().Priority) }
func byZone(e *endpoint.Endpoint) string     { return e.Zone() }
func byAddress(e *endpoint.Endpoint) string  { return e.Address }

func expect(t *testing.T, what string, got, want map[string]float64) {
	t.Helper()
	for name, share := range got {
		if math.Abs(share-want[name]) > 0.02 {
			t.Errorf("%s: %v, want %v", what, got, want)
			return
		}
	}
}

var fourAndFour = strings.Fields("0/ 0/ 0/ 0/ 1/ 1/ 1/ 1/")

// TestFailover: every balancer keeps to the levels.
func TestFailover(t *testing.T) {
	for _, name := range Names() {
		if name == "first" {
			continue
		}
		p, stats := balancer(t, name)
		list := placed(fourAndFour...)
		set := endpoint.Layout{Overprovision: 1.4}.NewSet(list)
		expect(t, name+", all fit", shares(p, set, 4000, byPriority), map[string]float64{"0": 1})
		unfit(list, 0)
		expect(t, name+", within the overprovisioning", shares(p, set, 4000, byPriority), map[string]float64{"0": 1})
		if stats.Failover.Load() != 0 {
			t.Errorf("%s: a failover was counted", name)
		}
		unfit(list, 1)
		got := shares(p, set, 4000, byPriority)
		if math.Abs(got["0"]-0.7) > 0.03 || math.Abs(got["1"]-0.3) > 0.03 || stats.Failover.Load() < 1000 {
			t.Errorf("%s: half of the first level is out: %v, %d failovers", name, got, stats.Failover.Load())
		}
		unfit(list, 2, 3)
		expect(t, name+", the first level is out", shares(p, set, 2000, byPriority), map[string]float64{"1": 1})
		for _, e := range list[4:] {
			eject(e)
		}
		expect(t, name+", the rest is ejected", shares(p, set, 500, byPriority), map[string]float64{"1 open": 1})
		unfit(list, 4, 5, 6, 7)
		expect(t, name+", all are unfit", shares(p, set, 100, byPriority), map[string]float64{"none": 1})
	}
}

// TestFailOpenInOrder: when everything is ejected, the first level is tried.
func TestFailOpenInOrder(t *testing.T) {
	p, _ := balancer(t, "round_robin")
	list := placed(fourAndFour...)
	for _, e := range list {
		eject(e)
	}
	set := endpoint.Layout{Overprovision: 1.4}.NewSet(list)
	expect(t, "all ejected", shares(p, set, 400, byPriority), map[string]float64{"0 open": 1})
}

func TestFirst(t *testing.T) {
	p, _ := balancer(t, "first")
	list := placed("1/", "0/", "0/", "2/")
	set := endpoint.Layout{Overprovision: 1.4}.NewSet(list)
	for _, want := range []string{"1", "2", "0", "3"} {
		expect(t, "the next in order", shares(p, set, 100, byAddress), map[string]float64{want: 1})
		i := int(want[0] - '0')
		unfit(list, i)
	}
	list = placed("0/", "0/", "0/")
	set = endpoint.NewSet(list)
	expect(t, "one level", shares(p, set, 100, byAddress), map[string]float64{"0": 1})
	expect(t, "a retry", shares(p, set, 100, byAddress, list[0]), map[string]float64{"1": 1})
	list = placed("0/", "1/")
	set = endpoint.Layout{}.NewSet(list)
	expect(t, "a retry goes to the backup rather than to the same one again", shares(p, set, 100, byAddress, list[0]), map[string]float64{"1": 1})
	expect(t, "all were tried", shares(p, set, 100, byAddress, list...), map[string]float64{"0": 1})
}

func TestZones(t *testing.T) {
	for _, name := range Names() {
		if name == "first" {
			continue
		}
		p, stats := balancer(t, name)
		list := placed(strings.Fields("0/a 0/a 0/a 0/b 0/b 0/b 0/c 0/c 0/c")...)
		set := endpoint.Layout{Zone: "a", ZoneLeast: 6, Overprovision: 1.4}.NewSet(list)
		expect(t, name+", all fit", shares(p, set, 4000, byZone), map[string]float64{"a": 1})
		if stats.OffZone.Load() != 0 {
			t.Errorf("%s: %d picks outside of the zone", name, stats.OffZone.Load())
		}
		unfit(list, 0)
		got := shares(p, set, 4000, byZone)
		if math.Abs(got["a"]-0.75) > 0.03 || math.Abs(got["b"]-0.125) > 0.03 || stats.OffZone.Load() == 0 {
			t.Errorf("%s, one of three is out: %v", name, got)
		}
		got = shares(p, set, 2000, byZone, list[1])
		if got["a"] > 0 || got["b"] < 0.3 || got["c"] < 0.3 {
			t.Errorf("%s: a second attempt goes to %v, want the other zones", name, got)
		}
		got = shares(p, set, 1000, byZone, list[1], list[3], list[6])
		if got["none"] > 0 || len(got) == 0 {
			t.Errorf("%s: when all zones were tried, any will do: %v", name, got)
		}
	}
}

// TestPanic: the endpoints that are out are used only while the level is below
// the threshold.
func TestPanic(t *testing.T) {
	for _, name := range Names() {
		p, stats := balancer(t, name)
		list := placed(times(10, "0/")...)
		set := endpoint.Layout{PanicBelow: 0.3}.NewSet(list)
		unfit(list, 0, 1, 2, 3, 4, 5, 6)
		got := shares(p, set, 2000, byAddress)
		if len(got) > 3 || got["0"] > 0 || stats.Panicked.Load() != 0 {
			t.Errorf("%s: health is not believed at the threshold: %v", name, got)
		}
		unfit(list, 7)
		got = shares(p, set, 5000, byAddress)
		if stats.Panicked.Load() != 5000 || len(got) != 10 && name != "first" || name == "first" && got["0"] < 0.999 {
			t.Errorf("%s: %d of 5000 picks in panic, %v", name, stats.Panicked.Load(), got)
		}
		list[7].Checked(true, endpoint.ByAnswer, "", start)
		got = shares(p, set, 2000, byAddress)
		if len(got) > 3 || stats.Panicked.Load() != 5000 {
			t.Errorf("%s: health is not believed again: %v", name, got)
		}
	}
}

func times(n int, place string) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = place
	}
	return list
}

// TestSlowStart: one of ten that has just come gets a share that grows, with every
// balancer that has shares; the others share the rest.
func TestSlowStart(t *testing.T) {
	for _, name := range Names() {
		if name == "first" {
			continue
		}
		p, _ := balancer(t, name)
		list := named(10)
		set := endpoint.Layout{SlowStart: endpoint.SlowStart{Window: 10 * time.Second, Least: 0.1, Aggression: 1}}.NewSet(list)
		list[4].Begin(start)
		last := 0.0
		for _, age := range []time.Duration{0, 3 * time.Second, 6 * time.Second, 10 * time.Second} {
			const picks = 20_000
			got := 0.0
			for i := range picks {
				if ep, _ := p.Pick(set, start.Add(age), nil, mix(uint64(i)+1)); ep == list[4] {
					got += 10.0 / picks
				}
			}
			// Keys are not dealt out as evenly, and of two draws with nothing under way
			// the first one counts.
			want := max(age.Seconds()/10, 0.1)
			if got < last || math.Abs(got-want) > 0.25 {
				t.Errorf("%s: after %v it has %.2f of its share, want about %.2f", name, age, got, want)
			}
			last = got
		}
	}
}

// TestSlowStartOfAll: when all have just come, they share as ever.
func TestSlowStartOfAll(t *testing.T) {
	for _, name := range Names() {
		p, _ := balancer(t, name)
		list := named(4)
		set := endpoint.Layout{SlowStart: endpoint.SlowStart{Window: 10 * time.Second, Least: 0.01}}.NewSet(list)
		for _, e := range list {
			e.Begin(start)
		}
		got := shares(p, set, 4000, func(e *endpoint.Endpoint) string { return e.Host })
		for host, share := range got {
			if name != "first" && (share < 0.15 || share > 0.35) {
				t.Errorf("%s: %s has %.2f", name, host, share)
			}
		}
	}
}

func TestAllocsLayered(t *testing.T) {
	list := placed(strings.Fields("0/a 0/a 0/a 0/b 0/b 0/b 1/a 1/b")...)
	unfit(list, 0)
	set := endpoint.Layout{Zone: "a", ZoneLeast: 3, Overprovision: 1, PanicBelow: 0.1, SlowStart: endpoint.SlowStart{Window: time.Hour, Least: 0.1}}.NewSet(list)
	list[1].Begin(start)
	for _, name := range Names() {
		p, _ := balancer(t, name)
		p.(interface{ Prepare(*endpoint.Set) }).Prepare(set)
		key := uint64(1)
		if n := testing.AllocsPerRun(1000, func() { key++; p.Pick(set, start, list[:1], mix(key)) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// BenchmarkBalancers is one pick of each among ten thousand endpoints: of one
// level, and of two with three zones in which some endpoints are out.
func BenchmarkBalancers(b *testing.B) {
	for _, name := range Names() {
		for _, layered := range []bool{false, true} {
			places := times(10_000, "0/")
			if layered {
				for i := range places {
					places[i] = fmt.Sprintf("%d/%c", i%5/4, 'a'+i%3)
				}
			}
			list := placed(places...)
			set := endpoint.Layout{Zone: "a", ZoneLeast: 6, Overprovision: 1.4}.NewSet(list)
			what := "plain"
			if layered {
				unfit(list, 0, 10, 20, 30)
				what = "levels,zones"
			}
			p, _ := balancer(b, name)
			p.(interface{ Prepare(*endpoint.Set) }).Prepare(set)
			if o, ok := p.(*observing); ok {
				for i, e := range list {
					o.Answered(e, time.Duration(1+i%7)*time.Millisecond, start)
				}
			}
			b.Run(name+"/"+what, func(b *testing.B) {
				b.ReportAllocs()
				key := uint64(1)
				for b.Loop() {
					key += 0x9e3779b97f4a7c15
					p.Pick(set, start, nil, key)
				}
			})
		}
	}
}
