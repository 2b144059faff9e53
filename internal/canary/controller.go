package canary

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/latency"
)

// Controller is safe for concurrent use.
type Controller struct {
	cfg   Config
	share atomic.Uint64

	// One lock for the requests of a route that has a canary, since each of them
	// is evidence that the next is weighed with; it is held for some additions.
	mu      sync.Mutex
	phase   Phase
	step    int
	since   time.Time // of the step
	reason  string
	arms    pair   // of the step
	recent  recent // of the step
	past    counts // of the baseline, in the steps before
	errors  martingale
	slow    martingale
	normal  *latency.Window // of the baseline
	slowest time.Duration   // beyond it a response is slow; 0: not known yet
	learned time.Time       // when slowest was computed
}

const (
	// slowWindow is how far back the baseline's times go.
	slowWindow = time.Minute
	// slowLeast is how many of them there must be, and slowEvery how often they
	// are looked at.
	slowLeast = 100
	slowEvery = time.Second
)

// New makes a Controller that begins with the first step.
func New(cfg Config, now time.Time) *Controller {
	c := &Controller{cfg: cfg, normal: latency.New(slowWindow, now)}
	c.enter(0, now)
	return c
}

// goals are the capital of the two martingales at which the present step is
// given up. The false alarms that are allowed are shared out over both tests of
// all steps; the first one, in which a version that is broken shows, has most. A
// quarter is kept back: the share of the canary is an estimate.
func (c *Controller) goals() (errors, slow float64) {
	const first, others = 0.55, 0.2
	rest := float64(2*len(c.cfg.Steps)-1) / (c.cfg.FalseAlarm * others)
	if c.step == 0 {
		return 1 / (c.cfg.FalseAlarm * first), rest
	}
	return rest, rest
}

// Share is the share of the traffic that the canary gets now.
func (c *Controller) Share() float64 { return math.Float64frombits(c.share.Load()) }

// Observe takes in one request that ended. took is its time until the head of
// the response.
func (c *Controller) Observe(arm Arm, failed bool, took time.Duration, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase == Promoted || c.phase == RolledBack {
		return
	}
	slow := !failed && c.slowest > 0 && took > c.slowest
	c.arms[arm].add(failed, slow)
	c.recent.half[arm].add(failed, slow)
	c.weigh(arm, failed, slow, now)
	if !failed && arm == Baseline {
		c.learn(took, now)
	}
	if arm == Candidate {
		c.judge(now)
		c.recent.turn(now, c.cfg.MinRequests)
	}
}

// weigh makes evidence of a request. While both arms get requests an event is
// the canary's by chance as often as a request is, whatever it is that makes
// both of them fail. A canary that gets all of them is compared with what the
// baseline did before, and with what may be larger: the evidence is then whether
// a request of its fails at all. How long things take changes with the hour and
// the load, and nobody is there who has the same: times are not compared then.
func (c *Controller) weigh(arm Arm, failed, slow bool, now time.Time) {
	errorGoal, slowGoal := c.goals()
	if c.alone() {
		if arm != Candidate || c.past.All < c.cfg.MinRequests {
			return
		}
		c.errors.add(failed, bounded(c.past.atMost(c.past.Errors)+c.cfg.Tolerate), errorGoal, now)
		return
	}
	if failed {
		c.errors.add(arm == Candidate, c.actual(), errorGoal, now)
	}
	if slow {
		c.slow.add(arm == Candidate, c.actual(), slowGoal, now)
	}
}

// alone tells whether the canary gets everything.
func (c *Controller) alone() bool { return c.cfg.Steps[c.step] >= 1 }

// actual is the share of the canary: what it should be at first, and then more and
// more what it was, since keys are not all equally busy.
func (c *Controller) actual() float64 {
	const trust = 2000 // as if so many requests had been given out as they should
	all := c.arms[Baseline].All + c.arms[Candidate].All
	return bounded((trust*c.cfg.Steps[c.step] + float64(c.arms[Candidate].All)) / float64(trust+all))
}

