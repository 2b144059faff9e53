// Package balance picks the endpoint of an attempt.
//
// What may be picked: an endpoint that is neither unfit (active checks) nor
// ejected (failed requests). When none is left, ejected endpoints are picked
// all the same, and the caller is told so that it can count it: that requests
// failed on every endpoint says more about the requests, or about a service
// behind all of them, than about the endpoints, and refusing everything would
// turn a guess into an outage. An unfit endpoint is never picked: somebody
// configured the check that says so. When all are unfit there is no endpoint.
//
// Within these, an endpoint that was not tried yet comes first.
//
// balance.go has the rotation and chance, peakewma.go the two that compare two
// draws, hash.go those by key, layered.go what stands above all of them:
// priorities, zones and panic.
package balance

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
)

// Picker picks an endpoint for each attempt. It is safe for concurrent use and
// does not allocate.
type Picker interface {
	// Pick is an endpoint of set, or nil when all are unfit. tried are the
	// endpoints of earlier attempts of the same request. open tells that the
	// endpoint is ejected and was picked because no other is left. key is what
	// hash goes by; 0: the request has none.
	Pick(set *endpoint.Set, now time.Time, tried []*endpoint.Endpoint, key uint64) (picked *endpoint.Endpoint, open bool)
}

// Config says how a cluster balances.
type Config struct {
	Name      string // of the balancer, in the document
	HashBound float64
	Stats     *Stats // of the cluster; nil: its own
}

// New is the balancer that the document names, over priorities, zones and health.
// One that learns from attempts (peak_ewma) has methods for them.
func New(cfg Config) (Picker, error) {
	if cfg.Stats == nil {
		cfg.Stats = new(Stats)
	}
	l := layered{stats: cfg.Stats}
	keyed := Keyed{Bound: cfg.HashBound, Stats: cfg.Stats}
	switch cfg.Name {
	case "round_robin":
		l.base = newRoundRobin(rand.Uint64())
	case "random":
		l.base = Random{}
	case "least_request":
		l.base = LeastRequest{}
	case "peak_ewma":
		l.base = PeakEWMA{}
		return &observing{layered: l}, nil
	case "first":
		l.base, l.inOrder = First{}, true
	case "hash":
		l.base = Hash{keyed}
	case "maglev":
		l.base = Maglev{keyed}
	case "rendezvous":
		l.base = Rendezvous{keyed}
	default:
		return nil, fmt.Errorf("balance %q: want one of %s", cfg.Name, strings.Join(Names(), ", "))
	}
	return &l, nil
}

// Names are those of all balancers.
func Names() []string {
	return []string{"round_robin", "random", "least_request", "peak_ewma", "first", "hash", "maglev", "rendezvous"}
}

// RoundRobin is the smooth weighted rotation. All requests share one counter,
// without a lock.
type RoundRobin struct{ turn atomic.Uint64 }

// newRoundRobin begins at a turn, which differs between proxies so that they
// do not all begin with the same endpoint.
func newRoundRobin(turn uint64) *RoundRobin {
	r := new(RoundRobin)
	r.turn.Store(turn >> 1) // far from the overflow, where the rotation would jump
	return r
}

// Pick implements Picker. An endpoint that may not be picked loses its turn:
// the one behind it does not get two.
func (r *RoundRobin) Pick(set *endpoint.Set, now time.Time, tried []*endpoint.Endpoint, _ uint64) (*endpoint.Endpoint, bool) {
	i, open := search(r, set, now, tried)
	if i < 0 {
		return nil, false
	}
	return set.At(i), open
}

func (r *RoundRobin) draw(set *endpoint.Set) int { return set.Turn(r.turn.Add(1)) }

// Random picks by weight and chance.
type Random struct{}

// Pick implements Picker.
func (r Random) Pick(set *endpoint.Set, now time.Time, tried []*endpoint.Endpoint, _ uint64) (*endpoint.Endpoint, bool) {
	i, open := search(r, set, now, tried)
	if i < 0 {
		return nil, false
	}
	return set.At(i), open
}

func (Random) draw(set *endpoint.Set) int { return set.Owner(rand.Uint64N(set.Tickets())) }

// LeastRequest draws two endpoints by weight and picks the one with fewer
// attempts under way for its weight.
type LeastRequest struct{}

// Pick implements Picker.
func (LeastRequest) Pick(set *endpoint.Set, now time.Time, tried []*endpoint.Endpoint, _ uint64) (*endpoint.Endpoint, bool) {
	return twoChoices(set, now, tried, emptier)
}

// drawer draws an endpoint by weight, whether it may be picked or not.
type drawer interface{ draw(set *endpoint.Set) int }

// maxDraws is how often search draws before it looks at every endpoint. Draws
// keep the proportions exact; with one endpoint in ten available, three
// searches in a hundred need the look.
const maxDraws = 32

// search draws until the endpoint may be picked and was not tried.
func search[D drawer](d D, set *endpoint.Set, now time.Time, tried []*endpoint.Endpoint) (i int, open bool) {
	n := set.Len()
	if n == 0 {
		return -1, false
	}
	first := d.draw(set)
	if e := set.At(first); set.May(e, now) && !slices.Contains(tried, e) && takes(set, e, now) {
		return first, false
	}
	// A fixed number of turns could be a whole number of rounds, and every
	// search that ends in a scan would begin at the same endpoint.
	for range min(maxDraws, 4*n) + rand.IntN(min(maxDraws, n)) {
		i = d.draw(set)
		if e := set.At(i); set.May(e, now) && !slices.Contains(tried, e) && takes(set, e, now) {
			return i, false
		}
	}
	return scan(set, now, tried, first)
}

// scan looks at every endpoint, from one that was drawn by weight, for the
// best that there is: untried, tried, ejected and untried, ejected.
func scan(set *endpoint.Set, now time.Time, tried []*endpoint.Endpoint, from int) (i int, open bool) {
	again, ejected, ejectedAgain := -1, -1, -1
	n := set.Len()
	for k := range n {
		at := from + k
		if at >= n {
			at -= n
		}
		e := set.At(at)
		was := slices.Contains(tried, e)
		switch available := set.May(e, now); {
		case available && !was:
			return at, false
		case available && again < 0:
			again = at
		case available || e.Unfit():
		case !was && ejected < 0:
			ejected = at
		case was && ejectedAgain < 0:
			ejectedAgain = at
		}
	}
	if again >= 0 {
		return again, false
	}
	if ejected >= 0 {
		return ejected, true
	}
	return ejectedAgain, ejectedAgain >= 0
}
