package canary

import "time"

// martingale gathers evidence that something (an error, a slow response) falls
// on the canary more often than chance explains. It is a gambler with a capital
// of 1 who bets on each event before it is known, at fair odds: if the canary is
// no worse, an event is its own with the probability of its share, and nobody
// wins at fair odds. The capital then ever reaches goal with probability 1/goal
// at most (Ville's inequality), however often it is looked at: a sequential test
// needs no sample size in advance.
//
// What is bet on an event is what would win most if the canary were ratios times
// as likely to have it, over all ratios and all times at which that may have
// begun. No bet wins more than goal: to win ten times as much would be of no use,
// and costs when it is lost.
type martingale struct {
	stakes  [len(ratios)]float64 // what is bet on each ratio
	reserve float64              // for what begins later
	began   time.Time
	hold    time.Duration
}

// ratios are what the test looks for, from a canary that is twice as bad to one
// that is broken, and weights how the capital is laid out on them: most of it
// where seconds count.
var (
	ratios  = [...]float64{2, 5, 20, 200}
	weights = [len(ratios)]float64{0.05, 0.1, 0.25, 0.6}
)

// later is the part of the capital that is kept for a canary that is well first
// and gets worse in the course of a step.
const later = 0.05

// newMartingale is for a step of about hold.
func newMartingale(now time.Time, hold time.Duration) martingale {
	m := martingale{reserve: 1, began: now, hold: hold}
	m.lay(1 - later)
	return m
}

// lay puts a part of the reserve on the ratios.
func (m *martingale) lay(part float64) {
	m.reserve -= part
	for i, w := range weights {
		m.stakes[i] += part * w
	}
}

// add takes in one event: whether it is the canary's, and how likely that is by
// chance. It does not matter by how much goal is exceeded.
func (m *martingale) add(isCanary bool, chance, goal float64, now time.Time) {
	steps := max(float64(now.Sub(m.began))/float64(m.hold), 0)
	if left := later / (1 + steps); left < m.reserve {
		m.lay(m.reserve - left)
	}
	sum, probability := 0.0, 0.0
	for i, stake := range m.stakes {
		sum += stake
		probability += stake * biased(chance, ratios[i])
	}
	if sum < 1e-300 { // nothing left to bet with
		return
	}
	probability /= sum
	bold := min(probability, chance*(goal-m.reserve)/sum)
	bold = max(bold, chance) // goal is reached: nothing is bet any more
	won := func(p, before float64) float64 {
		if isCanary {
			return p / before
		}
		return (1 - p) / (1 - before)
	}
	all := won(bold, chance)
	for i, k := range ratios {
		m.stakes[i] *= all * won(biased(chance, k), probability)
	}
}

// biased is the probability of what has chance if it is k times as likely.
func biased(chance, k float64) float64 { return k * chance / (1 - chance + k*chance) }

// capital is what was won and not lost.
func (m *martingale) capital() float64 {
	sum := m.reserve
	for _, stake := range m.stakes {
		sum += stake
	}
	return sum
}

// reached tells whether the capital is goal, but for rounding.
func (m *martingale) reached(goal float64) bool { return m.capital() > goal*(1-1e-9) }
