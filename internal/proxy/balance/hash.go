package balance

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
)

// maxWalk is how many places in the order of a key are looked at before every
// endpoint is. With half of the endpoints out one walk in 2^64 is longer.
const maxWalk = 64

// Keyed is what the balancers by key have in common. What has the same key stays
// at the same endpoint. While that one may not be picked, its keys go to others,
// each key in an order of its own, and no key of the others moves. A request
// without a key goes anywhere, by weight.
//
// Bound, more than 1, keeps a popular key from drowning its endpoint: one that
// has under way more than Bound times its part of what all have passes what is
// more on to the next in the order of the key. 0: nothing is passed on.
type Keyed struct {
	Bound float64
	Stats *Stats // nil: not counted
}

// ordering is the order of a key over the endpoints of a set: place is where it
// begins, at the endpoint of each step from there.
type ordering interface {
	place(set *endpoint.Set, key uint64) int
	at(set *endpoint.Set, key uint64, place, step int) int
	steps(set *endpoint.Set) int
}

// Hash is the ring: each endpoint has points on a circle, and a key belongs to
// the next one.
type Hash struct{ Keyed }

// Prepare makes the ring of a set before requests need it.
func (Hash) Prepare(set *endpoint.Set) { set.Ring() }

// Pick implements Picker.
func (h Hash) Pick(set *endpoint.Set, now time.Time, tried []*endpoint.Endpoint, key uint64) (*endpoint.Endpoint, bool) {
	set.Ring()
	return walk(h.Keyed, ringOrder{}, set, now, tried, key)
}

type ringOrder struct{}

func (ringOrder) place(set *endpoint.Set, key uint64) int { return set.Seek(key) }
func (ringOrder) at(set *endpoint.Set, _ uint64, place, step int) int {
	return set.PointOwner(place + step)
}
func (ringOrder) steps(set *endpoint.Set) int { return set.Points() }

// Maglev is the table: one look, and shares that are exact.
type Maglev struct{ Keyed }

// Prepare makes the table of a set before requests need it.
func (Maglev) Prepare(set *endpoint.Set) { set.Table() }

// Pick implements Picker.
func (m Maglev) Pick(set *endpoint.Set, now time.Time, tried []*endpoint.Endpoint, key uint64) (*endpoint.Endpoint, bool) {
	set.Table()
	return walk(m.Keyed, tableOrder{}, set, now, tried, key)
}

type tableOrder struct{}

func (tableOrder) place(*endpoint.Set, uint64) int { return 0 }

// at: the steps behind the first one are other numbers made of the key, so that
// the keys of an endpoint do not all have the same heir.
func (tableOrder) at(set *endpoint.Set, key uint64, _, step int) int {
	if step > 0 {
		key = mix(key + uint64(step)*0x9e3779b97f4a7c15)
	}
	return set.Seat(key)
}

func (tableOrder) steps(set *endpoint.Set) int { return set.Seats() }

// walk goes along the order of the key until an endpoint takes the request.
func walk[O ordering](k Keyed, order O, set *endpoint.Set, now time.Time, tried []*endpoint.Endpoint, key uint64) (*endpoint.Endpoint, bool) {
	if key == 0 {
		return Random{}.Pick(set, now, tried, 0)
	}
	if set.Len() == 0 {
		return nil, false
	}
	room := k.measure(set, now)
	var home, full *endpoint.Endpoint
	place := order.place(set, key)
	for step := range min(maxWalk, order.steps(set)) {
		i := order.at(set, key, place, step)
		e := set.At(i)
		if !set.May(e, now) || slices.Contains(tried, e) || set.Slow() && !set.Takes(e, now, mix(set.Affinity(key, i))) {
			continue
		}
		switch {
		case !e.HasRoom():
			if full == nil {
				full = e
			}
		case room.has(set, i):
			k.spilled(cmp.Or(home, full))
			return e, false
		case home == nil:
			home = e
		}
	}
	switch {
	case home != nil:
		return home, false // all have enough, as far as one looked: the key stays at home
	case full != nil && set.Len() > maxScan:
		return full, false
	}
	return nearest(set, now, tried, key)
}