// bounded keeps a share off its ends, where there is nothing to compare.
func bounded(share float64) float64 { return min(max(share, 1e-4), 0.9999) }

// learn takes in how long a response of the baseline took.
func (c *Controller) learn(took time.Duration, now time.Time) {
	if c.cfg.SlowFactor <= 0 {
		return
	}
	c.normal.Observe(took, now)
	if now.Sub(c.learned) < slowEvery {
		return
	}
	c.learned = now
	if d, n := c.normal.Quantile(c.cfg.SlowQuantile, now); n >= slowLeast {
		c.slowest = max(time.Duration(float64(d)*c.cfg.SlowFactor), c.cfg.SlowLeast)
	}
}

// judge decides after a request of the canary.
func (c *Controller) judge(now time.Time) {
	if c.arms[Candidate].All < c.cfg.MinRequests {
		return
	}
	step, recent := c.compared(c.arms), c.compared(c.recent.sum())
	own, others := &step[Candidate], &step[Baseline]
	errorGoal, slowGoal := c.goals()
	switch last := &recent[Candidate]; {
	case last.All >= c.cfg.MinRequests && last.ratio(last.Errors) >= c.cfg.MaxErrors:
		c.rollBack(fmt.Sprintf("%.1f %% of the last %d requests failed, which is too much whatever the others do", 100*last.ratio(last.Errors), last.All))
	case c.errors.reached(errorGoal) && c.worse(&step, &recent, errorsOf):
		c.rollBack(fmt.Sprintf("%.1f %% of %d requests failed (%.1f %% of the last %d), against %.2f %% of %d", 100*own.ratio(own.Errors), own.All,
			100*last.ratio(last.Errors), last.All, 100*others.ratio(others.Errors), others.All))
	case c.slow.reached(slowGoal) && c.worse(&step, &recent, slowOf):
		c.rollBack(fmt.Sprintf("%.1f %% of %d responses took longer than %v (%.1f %% of the last %d), against %.2f %% of %d", 100*own.ratio(own.Slow), own.All,
			c.slowest, 100*last.ratio(last.Slow), last.All, 100*others.ratio(others.Slow), others.All))
	case c.phase == Running && now.Sub(c.since) >= c.cfg.Hold:
		c.advance("no worse than the baseline", now)
	}
}

// compared is p, with what the baseline did before in the place of what it does
// not get any more.
func (c *Controller) compared(p pair) pair {
	if c.alone() {
		p[Baseline] = c.past
	}
	return p
}

// worse tells whether the difference is one that matters: over the step, or
// lately and then for certain.
func (c *Controller) worse(step, recent *pair, of func(*counts) int64) bool {
	return step.by(of) >= c.cfg.Tolerate || recent.surely(of) >= c.cfg.Tolerate
}

func (c *Controller) advance(why string, now time.Time) {
	c.reason = why
	if c.step == len(c.cfg.Steps)-1 {
		c.phase = Promoted
	} else {
		c.enter(c.step+1, now)
	}
	c.tell()
}

// enter begins a step: what was seen before counts no more, because another
// share of the traffic is another sample. Only the last step, without a baseline,
// asks for what that did in the steps before.
func (c *Controller) enter(step int, now time.Time) {
	if step == 0 {
		c.past = counts{}
	} else {
		c.past = c.past.plus(c.arms[Baseline])
	}
	c.step, c.since = step, now
	c.arms, c.recent = pair{}, recent{began: now}
	c.errors, c.slow = newMartingale(now, c.cfg.Hold), newMartingale(now, c.cfg.Hold)
	c.share.Store(math.Float64bits(c.cfg.Steps[step]))
}

func (c *Controller) rollBack(why string) {
	c.phase, c.reason = RolledBack, why
	c.share.Store(0)
	c.tell()
}

func (c *Controller) tell() {
	if c.cfg.OnChange != nil {
		c.cfg.OnChange(c.state(), c.saved())
	}
}
