package http2

import (
	"time"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// pace judges one side of a transfer over all its waits together. The watchdog
// sees a single wait; a peer that moves one byte in each would never stall. The
// time between the waits, when the other side is the slow one, does not count.
type pace struct {
	limit  *stream.PhaseLimit
	waited time.Duration
	moved  int64
}

func (p *pace) begin(limit *stream.PhaseLimit) { *p = pace{limit: limit} }

// wait adds one wait that moved n bytes.
func (p *pace) wait(d time.Duration, n int) watchdog.Verdict {
	p.waited += d
	p.moved += int64(n)
	l := p.limit
	switch {
	case l.Ceiling > 0 && p.waited >= l.Ceiling:
		return watchdog.TooLong
	case l.MinRate > 0 && p.waited >= l.Grace && float64(p.moved) < float64(l.MinRate)*p.waited.Seconds():
		return watchdog.TooSlow
	}
	return watchdog.None
}

// watchLimits is the limits of the phases in the words of the watchdog.
func watchLimits(phases *stream.PhaseLimits) []watchdog.Limit {
	limits := make([]watchdog.Limit, len(phases))
	for i, l := range phases {
		limits[i] = watchdog.Limit(l)
	}
	return limits
}
