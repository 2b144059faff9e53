package gcra

import (
	"errors"
	"math"
	"time"
)

// Rate is how often an event may happen: once each Every on average, and Burst
// times at once. Levels of a rate are nanoseconds since some moment.
type Rate struct {
	Every time.Duration // positive
	Burst int64         // positive
}

// longest bounds how far a level may be ahead of the clock.
const longest = math.MaxInt64 / 4

// NewRate is count events for each per, and burst of them at once.
func NewRate(count int64, per time.Duration, burst int64) (Rate, error) {
	every := (int64(per) + count/2) / count
	switch {
	case every == 0:
		return Rate{}, errors.New("there are more events than nanoseconds")
	case burst > longest/every:
		return Rate{}, errors.New("a burst that large would last for more than 70 years")
	}
	return Rate{Every: time.Duration(every), Burst: burst}, nil
}

// Ceiling is the highest level at now.
func (r Rate) Ceiling(now int64) int64 { return now + r.Burst*int64(r.Every) }

// Left is how many events are allowed at once at that level.
func (r Rate) Left(level, now int64) int64 { return max(0, (r.Ceiling(now)-level)/int64(r.Every)) }

// Wait is how long it takes until an event is allowed at that level; 0: it is.
func (r Rate) Wait(level, now int64) time.Duration {
	return max(0, time.Duration(level+int64(r.Every)-r.Ceiling(now)))
}
