package route

import (
	"context"
	"math"
	"time"

	"github.com/weirproxy/weir/internal/canary"
	"github.com/weirproxy/weir/stream"
)

// Comparison decides how much a candidate gets, and is told how it does.
type Comparison interface {
	Share() float64
	Observe(arm canary.Arm, failed bool, took time.Duration, now time.Time)
}

// candidacy gives a share of the requests to a candidate. The point of a key is
// that of a split, and the candidate's share begins at 0: who was given to it
// stays there while the share grows.
type candidacy struct {
	split               // for the point
	exposed    Exposure // of the candidate
	arms       [2]stream.Service
	comparison Comparison
}

// NewCanary makes an action that gives candidate the share of the requests that
// comparison says, and baseline the rest. key and salt are as for NewSplit.
func NewCanary(baseline stream.Service, candidate Side, comparison Comparison, key, salt string) (stream.Service, error) {
	s, err := NewSplit(nil, key, salt+"/canary")
	if err != nil {
		return nil, err
	}
	c := &candidacy{split: *s.(*split), exposed: candidate.Exposed, comparison: comparison}
	c.arms[canary.Baseline], c.arms[canary.Candidate] = baseline, candidate.Service
	return c, nil
}

// Serve implements stream.Service.
func (c *candidacy) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	arm := canary.Baseline
	point, cause := c.place(req)
	if float64(point) < c.comparison.Share()*math.MaxUint64 {
		arm = canary.Candidate
		c.exposed.count(cause)
	}
	began := time.Now()
	resp, err := c.arms[arm].Serve(ctx, req)
	now := time.Now()
	o := observation{c.comparison, arm, now.Sub(began)}
	if err == nil {
		o.watch(req, resp, now)
	} else if speaksOf(stream.AsFault(err)) {
		o.note(true, now)
	}
	return resp, err
}

// speaksOf tells whether a fault says something of who should have answered: not
// when the client has left, or sent what cannot be sent on.
func speaksOf(f *stream.Fault) bool { return f.Origin() != stream.Downstream }
