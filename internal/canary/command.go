package canary

import (
	"fmt"
	"time"
)

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
		c.rollBack("an operator said so")
		return nil
	default:
		return fmt.Errorf("%q is none of pause, resume, promote and rollback", command)
	}
	c.reason = "an operator said so"
	c.tell()
	return nil
}
