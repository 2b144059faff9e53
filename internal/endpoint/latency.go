package endpoint

import "time"

// Latency is the moving average of how long attempts at the endpoint take, as
// those who observe it said; ok is false when nothing is known.
func (e *Endpoint) Latency(now time.Time, decay time.Duration) (d time.Duration, ok bool) {
	value, ok := e.latency.Value(now.Sub(e.born), decay)
	return time.Duration(value), ok
}

// Took is an attempt that says how long the endpoint takes.
func (e *Endpoint) Took(d time.Duration, now time.Time, decay time.Duration) {
	e.latency.Observe(float64(max(d, 1)), now.Sub(e.born), decay)
}

// TookAtLeast is one that says only that it does not take less.
func (e *Endpoint) TookAtLeast(d time.Duration, now time.Time, decay time.Duration) {
	e.latency.AtLeast(float64(max(d, 1)), now.Sub(e.born), decay)
}
