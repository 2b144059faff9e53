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
package balance

import (
	"fmt"
	"math/rand/v2"
	"slices"
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

// New is the picker of that name in the document.
func New(name string) (Picker, error) {
	switch name {
	case "round_robin":
		return newRoundRobin(rand.Uint64()), nil
	case "random":
		return Random{}, nil
	case "least_request":
		return LeastRequest{}, nil
	case "hash":
		return Hash{}, nil
	}
	return nil, fmt.Errorf("balance %q: want round_robin, random, least_request or hash", name)
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
	i, open := search(Random{}, set, now, tried)
	if i < 0 {
		return nil, false
	}
	first := set.At(i)
	if open {
		return first, true
	}
	j, found := second(set, now, tried, i)
	if !found {
		return first, false
	}
	other := set.At(j)
	a, b := uint64(first.InFlight())*uint64(set.Weight(j)), uint64(other.InFlight())*uint64(set.Weight(i))
	if b < a {
		return other, false
	}
	return first, false // equal: the first draw, which went by weight
}

// secondDraws bounds the search for a second endpoint. Without one the first
// is picked.
const secondDraws = 8

// second draws an endpoint other than i that may be picked.
func second(set *endpoint.Set, now time.Time, tried []*endpoint.Endpoint, i int) (j int, found bool) {
	n := set.Len()
	if n < 2 {
		return 0, false
	}
	for range secondDraws {
		if set.Even() {
			j = i + 1 + rand.IntN(n-1)
			if j >= n {
				j -= n
			}
		} else if j = (Random{}).draw(set); j == i {
			continue
		}
		if e := set.At(j); e.Available(now) && !slices.Contains(tried, e) {
			return j, true
		}
	}
	return 0, false
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
	if e := set.At(first); e.Available(now) && !slices.Contains(tried, e) {
		return first, false
	}
	// A fixed number of turns could be a whole number of rounds, and every
	// search that ends in a scan would begin at the same endpoint.
	for range min(maxDraws, 4*n) + rand.IntN(min(maxDraws, n)) {
		i = d.draw(set)
		if e := set.At(i); e.Available(now) && !slices.Contains(tried, e) {
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
		switch available := e.Available(now); {
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
