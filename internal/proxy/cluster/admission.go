package cluster

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/ratio"
)

// admission refuses a share of the requests before they are sent, while many of
// those that are sent fail (Beyer et al., Site Reliability Engineering, chapter
// 21, "Client-Side Throttling"): a service that is overloaded spends its time on
// refusing, too.
type admission struct {
	window     *ratio.Window
	success    float64 // share of successes that is good enough
	aggression float64
	most       float64 // share of requests refused
	least      int64   // requests that must be known
	random     func() float64
}

func newAdmission(a *config.Admission, now time.Time) *admission {
	if a == nil {
		return nil
	}
	return &admission{
		window: ratio.New(time.Duration(a.Window), now), success: a.SuccessRate, aggression: a.Aggression, most: a.Max,
		least: int64(a.MinRequests), random: rand.Float64,
	}
}

// refusing is the share of requests that is refused now.
func (a *admission) refusing(now time.Time) float64 {
	all, good := a.window.Sums(now)
	if all < a.least {
		return 0
	}
	excess := (float64(all) - float64(good)/a.success) / (float64(all) + 1)
	if excess <= 0 {
		return 0
	}
	return min(math.Pow(excess, 1/a.aggression), a.most)
}

// admits decides about one request.
func (a *admission) admits(now time.Time) bool {
	share := a.refusing(now)
	return share == 0 || a.random() >= share
}
