package balance

import (
	"slices"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
)

// Hash keeps what has the same key at the same endpoint. While that one may
// not be picked, its keys go to others, each key in an order of its own, and no
// key of the others moves. A request without a key goes anywhere, by weight.
type Hash struct{}

// maxWalk is how many places of the ring are looked at before every endpoint
// is. With half of the endpoints out one walk in 2^64 is longer.
const maxWalk = 64

// Prepare makes the ring of a set before requests need it.
func (Hash) Prepare(set *endpoint.Set) { set.Ring() }

// Pick implements Picker.
func (Hash) Pick(set *endpoint.Set, now time.Time, tried []*endpoint.Endpoint, key uint64) (*endpoint.Endpoint, bool) {
	if key == 0 {
		return Random{}.Pick(set, now, tried, 0)
	}
	if set.Len() == 0 {
		return nil, false
	}
	set.Ring()
	from := set.Seek(key)
	for step := range min(maxWalk, set.Points()) {
		if e := set.At(set.PointOwner(from + step)); e.Available(now) && !slices.Contains(tried, e) {
			return e, false
		}
	}
	return nearest(set, now, tried, key)
}

// nearest looks at every endpoint for the best that there is, as scan does,
// and among equals for the one that is first for the key.
func nearest(set *endpoint.Set, now time.Time, tried []*endpoint.Endpoint, key uint64) (best *endpoint.Endpoint, open bool) {
	bestRank, bestAffinity := 0, uint64(0)
	for i := range set.Len() {
		e := set.At(i)
		r := rank(e, now, tried)
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
	againRank
	freshRank
)

func rank(e *endpoint.Endpoint, now time.Time, tried []*endpoint.Endpoint) int {
	was := slices.Contains(tried, e)
	switch available := e.Available(now); {
	case available && !was:
		return freshRank
	case available:
		return againRank
	case e.Unfit():
		return 0
	case !was:
		return ejectedRank
	}
	return ejectedAgainRank
}
