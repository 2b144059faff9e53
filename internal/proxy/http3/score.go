package http3

import (
	"sync"
	"time"
)

// The points of what costs us work and the peer nothing. They decay, so that a
// browser that leaves a page full of pictures now and then is no attack.
const (
	pointsReset    = 10 // a request given up before its response, or one that we had to give up
	pointsUnknown  = 2  // a frame or setting of unknown type; and one for each KiB of it
	pointsEmpty    = 2  // a DATA frame without data
	pointsPriority = 2
	pointsUni      = 20 // a unidirectional stream of unknown type
	pointsControl  = 5  // any other frame of the control stream

	// scoreLimit is the limit of who has set none.
	scoreLimit = 2000
	// scoreDecay is how much of the limit is forgiven each second.
	scoreDecay = 0.05
)

// score is what one connection has cost. Any goroutine.
type score struct {
	mu     sync.Mutex
	points float64
	limit  float64
	at     time.Time
	over   func() // called once when the limit is passed
	called bool
}

// begin sets a score to nothing. limit 0: scoreLimit.
func (s *score) begin(limit int, now time.Time, over func()) {
	if limit == 0 {
		limit = scoreLimit
	}
	s.limit, s.at, s.over = float64(limit), now, over
}

// add adds points. The error ends the connection.
func (s *score) add(points int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.points = max(0, s.points-scoreDecay*s.limit*now.Sub(s.at).Seconds()) + float64(points)
	s.at = now
	if s.points <= s.limit {
		return nil
	}
	if !s.called && s.over != nil {
		s.called = true
		s.over()
	}
	return fatal(codeExcessiveLoad, "the connection costs more than it asks for")
}
