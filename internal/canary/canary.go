// Package canary decides what becomes of a new version that gets a share of the
// traffic: it compares its errors and slow responses with those of the old one,
// request by request, gives it more step by step, and takes everything away as
// soon as there is enough evidence that it is worse.
package canary

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/latency"
)

// Arm is a side of the comparison.
type Arm uint8

// The arms.
const (
	Baseline Arm = iota
	Candidate
)

// Phase is what becomes of a canary.
type Phase uint8

// The phases.
const (
	Running    Phase = iota
	Paused           // an operator keeps the step
	Promoted         // the last step is over
	RolledBack       // it gets nothing any more
)

func (p Phase) String() string {
	return [...]string{"running", "paused", "promoted", "rolled_back"}[p]
}

// Config is what a Controller is made of.
type Config struct {
	// Steps are the shares of the canary, from 0 to 1, growing.
	Steps []float64
	// Hold is how long each step lasts at least.
	Hold time.Duration
	// MinRequests is how many requests of the canary a step needs, to go on and
	// to roll back.
	MinRequests int64
	// Tolerate is how much larger its share of errors, or of slow responses, must
	// be than the baseline's, whatever the evidence.
	Tolerate float64
	// MaxErrors is the share of errors at which it is rolled back whatever the
	// baseline does.
	MaxErrors float64
	// A response is slow when it takes SlowFactor times what the quantile
	// SlowQuantile of the baseline's takes; 0: only errors count.
	SlowQuantile, SlowFactor float64
	// FalseAlarm is the probability that a canary that is no worse is rolled
	// back, over all steps.
	FalseAlarm float64
	// OnChange is told of each change. It must not block. May be nil.
	OnChange func(State)
}

// Controller is safe for concurrent use.
type Controller struct {
	cfg   Config
	share atomic.Uint64

	mu      sync.Mutex
	phase   Phase
	step    int
	since   time.Time // of the step
	reason  string
	arms    [2]counts
	errors  martingale
	slow    martingale
	normal  *latency.Window // of the baseline
	slowest time.Duration   // beyond it a response is slow; 0: not known yet
	learned time.Time       // when slowest was computed
}

// counts are the requests of an arm in the present step.
type counts struct{ all, errors, slow int64 }

func (c *counts) ratio(n int64) float64 { return float64(n) / float64(max(c.all, 1)) }

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

