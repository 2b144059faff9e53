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

	scoreLimit = 2000
	scoreDecay = 100 // points a second
)

// score is what one connection has cost. Any goroutine.
type score struct {
	mu     sync.Mutex
	points float64
	at     time.Time
	over   func() // called once when the limit is passed
	called bool
}

// add adds points. The error ends the connection.
func (s *score) add(points int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.points = max(0, s.points-scoreDecay*now.Sub(s.at).Seconds()) + float64(points)
	s.at = now
	if s.points <= scoreLimit {
		return nil
	}
	if !s.called && s.over != nil {
		s.called = true
		s.over()
	}
	return fatal(codeExcessiveLoad, "the connection costs more than it asks for")
}
