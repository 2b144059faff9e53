//go:build race

package http2

// raceEnabled: the race detector makes sync.Pool forget, so allocations are
// not counted under it.
const raceEnabled = true
