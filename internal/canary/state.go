package canary

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// State is what a canary is at.
type State struct {
	Phase     string    `json:"phase"`
	Step      int       `json:"step"` // from 1
	Steps     int       `json:"steps"`
	Share     float64   `json:"share"`
	Since     time.Time `json:"since"`            // of the step
	Reason    string    `json:"reason,omitempty"` // of the last change
	Canary    ArmState  `json:"canary"`
	Baseline  ArmState  `json:"baseline"`
	Evidence  float64   `json:"evidence"`  // against it, as a natural logarithm: the larger of the two tests
	Threshold float64   `json:"threshold"` // of the evidence of that test, at which it is rolled back
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
		return ArmState{Requests: n.All, Errors: n.ratio(n.Errors), Slow: n.ratio(n.Slow)}
	}
	s := State{
		Phase: c.phase.String(), Step: c.step + 1, Steps: len(c.cfg.Steps), Share: c.Share(), Since: c.since, Reason: c.reason,
		Canary: arm(Candidate), Baseline: arm(Baseline),
	}
	errorGoal, slowGoal := c.goals()
	errors, slow := c.errors.capital(), c.slow.capital()
	s.Evidence, s.Threshold = math.Log(errors), math.Log(errorGoal)
	if slow/slowGoal > errors/errorGoal {
		s.Evidence, s.Threshold = math.Log(slow), math.Log(slowGoal)
	}
	return s
}

// Saved is what a restart of the process must not lose. The evidence of a step
// is not part of it: the step begins anew.
type Saved struct {
	Phase   string        `json:"phase"`
	Step    int           `json:"step"` // from 1
	Reason  string        `json:"reason,omitempty"`
	Changed time.Time     `json:"changed"`
	Past    counts        `json:"baseline"`          // in the steps before
	Slowest time.Duration `json:"slowest,omitempty"` // in nanoseconds
}

// Saved is what is to be kept of the canary.
func (c *Controller) Saved() Saved {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.saved()
}

func (c *Controller) saved() Saved {
	return Saved{
		Phase: c.phase.String(), Step: c.step + 1, Reason: c.reason, Changed: time.Now().UTC().Truncate(time.Millisecond), Past: c.past, Slowest: c.slowest,
	}
}

// Restore makes a Controller that goes on where another one was. An error says
// that saved is not of a canary with these steps.
func Restore(cfg Config, saved Saved, now time.Time) (*Controller, error) {
	phase := slices.Index(phaseNames[:], saved.Phase)
	switch {
	case phase < 0:
		return nil, fmt.Errorf("the phase %q is none", saved.Phase)
	case saved.Step < 1 || saved.Step > len(cfg.Steps):
		return nil, fmt.Errorf("step %d is none of %d", saved.Step, len(cfg.Steps))
	case saved.Past.All < 0 || saved.Past.Errors < 0 || saved.Past.Slow < 0 || saved.Slowest < 0:
		return nil, fmt.Errorf("numbers below 0")
	}
	c := New(cfg, now)
	c.enter(saved.Step-1, now)
	c.phase, c.reason, c.past, c.slowest = Phase(phase), saved.Reason, saved.Past, saved.Slowest
	if c.phase == RolledBack {
		c.share.Store(0)
	}
	return c, nil
}
