package endpoint

import (
	"cmp"
	"math/bits"
	"slices"
	"sync"
)

// The ring of a Set gives every key an endpoint such that a change of
// endpoints moves only the keys of those that come or go: each endpoint stands
// on a circle of 64-bit numbers at points that depend on who it is and nothing
// else, and a key belongs to the first point at or behind it. All proxies make
// the same ring of the same endpoints.

const (
	// pointsPerWeight puts the share of an endpoint of weight 1 within some six
	// per cent of what it should be (1/sqrt(256)).
	pointsPerWeight = 256
	// maxPoints and leastPoints bound a ring: beyond maxPoints all endpoints get
	// half as many points, and so on, until there are leastPoints for each on
	// average. Only a change that crosses such a border moves other keys too.
	maxPoints   = 1 << 18
	leastPoints = 32
)

type point struct {
	hash  uint64
	owner uint32
}

// ring is made when it is asked for: most clusters never do.
type ring struct {
	once   sync.Once
	points []point
	// guide[h>>shift] is the first point that is not before h with its low bits
	// cleared.
	guide []uint32
	shift uint
}

// ids are the hashes of who each endpoint is, made when they are asked for.
type ids struct {
	once sync.Once
	list []uint64
}

// IDs are numbers that tell the endpoints apart, the same in every process, in
// the order of At: to read, not to change.
func (s *Set) IDs() []uint64 {
	s.ids.once.Do(func() {
		s.ids.list = make([]uint64, len(s.picked))
		for i, e := range s.picked {
			s.ids.list[i] = e.identity().hash()
		}
	})
	return s.ids.list
}

// Ring makes sure that Seek is ready. It costs up to some tens of milliseconds
// with a thousand endpoints, which whoever calls it first spares the requests.
func (s *Set) Ring() {
	s.ring.once.Do(func() {
		if len(s.picked) > 0 {
			s.ring.build(s.IDs(), s.weights)
		}
	})
}

// Seek is the place on the ring where key belongs, for PointOwner. The set has
// an endpoint, and Ring was called.
func (s *Set) Seek(key uint64) (place int) {
	r := &s.ring
	for i := int(r.guide[key>>r.shift]); i < len(r.points); i++ {
		if r.points[i].hash >= key {
			return i
		}
	}
	return 0 // round the circle
}

// Points is the number of places on the ring.
func (s *Set) Points() int { return len(s.ring.points) }

// PointOwner is the endpoint at a place on the ring; the places behind the
// last one are the first ones again.
func (s *Set) PointOwner(place int) int {
	points := s.ring.points
	if place >= len(points) {
		place -= len(points)
	}
	return int(points[place].owner)
}

// Affinity orders the endpoints for a key, the largest first, in the same way
// in every Set that they are in. IDs was called.
func (s *Set) Affinity(key uint64, i int) uint64 { return mix(s.ids.list[i] ^ key) }

func (r *ring) build(ids []uint64, weights []uint32) {
	total := uint64(0)
	for _, w := range weights {
		total += uint64(w) * pointsPerWeight
	}
	halved := uint(0)
	for limit := uint64(max(maxPoints, leastPoints*len(ids))); total>>halved > limit; {
		halved++
	}
	r.points = make([]point, 0, total>>halved+uint64(len(ids)))
	for i, id := range ids {
		for n := range max(uint64(weights[i])*pointsPerWeight>>halved, 1) {
			r.points = append(r.points, point{mix(id + n*0x9e3779b97f4a7c15), uint32(i)})
		}
	}
	slices.SortFunc(r.points, func(a, b point) int {
		if a.hash != b.hash {
			return cmp.Compare(a.hash, b.hash)
		}
		return cmp.Compare(ids[a.owner], ids[b.owner]) // the order in the document does not matter
	})
	r.buildGuide()
}

// buildGuide makes between one and two points for each entry.
func (r *ring) buildGuide() {
	width := max(bits.Len(uint(len(r.points)))-1, 1)
	r.shift = uint(64 - width)
	r.guide = make([]uint32, 1<<width)
	at := 0
	for k := range r.guide {
		for at < len(r.points) && r.points[at].hash < uint64(k)<<r.shift {
			at++
		}
		r.guide[k] = uint32(at)
	}
}

// hash is FNV-1a, the same in every process.
func (id identity) hash() uint64 {
	h := uint64(14695981039346656037)
	for _, part := range [...]string{id.network, id.address, id.host} {
		for i := range len(part) {
			h = (h ^ uint64(part[i])) * 1099511628211
		}
		h = (h ^ 0xff) * 1099511628211 // no byte of UTF-8: the parts stay apart
	}
	return mix(h)
}

// mix is the finaliser of SplitMix64: every bit of x moves every bit of the
// result.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
