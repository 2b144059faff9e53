package endpoint

import (
	"math"
	"testing"
	"time"
)

// TestReports: when what an endpoint says counts, and for how long.
func TestReports(t *testing.T) {
	list := members(NewLoad(0, 0), 1, 1, 1)
	set := Layout{Reports: true}.NewSet(list)
	if set.Weigh(start) != set {
		t.Error("another set although nobody said anything")
	}
	say := func(at time.Duration, weights ...float64) {
		for i, w := range weights {
			if w > 0 {
				list[i].Reported(w, start.Add(at))
			}
		}
	}
	look := func(what string, at time.Duration, want ...float64) {
		t.Helper()
		set = set.Weigh(start.Add(at))
		for i, e := range list {
			if math.Abs(e.Factor()-want[i]) > 1e-9 || math.Abs(float64(set.Weight(i))/reportScale-want[i]) > 0.01 {
				t.Errorf("%s: endpoint %d counts %v, weight %d, want %v", what, i, e.Factor(), set.Weight(i), want[i])
			}
		}
		if set.Weigh(start.Add(at)) != set {
			t.Errorf("%s: another set without a change", what)
		}
	}
	say(0, 100, 300, 0)
	look("in the blackout", 9*time.Second, 1, 1, 1)
	look("after it", 10*time.Second, 0.5, 1.5, 1)
	say(20*time.Second, 101, 301, 0)
	look("a little change is none", 20*time.Second, 0.5, 1.5, 1)
	say(21*time.Second, 300, 300, 0)
	look("a large one", 21*time.Second, 1, 1, 1)
	say(22*time.Second, 1, 10_000, 0)
	look("bounded", 22*time.Second, 0.1, 10_000/5000.5, 1)
	say(100*time.Second, 100, 0, 0)
	look("one has expired: nobody to compare with", 22*time.Second+reportExpiry, 1, 1, 1)
	say(210*time.Second, 0, 300, 0)
	look("its blackout begins again", 215*time.Second, 1, 1, 1)
	look("and ends", 220*time.Second, 0.5, 1.5, 1)
}

func TestReportsKeepWeights(t *testing.T) {
	list := members(NewLoad(0, 0), 4, 1, 0)
	set := Layout{Reports: true}.NewSet(list)
	for i, w := range []float64{100, 300, 500} {
		list[i].Reported(w, start)
	}
	set = set.Weigh(start.Add(time.Minute))
	if set.Len() != 2 || set.Weight(0) != 341 || set.Weight(1) != 256 { // 4 * 256 / 3, and 1 * 256
		t.Errorf("%d endpoints, weights %v", set.Len(), set.weights)
	}
	next, _ := set.Update([]Spec{{Network: "tcp", Address: "10.0.0.0:80", Host: "x", Weight: 8}, {Network: "tcp", Address: "10.0.0.1:80", Host: "x", Weight: 1}}, nil)
	if got, want := float64(next.Weight(0))/float64(next.Weight(1)), 8.0/3; math.Abs(got-want) > 0.02 {
		t.Errorf("a new weight forgets what was reported: %v, want %v", got, want)
	}
}

func TestWantsReport(t *testing.T) {
	e := members(NewLoad(0, 0), 1)[0]
	read := 0
	for at := time.Duration(0); at < time.Second; at += time.Millisecond {
		if e.WantsReport(start.Add(at)) {
			read++
		}
	}
	if read != 10 {
		t.Errorf("%d reports read in a second, want 10", read)
	}
}