// thresholds are the evidence of errors and of slow responses at which the
// present step is given up. There are two tests in each step; the first one, in
// which a version that is broken shows, may spend half of the false alarms.
func (c *Controller) thresholds() (errors, slow float64) {
	rest := math.Log(2 * float64(2*len(c.cfg.Steps)-1) / c.cfg.FalseAlarm)
	if c.step == 0 {
		return math.Log(2 / c.cfg.FalseAlarm), rest
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
	own := &c.arms[arm]
	own.all++
	if failed {
		own.errors++
		c.errors.add(arm == Candidate, c.actual())
	} else {
		c.time(arm, own, took, now)
	}
	if arm == Candidate {
		c.judge(now)
	}
}

// actual is the share of the canary as it was: keys are not all equally busy.
func (c *Controller) actual() float64 {
	nominal := c.cfg.Steps[c.step]
	all := c.arms[0].all + c.arms[1].all
	if all < 100 {
		return bounded(nominal)
	}
	return bounded(float64(c.arms[Candidate].all) / float64(all))
}

// bounded keeps a share off its ends, where there is nothing to compare.
func bounded(share float64) float64 { return min(max(share, 1e-4), 0.9999) }

// time looks at how long a response took.
func (c *Controller) time(arm Arm, own *counts, took time.Duration, now time.Time) {
	if c.cfg.SlowFactor <= 0 {
		return
	}
	if c.slowest > 0 && took > c.slowest {
		own.slow++
		c.slow.add(arm == Candidate, c.actual())
	}
	if arm != Baseline {
		return
	}
	c.normal.Observe(took, now)
	if now.Sub(c.learned) < slowEvery {
		return
	}
	c.learned = now
	if d, n := c.normal.Quantile(c.cfg.SlowQuantile, now); n >= slowLeast {
		c.slowest = time.Duration(float64(d) * c.cfg.SlowFactor)
	}
}

// judge decides after a request of the canary.
func (c *Controller) judge(now time.Time) {
	own, base := &c.arms[Candidate], &c.arms[Baseline]
	if own.all < c.cfg.MinRequests {
		return
	}
	errors, others := own.ratio(own.errors), base.ratio(base.errors)
	slow, othersSlow := own.ratio(own.slow), base.ratio(base.slow)
	errorLimit, slowLimit := c.thresholds()
	switch {
	case errors >= c.cfg.MaxErrors:
		c.rollBack(fmt.Sprintf("%.1f %% of %d requests failed, which is too much whatever the others do", 100*errors, own.all), now)
	case c.errors.evidence() > errorLimit && errors-others >= c.cfg.Tolerate:
		c.rollBack(fmt.Sprintf("%.1f %% of %d requests failed, against %.2f %% of %d", 100*errors, own.all, 100*others, base.all), now)
	case c.slow.evidence() > slowLimit && slow-othersSlow >= c.cfg.Tolerate:
		c.rollBack(fmt.Sprintf("%.1f %% of %d responses took longer than %v, against %.2f %% of %d", 100*slow, own.all, c.slowest, 100*othersSlow, base.all), now)
	case c.phase == Running && now.Sub(c.since) >= c.cfg.Hold:
		c.advance("no worse than the baseline", now)
	}
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
// share of the traffic is another sample.
func (c *Controller) enter(step int, now time.Time) {
	c.step, c.since = step, now
	c.arms, c.errors, c.slow = [2]counts{}, martingale{}, martingale{}
	c.share.Store(math.Float64bits(c.cfg.Steps[step]))
}

func (c *Controller) rollBack(why string, _ time.Time) {
	c.phase, c.reason = RolledBack, why
	c.share.Store(0)
	c.tell()
}

func (c *Controller) tell() {
	if c.cfg.OnChange != nil {
		c.cfg.OnChange(c.state())
	}
}

// Command is what an operator may say.
type Command string

// The commands.
const (
	Pause    Command = "pause"    // keep the step
	Resume   Command = "resume"   // go on, from the first step when it was rolled back
	Promote  Command = "promote"  // to the last step at once
	RollBack Command = "rollback" // to nothing at once
)

// Do carries a command out.
func (c *Controller) Do(command Command, now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch command {
	case Pause:
		if c.phase != Running {
			return fmt.Errorf("the canary is %s, and only a running one can be paused", c.phase)
		}
		c.phase = Paused
	case Resume:
		if c.phase == RolledBack {
			c.enter(0, now)
		}
		c.phase = Running
	case Promote:
		c.enter(len(c.cfg.Steps)-1, now)
		c.phase = Promoted
	case RollBack:
		c.rollBack("an operator said so", now)
		return nil
	default:
		return fmt.Errorf("%q is none of pause, resume, promote and rollback", command)
	}
	c.reason = "an operator said so"
	c.tell()
	return nil
}

// State is what a canary is at.
type State struct {
	Phase     string    `json:"phase"`
	Step      int       `json:"step"` // from 1
	Steps     int       `json:"steps"`
	Share     float64   `json:"share"`
	Since     time.Time `json:"since"`
	Reason    string    `json:"reason,omitempty"` // of the last change
	Canary    ArmState  `json:"canary"`
	Baseline  ArmState  `json:"baseline"`
	Evidence  float64   `json:"evidence"`  // the larger of the two tests
	Threshold float64   `json:"threshold"` // at which errors roll it back
}

// ArmState is one arm in the present step.
type ArmState struct {
	Requests int64   `json:"requests"`
	Errors   float64 `json:"errors"` // share
	Slow     float64 `json:"slow"`   // share
}

// State is what the canary is at.
func (c *Controller) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state()
}

func (c *Controller) state() State {
	arm := func(a Arm) ArmState {
		n := &c.arms[a]
		return ArmState{Requests: n.all, Errors: n.ratio(n.errors), Slow: n.ratio(n.slow)}
	}
	limit, _ := c.thresholds()
	return State{
		Phase: c.phase.String(), Step: c.step + 1, Steps: len(c.cfg.Steps), Share: c.Share(), Since: c.since, Reason: c.reason,
		Canary: arm(Candidate), Baseline: arm(Baseline), Evidence: max(c.errors.evidence(), c.slow.evidence()), Threshold: limit,
	}
}
