package compress

import "sync/atomic"

// turn sees to it that a coder goes back to its pool once, and never while a
// Read is using it: Close may come from another goroutine than Read, and a
// coder that two bodies share would mix their content.
type turn struct{ state atomic.Uint32 }

const (
	idle uint32 = iota
	reading
	closed
)

// enter begins a Read; false when the body is closed.
func (t *turn) enter() bool { return t.state.CompareAndSwap(idle, reading) }

// leave ends it; true when Close came meanwhile: the caller gives the coder back.
func (t *turn) leave() bool { return !t.state.CompareAndSwap(reading, idle) }

// close is true when the caller gives the coder back.
func (t *turn) close() bool { return t.state.Swap(closed) == idle }
