// Package canary decides what becomes of a new version that gets a share of the
// traffic: it compares its errors and slow responses with those of the old one,
// request by request, gives it more step by step, and takes everything away as
// soon as there is enough evidence that it is worse.
//
// controller.go decides, martingale.go says what is enough evidence, counts.go
// counts. What an operator says is in command.go, what people see and what a
// restart of the process must not lose in state.go.
package canary

import "time"

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
	numPhases
)

var phaseNames = [numPhases]string{"running", "paused", "promoted", "rolled_back"}

func (p Phase) String() string { return phaseNames[p] }

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
	// SlowLeast is what is never slow.
	SlowLeast time.Duration
	// FalseAlarm is the probability that a canary that is no worse is rolled
	// back, over all steps.
	FalseAlarm float64
	// OnChange is told of each change, with what a restart must not lose. It must
	// not block. May be nil.
	OnChange func(State, Saved)
}
