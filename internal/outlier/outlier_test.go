package outlier

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// rates are samples of 1,000 requests with these numbers of failures.
func rates(failures ...int64) []Sample {
	var list []Sample
	for _, n := range failures {
		list = append(list, Sample{Good: 1000 - n, Bad: n})
	}
	return list
}

// times are samples of 1,000 times with these milliseconds.
func times(ms ...int) []Sample {
	var list []Sample
	for _, n := range ms {
		list = append(list, Sample{Good: 1000, Took: time.Duration(n) * time.Millisecond, Times: 1000})
	}
	return list
}

func indices(found []Found) []int {
	list := []int{}
	for _, f := range found {
		list = append(list, f.Index)
	}
	return list
}

func TestSuccessRate(t *testing.T) {
	usual := SuccessRate{Factor: 1.9, Least: 0.05, Among: 5, Total: 100}
	few := rates(0, 0, 0, 0, 900)
	few[4] = Sample{Bad: 99}
	many := make([]int64, 100)
	many[7], many[40] = 500, 900
	for _, tt := range []struct {
		name    string
		rule    SuccessRate
		samples []Sample
		want    []int
	}{
		{"one fails", usual, rates(0, 0, 200, 0, 0), []int{2}},
		{"two of many, the worse first", usual, rates(many...), []int{40, 7}},
		{"all fail alike", usual, rates(600, 600, 600, 600, 600), nil},
		{"all fail nearly alike", usual, rates(600, 610, 590, 620, 580), nil},
		{"one failure in a thousand", usual, rates(0, 0, 1, 0, 0), nil},
		{"a little worse", usual, rates(0, 0, 40, 0, 0), nil},
		{"better than the others", usual, rates(500, 500, 0, 500, 500), nil},
		{"too few endpoints", usual, rates(0, 0, 0, 900), nil},
		{"too few requests", usual, few, nil},
		{"nobody", usual, nil, nil},
		{"nobody had requests", SuccessRate{}, make([]Sample, 9), nil},
	} {
		if got := indices(tt.rule.Find(tt.samples)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestFailureRate(t *testing.T) {
	usual := FailureRate{Above: 0.85, Among: 2, Total: 50}
	for _, tt := range []struct {
		name    string
		samples []Sample
		want    []int
	}{
		{"one of two", rates(900, 0), []int{0}},
		{"two of three, the worse first", rates(900, 0, 1000), []int{2, 0}},
		{"at the limit", rates(850, 0), nil},
		{"all of them", rates(900, 1000, 860), nil},
		{"alone", rates(1000), nil},
		{"the other one has no requests", append(rates(1000), Sample{}), nil},
		{"too few requests", []Sample{{Bad: 49}, {Good: 1000}}, nil},
		{"enough requests", []Sample{{Bad: 50}, {Good: 1000}}, []int{0}},
	} {
		if got := indices(usual.Find(tt.samples)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestLatency(t *testing.T) {
	usual := Latency{Factor: 3, Least: 50 * time.Millisecond, Among: 3, Total: 100}
	few := times(100, 100, 1000)
	few[2].Times = 99
	for _, tt := range []struct {
		name    string
		samples []Sample
		want    []int
	}{
		{"one is slow", times(100, 1000, 100), []int{1}},
		{"two are, the slower first", times(100, 1000, 2000, 100, 100, 100), []int{2, 1}},
		{"all are slow", times(1000, 1100, 900), nil},
		{"two and a half times", times(100, 250, 100), nil},
		{"ten times, but fast", times(2, 20, 2), nil},
		{"faster than the others", times(1000, 10, 1000), nil},
		{"most of them: it is the others who are odd", times(100, 100, 1000, 1000, 1000), nil},
		{"too few", times(100, 1000), nil},
		{"too few times", few, nil},
	} {
		if got := indices(usual.Find(tt.samples)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestMedianWithout compares it with what it says.
func TestMedianWithout(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		list := make([]time.Duration, 2+r.IntN(9))
		for i := range list {
			list[i] = time.Duration(r.IntN(5))
		}
		slices.Sort(list)
		at := r.IntN(len(list))
		others := slices.Delete(slices.Clone(list), at, at+1)
		want := others[len(others)/2]
		if got := medianWithout(list, list[at]); got != want {
			t.Fatalf("%v without %v: %v, want %v", list, list[at], got, want)
		}
	}
}

// TestNoiseIsQuiet: endpoints that differ by chance alone are left alone.
func TestNoiseIsQuiet(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	success, failure := SuccessRate{1.9, 0.05, 5, 100}, FailureRate{0.85, 2, 50}
	wrong := 0
	for range 2000 {
		list := make([]Sample, 5+r.IntN(20))
		for i := range list {
			for range 400 {
				if r.Float64() < 0.02 {
					list[i].Bad++
				} else {
					list[i].Good++
				}
			}
		}
		wrong += len(success.Find(list)) + len(failure.Find(list))
	}
	if wrong > 0 {
		t.Error(fmt.Sprint(wrong, " endpoints of two failures in a hundred were called outliers"))
	}
}