// spilled counts a key that did not stay at its home, if it had one.
func (k Keyed) spilled(home *endpoint.Endpoint) {
	if home != nil && k.Stats != nil {
		k.Stats.Spilled.Add(1)
	}
}

// room is how much each endpoint may have under way.
type room struct {
	bound    float64 // 0: anything
	inFlight int64
	weight   uint64
}

func (k Keyed) measure(set *endpoint.Set, now time.Time) room {
	if k.Bound <= 0 {
		return room{}
	}
	r := room{bound: k.Bound}
	r.inFlight, r.weight = set.Busy(now)
	return r
}

// has tells whether endpoint i has room for one more.
func (r room) has(set *endpoint.Set, i int) bool {
	return r.bound <= 0 || set.At(i).InFlight() < set.Room(i, r.bound, r.inFlight, r.weight)
}

// nearest looks at every endpoint for the best that there is, as scan does,
// and among equals for the one that is first for the key.
func nearest(set *endpoint.Set, now time.Time, tried []*endpoint.Endpoint, key uint64) (best *endpoint.Endpoint, open bool) {
	set.IDs()
	bestRank, bestAffinity := 0, uint64(0)
	for i := range set.Len() {
		e := set.At(i)
		r := rank(set, e, now, tried)
		if r == 0 || r < bestRank {
			continue
		}
		if a := set.Affinity(key, i); r > bestRank || a > bestAffinity {
			best, bestRank, bestAffinity = e, r, a
		}
	}
	return best, bestRank == ejectedRank || bestRank == ejectedAgainRank
}

// What is better to pick, from never to at once.
const (
	_ = iota // unfit: never
	ejectedAgainRank
	ejectedRank
	fullRank
	againRank
	freshRank
)

func rank(set *endpoint.Set, e *endpoint.Endpoint, now time.Time, tried []*endpoint.Endpoint) int {
	was := slices.Contains(tried, e)
	switch may := set.May(e, now); {
	case may && !e.HasRoom():
		return fullRank
	case may && !was:
		return freshRank
	case may:
		return againRank
	case e.Unfit():
		return 0
	case !was:
		return ejectedRank
	}
	return ejectedAgainRank
}

// Rendezvous asks every endpoint how much it likes the key and takes the one that
// likes it most: exact shares by weight, nothing to build, and only the keys of
// an endpoint that comes or goes move. A pick costs some nanoseconds for each
// endpoint, so that it is for tens of them.
type Rendezvous struct{ Keyed }

// Prepare makes what a pick looks at.
func (Rendezvous) Prepare(set *endpoint.Set) { set.IDs() }

// Pick implements Picker.
func (r Rendezvous) Pick(set *endpoint.Set, now time.Time, tried []*endpoint.Endpoint, key uint64) (*endpoint.Endpoint, bool) {
	if key == 0 {
		return Random{}.Pick(set, now, tried, 0)
	}
	set.IDs()
	space := r.measure(set, now)
	best, home := -1, -1
	bestScore, homeScore := math.Inf(-1), math.Inf(-1)
	for i := range set.Len() {
		e := set.At(i)
		if !fresh(set, e, now, tried) || set.Slow() && !set.Takes(e, now, mix(set.Affinity(key, i))) {
			continue
		}
		score := liking(set, key, i)
		if score > homeScore {
			home, homeScore = i, score
		}
		if score > bestScore && space.has(set, i) {
			best, bestScore = i, score
		}
	}
	switch {
	case home < 0:
		return nearest(set, now, tried, key)
	case best < 0:
		return set.At(home), false
	case best != home:
		r.spilled(set.At(home))
	}
	return set.At(best), false
}

// liking is -weight/ln(u) for a number u in (0,1) made of both (weighted
// rendezvous hashing); without weights u says the same.
func liking(set *endpoint.Set, key uint64, i int) float64 {
	u := (float64(set.Affinity(key, i)>>11) + 0.5) / (1 << 53)
	if set.Even() {
		return u
	}
	return -float64(set.Weight(i)) / math.Log(u)
}

// mix is the finaliser of SplitMix64.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
