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
// Within these, an endpoint that was not tried yet comes first. One that is at a
// limit of its own is passed over; when all are, one of them is picked, and whoever
// asks finds out: it is fit, so that nobody has to go to an ejected one. Among very
// many endpoints the last few with room may be missed: looking for them would make
// every pick slow just when there is too much to do.
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
	if e := set.At(first); fresh(set, e, now, tried) && takes(set, e, now) {
		return first, false
	}
	// A fixed number of turns could be a whole number of rounds, and every
	// search that ends in a scan would begin at the same endpoint.
	for range min(maxDraws, 4*n) + rand.IntN(min(maxDraws, n)) {
		i = d.draw(set)
		if e := set.At(i); fresh(set, e, now, tried) && takes(set, e, now) {
			return i, false
		}
	}
	return scan(set, now, tried, first, maxScan)
}

// fresh tells whether an endpoint may be picked, has room, and was not tried.
func fresh(set *endpoint.Set, e *endpoint.Endpoint, now time.Time, tried []*endpoint.Endpoint) bool {
	return set.May(e, now) && e.HasRoom() && !slices.Contains(tried, e)
}

// maxScan is how many endpoints are looked at for room, once draws found none and
// one that is full is known.
const maxScan = 256

// scan looks at every endpoint, from one that was drawn by weight, for the
// best that there is: untried, tried, full, ejected and untried, ejected. After as
// many as look, one that is full is good enough.
func scan(set *endpoint.Set, now time.Time, tried []*endpoint.Endpoint, from, look int) (i int, open bool) {
	var best [freshRank + 1]int // 1 more than the first of each rank
	n := set.Len()
	for k := range n {
		at := from + k
		if at >= n {
			at -= n
		}
		r := rank(set, set.At(at), now, tried)
		if r == freshRank {
			return at, false
		}
		if best[r] == 0 {
			best[r] = at + 1
		}
		if k >= look && best[fullRank] > 0 {
			break
		}
	}
	for _, r := range []int{againRank, fullRank, ejectedRank, ejectedAgainRank} {
		if best[r] > 0 {
			return best[r] - 1, r < fullRank
		}
	}
	return -1, false
}
