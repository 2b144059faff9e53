package endpoint

import (
	"math"
	"time"
)

const (
	// reportEvery bounds how often a report is read: weights change once in a
	// second.
	reportEvery = 100 * time.Millisecond
	// reportBlackout is how long reports are only listened to, so that the first
	// ones of an endpoint, which are about little, move nothing. reportExpiry is how
	// long the last one holds. Both as in gRFC A58.
	reportBlackout = 10 * time.Second
	reportExpiry   = 3 * time.Minute
	// reportStep is the change of a factor that is worth another Set.
	reportStep = 0.02
	// reportMost bounds what reports can do to a weight, up and down.
	reportMost = 10
	// reportScale is the weight of 1 in a set with reports: factors come in steps.
	reportScale = 256
)

// reported is what an endpoint said of its load. Guarded by Endpoint.mu.
type reported struct {
	weight      float64
	since, last time.Time // of reports without a gap
}

// WantsReport tells whether a report that has come is to be read: the first in
// a while.
func (e *Endpoint) WantsReport(now time.Time) bool {
	at, next := int64(now.Sub(e.born)), e.nextReport.Load()
	return at >= next && e.nextReport.CompareAndSwap(next, at+int64(reportEvery))
}

// Reported takes in the weight that an endpoint says it has: any unit, the same
// for all of its cluster.
func (e *Endpoint) Reported(weight float64, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := &e.reported
	if r.last.IsZero() || now.Sub(r.last) >= reportExpiry {
		r.since = now
	}
	r.weight, r.last = weight, now
}

// reportedWeight is what the last report said; ok is false when there is none
// that counts.
func (e *Endpoint) reportedWeight(now time.Time) (weight float64, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := &e.reported
	if r.last.IsZero() || now.Sub(r.last) >= reportExpiry || now.Sub(r.since) < reportBlackout {
		return 0, false
	}
	return r.weight, true
}

// Factor is what the reports make of the weight of the endpoint; 1: nothing.
func (e *Endpoint) Factor() float64 {
	if bits := e.factor.Load(); bits != 0 {
		return math.Float64frombits(bits)
	}
	return 1
}

// Weigh is the set with the weights times what the endpoints have reported, in
// relation to each other; s itself when little has changed. An endpoint without a
// report that counts has the mean of the others; with fewer than two, nobody's
// changes.
func (s *Set) Weigh(now time.Time) *Set {
	known, sum := make([]float64, len(s.all)), 0.0
	n := 0
	for i, e := range s.all {
		if w, ok := e.reportedWeight(now); ok {
			known[i] = w
			sum += w
			n++
		}
	}
	changed := false
	for i, e := range s.all {
		factor := 1.0
		if n >= 2 && known[i] > 0 {
			factor = min(max(known[i]/(sum/float64(n)), 1.0/reportMost), reportMost)
		}
		if last := e.Factor(); math.Abs(factor-last) > reportStep*last || factor == 1 && last != 1 {
			e.factor.Store(math.Float64bits(factor))
			changed = true
		}
	}
	if !changed {
		return s
	}
	return s.layout.NewSet(s.all)
}

// sharing is the weight that counts in sets of the layout.
func (l *Layout) sharing(e *Endpoint) uint32 {
	w := e.weight.Load()
	if !l.Reports || w == 0 {
		return w
	}
	return uint32(min(max(math.Round(float64(w)*reportScale*e.Factor()), 1), math.MaxUint32/2))
}
