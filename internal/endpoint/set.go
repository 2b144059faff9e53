package endpoint

import (
	"sync"
	"sync/atomic"
	"time"
)

// maxWeight bounds one weight.
const maxWeight = 1 << 20

// Set is the endpoints of a cluster at one time. It is immutable: a change of
// addresses makes another Set, in which the endpoints that stay are the same
// objects, with their health and counters.
type Set struct {
	all    []*Endpoint
	layout Layout
	levels []Level
	blind  bool // whoever picks does not ask for health

	standing   atomic.Pointer[Standing]
	restanding sync.Mutex // held by who makes another standing
	busy       atomic.Pointer[busy]
	capacity   atomic.Pointer[capacity]

	// picked are the endpoints with a weight, in order; tickets 0 to total-1
	// are dealt out among them by weight: ticket t belongs to the first one
	// whose sum is larger. sums is nil when all weights are equal; ticket t is
	// then picked[t].
	picked  []*Endpoint
	weights []uint32
	sums    []uint64
	total   uint64
	stride  uint64
	// guide narrows the search for an owner to a few endpoints: those of ticket
	// t lie from guide[t>>shift] to guide[t>>shift+1].
	guide []uint32
	shift uint

	ids   ids
	ring  ring
	table table
}

// newPart is a set of these endpoints that is not divided further.
func (l Layout) newPart(endpoints []*Endpoint) *Set {
	s := &Set{all: append([]*Endpoint(nil), endpoints...), layout: l}
	even := true
	for _, e := range s.all {
		if w := l.sharing(e); w > 0 {
			s.picked = append(s.picked, e)
			s.weights = append(s.weights, w)
			even = even && w == s.weights[0]
		}
	}
	if s.total = uint64(len(s.picked)); !even {
		s.deal()
	}
	s.stride = 1
	if s.sums != nil {
		s.stride = golden(s.total)
		s.buildGuide()
	}
	return s
}

// buildGuide makes about as many entries as there are endpoints.
func (s *Set) buildGuide() {
	for s.total>>s.shift > uint64(2*len(s.picked)) {
		s.shift++
	}
	s.guide = make([]uint32, s.total>>s.shift+2)
	at := 0
	for k := range s.guide {
		for at < len(s.sums)-1 && s.sums[at] <= uint64(k)<<s.shift {
			at++
		}
		s.guide[k] = uint32(at)
	}
}

// deal computes sums from the smallest whole weights of the same proportions,
// halved until a product of two tickets fits into 64 bits.
func (s *Set) deal() {
	weights, sum, by := make([]uint64, len(s.weights)), uint64(0), uint64(0)
	for _, w := range s.weights {
		by = gcd(by, uint64(w))
	}
	for i, w := range s.weights {
		weights[i] = uint64(w) / by
		sum += weights[i]
	}
	for sum >= 1<<32 {
		sum = 0
		for i := range weights {
			weights[i] = max(weights[i]/2, 1)
			sum += weights[i]
		}
	}
	s.sums, s.total = weights, sum
	for i := 1; i < len(s.sums); i++ {
		s.sums[i] += s.sums[i-1]
	}
}

// golden is the step near total/1.618 that visits every ticket once per round
// and keeps those of one endpoint far apart.
func golden(total uint64) uint64 {
	step := max(uint64(float64(total)*0.6180339887), 1)
	for gcd(step, total) != 1 {
		step--
	}
	return step
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// All are the endpoints in order, those without weight included: to read, not
// to change.
func (s *Set) All() []*Endpoint { return s.all }

// Len is the number of endpoints with a weight.
func (s *Set) Len() int { return len(s.picked) }

// At is endpoint i of those with a weight.
func (s *Set) At(i int) *Endpoint { return s.picked[i] }

// Weight is the weight of At(i).
func (s *Set) Weight(i int) uint32 { return s.weights[i] }

// Even tells whether all weights are equal.
func (s *Set) Even() bool { return s.sums == nil }

// May tells whether an endpoint of the set may be picked.
func (s *Set) May(e *Endpoint, now time.Time) bool { return s.blind || e.Available(now) }

// Tickets is how many tickets there are. Each endpoint owns as many of them as
// its weight says.
func (s *Set) Tickets() uint64 { return s.total }

// Owner is the endpoint that owns a ticket below Tickets.
func (s *Set) Owner(ticket uint64) int {
	if s.sums == nil {
		return int(ticket)
	}
	low, high := s.guide[ticket>>s.shift], s.guide[ticket>>s.shift+1]
	for low < high {
		if mid := (low + high) / 2; s.sums[mid] > ticket {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return int(low)
}

// Turn is the endpoint whose turn it is in a smooth weighted rotation: over
// Tickets consecutive numbers each endpoint comes as often as it has tickets,
// well spread. With even weights it is the plain rotation.
func (s *Set) Turn(number uint64) int {
	return s.Owner(number % s.total * s.stride % s.total)
}

// Update is the set of specs. Endpoints that s has already are kept (with the
// new weight and place), build makes the others, gone are those that specs does not name
// any more: the caller drains their Transport once no request picks from s. A
// spec that is named twice counts once. s may be nil.
func (s *Set) Update(specs []Spec, build func(Spec) *Endpoint) (next *Set, gone []*Endpoint) {
	have := map[identity]*Endpoint{}
	if s != nil {
		for _, e := range s.all {
			have[e.identity()] = e
		}
	}
	seen := make(map[identity]bool, len(specs))
	list := make([]*Endpoint, 0, len(specs))
	for _, spec := range specs {
		id := spec.identity()
		if seen[id] {
			continue
		}
		seen[id] = true
		e := have[id]
		if e == nil {
			e = build(spec)
		} else {
			e.setWeight(spec.Weight)
			e.setPlace(spec.Place)
		}
		list = append(list, e)
	}
	if s != nil {
		for _, e := range s.all {
			if !seen[e.identity()] {
				gone = append(gone, e)
			}
		}
	}
	if s == nil {
		return NewSet(list), gone
	}
	return s.layout.NewSet(list), gone
}
