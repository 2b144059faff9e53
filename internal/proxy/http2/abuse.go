package http2

import "time"

// Points: what a peer does that costs us work and itself next to nothing.
const (
	pointsFrame    = 1  // PING, PRIORITY, an empty or unknown frame, a dribble of window
	pointsSettings = 5  // SETTINGS: a change of the initial window visits every stream
	pointsReset    = 5  // a stream that the peer resets, or makes us reset
	pointsRefused  = 10 // a stream beyond the limit: the peer knows the limit
)

// abuse is the score of one connection: points are added for what costs us, and
// a tenth of the limit goes every second. Any kind of flood meets the same
// limit, the mixed ones too. For the author of either half: only the goroutine
// that reads may use it; over ends the connection with GOAWAY
// (ENHANCE_YOUR_CALM) and the reason.
type abuse struct {
	limit  float64
	points float64
	last   time.Time
	reason string // of the points that went over
}

// add adds points. It reports whether the connection has gone over its limit.
func (a *abuse) add(points int, now time.Time, reason string) (over bool) {
	if a.limit <= 0 {
		return false
	}
	if gone := now.Sub(a.last); gone > 0 {
		a.points = max(0, a.points-a.limit/10*gone.Seconds())
		a.last = now
	}
	a.points += float64(points)
	if a.points <= a.limit {
		return false
	}
	a.reason = reason
	return true
}

// earn takes a point off for a stream that ended as it should: what a
// connection may cost grows with what it is used for.
func (a *abuse) earn() { a.points = max(0, a.points-1) }
