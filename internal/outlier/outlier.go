// Package outlier finds, among things that should be alike, those that are not:
// by how often they succeed, and by how long they take. It is arithmetic: who
// asks brings the numbers of a while and decides what follows.
package outlier

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Sample is what one of them did in a while.
type Sample struct {
	Good, Bad int64
	Took      time.Duration // a quantile of its times
	Times     int64         // how many of them there were
}

func (s Sample) total() int64 { return s.Good + s.Bad }

// Found is one that is not like the others.
type Found struct {
	Index int     // among the samples
	Value float64 // what it did: a share of successes or failures, or seconds
	Limit float64 // what it should not have gone beyond
	// Excess is how far it went beyond the limit, for the order.
	Excess float64
}

// judged are the indices of the samples with enough to judge by.
func judged(samples []Sample, count func(Sample) int64, least int64) []int {
	var list []int
	for i, s := range samples {
		if n := count(s); n > 0 && n >= least {
			list = append(list, i)
		}
	}
	return list
}

// worstFirst sorts what was found.
func worstFirst(found []Found) []Found {
	slices.SortStableFunc(found, func(a, b Found) int { return cmp.Compare(b.Excess, a.Excess) })
	return found
}

// SuccessRate finds those whose share of successes is too far below the mean.
type SuccessRate struct {
	Factor float64 // in standard deviations
	Least  float64 // as a share: a smaller distance is never too far
	Among  int     // how many with enough requests it takes
	Total  int64   // how many requests are enough
}

// Find looks through the samples, the worst first.
func (r SuccessRate) Find(samples []Sample) []Found {
	list := judged(samples, Sample.total, r.Total)
	if len(list) < max(r.Among, 1) {
		return nil
	}
	mean, squares := 0.0, 0.0
	rate := func(i int) float64 { return float64(samples[i].Good) / float64(samples[i].total()) }
	for _, i := range list {
		mean += rate(i) / float64(len(list))
	}
	for _, i := range list {
		squares += (rate(i) - mean) * (rate(i) - mean) / float64(len(list))
	}
	limit := mean - max(r.Factor*math.Sqrt(squares), r.Least)
	var found []Found
	for _, i := range list {
		if v := rate(i); v < limit {
			found = append(found, Found{i, v, limit, limit - v})
		}
	}
	return worstFirst(found)
}

// FailureRate finds those that fail too often, unless all of them do: then it is
// nothing of theirs.
type FailureRate struct {
	Above float64 // a share
	Among int     // how many with enough requests it takes
	Total int64   // how many requests are enough
}

// Find looks through the samples, the worst first.
func (r FailureRate) Find(samples []Sample) []Found {
	list := judged(samples, Sample.total, r.Total)
	if len(list) < max(r.Among, 2) {
		return nil
	}
	var found []Found
	for _, i := range list {
		if v := float64(samples[i].Bad) / float64(samples[i].total()); v > r.Above {
			found = append(found, Found{i, v, r.Above, v - r.Above})
		}
	}
	if len(found) == len(list) {
		return nil
	}
	return worstFirst(found)
}

// Latency finds those that take too long, compared with the median of the others.
type Latency struct {
	Factor float64
	Least  time.Duration // a smaller distance is never too long
	Among  int           // how many with enough times it takes
	Total  int64         // how many times are enough
}

// Find looks through the samples, the worst first. Values are in seconds.
func (r Latency) Find(samples []Sample) []Found {
	list := judged(samples, func(s Sample) int64 { return s.Times }, r.Total)
	if len(list) < max(r.Among, 2) {
		return nil
	}
	sorted := make([]time.Duration, len(list))
	for k, i := range list {
		sorted[k] = samples[i].Took
	}
	slices.Sort(sorted)
	var found []Found
	for _, i := range list {
		usual := medianWithout(sorted, samples[i].Took)
		limit := max(time.Duration(r.Factor*float64(usual)), usual+r.Least)
		if took := samples[i].Took; took > limit {
			found = append(found, Found{i, took.Seconds(), limit.Seconds(), float64(took) / float64(max(limit, 1))})
		}
	}
	return worstFirst(found)
}

// medianWithout is the median of sorted without one value of it; of two in the
// middle, the upper one.
func medianWithout(sorted []time.Duration, one time.Duration) time.Duration {
	at, _ := slices.BinarySearch(sorted, one)
	middle := (len(sorted) - 1) / 2
	if middle >= at {
		middle++
	}
	return sorted[middle]
}
