package canary

import "math"

// martingale gathers evidence that events (errors, slow responses) fall on the
// canary more often than its share of the traffic explains. While they do not,
// each event is the canary's with the probability of its share; evidence is the
// likelihood of what was seen if they were ratios[i] times as likely there,
// against that, averaged over the ratios. Under the hypothesis that both are
// alike it is a martingale with mean 1, so that it ever exceeds 1/a with
// probability a at most (Ville's inequality), however often it is looked at: a
// sequential test needs no sample size in advance.
type martingale struct{ logs [len(ratios)]float64 }

// ratios are what the test looks for, from a canary that is twice as bad to one
// that is broken.
var ratios = [...]float64{2, 5, 20, 100}

// add takes in one event; share is that of the canary.
func (m *martingale) add(isCanary bool, share float64) {
	for i, k := range ratios {
		p := k * share / (1 - share + k*share)
		if isCanary {
			m.logs[i] += math.Log(p / share)
		} else {
			m.logs[i] += math.Log((1 - p) / (1 - share))
		}
	}
}

// evidence is the logarithm of the average.
func (m *martingale) evidence() float64 {
	top := m.logs[0]
	for _, l := range m.logs[1:] {
		top = max(top, l)
	}
	sum := 0.0
	for _, l := range m.logs {
		sum += math.Exp(l - top)
	}
	return top + math.Log(sum/float64(len(m.logs)))
}
