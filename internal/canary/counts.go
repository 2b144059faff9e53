package canary

import (
	"math"
	"time"
)

// counts are the requests of an arm.
type counts struct {
	All    int64 `json:"requests"`
	Errors int64 `json:"errors"`
	Slow   int64 `json:"slow"`
}

// add counts one request.
func (c *counts) add(failed, slow bool) {
	c.All++
	if failed {
		c.Errors++
	}
	if slow {
		c.Slow++
	}
}

func (c *counts) plus(o counts) counts {
	return counts{c.All + o.All, c.Errors + o.Errors, c.Slow + o.Slow}
}

func (c *counts) ratio(n int64) float64 { return float64(n) / float64(max(c.All, 1)) }

// atMost is a ratio that the true one is hardly above: three standard deviations
// from what was counted, and two more so that nothing counted is not never.
func (c *counts) atMost(n int64) float64 {
	x := float64(n) + 2
	return min((x+3*math.Sqrt(x))/float64(max(c.All, 1)), 1)
}

// pair are both arms, by Arm.
type pair [2]counts

func (p *pair) plus(o pair) pair {
	return pair{p[Baseline].plus(o[Baseline]), p[Candidate].plus(o[Candidate])}
}

// recent are the requests of the last seconds, so that a canary that was well
// for an hour has no credit of it: this half and the one before.
type recent struct {
	half, before pair
	began        time.Time // this half
}

// halfLeast is how long a half lasts at least. It has the smallest number of
// requests that anything is decided by, too.
const halfLeast = 10 * time.Second

func (r *recent) turn(now time.Time, least int64) {
	if r.half[Candidate].All >= least && now.Sub(r.began) >= halfLeast {
		r.before, r.half, r.began = r.half, pair{}, now
	}
}

func (r *recent) sum() pair { return r.half.plus(r.before) }

// surely is by how much the ratio of the canary is larger, less one and a half
// standard errors: few requests say little.
func (p *pair) surely(of func(*counts) int64) float64 {
	own, others := &p[Candidate], &p[Baseline]
	a, b := own.ratio(of(own)), others.ratio(of(others))
	variance := a*(1-a)/float64(max(own.All, 1)) + b*(1-b)/float64(max(others.All, 1))
	return a - b - 1.5*math.Sqrt(variance)
}

// by is by how much the ratio of the canary is larger.
func (p *pair) by(of func(*counts) int64) float64 {
	own, others := &p[Candidate], &p[Baseline]
	return own.ratio(of(own)) - others.ratio(of(others))
}

func errorsOf(c *counts) int64 { return c.Errors }
func slowOf(c *counts) int64   { return c.Slow }
