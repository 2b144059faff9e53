package record

import (
	"slices"
	"strings"
	"sync"

	"github.com/weirproxy/weir/internal/grpcstatus"
	"github.com/weirproxy/weir/stream"
)

// callKey is one series of gRPC calls. The key of what is folded has other
// everywhere but in the code.
type callKey struct {
	route, cluster uint32 // handles
	service        string
	code           uint8 // as in Exchange.GRPCStatus, up to grpcOther
}

func foldedKey(code uint8) callKey { return callKey{other, other, otherName, code} }

// maxServiceName is the longest name that gets a series of its own.
const maxServiceName = 256

// services gives out the series of gRPC calls. Names of services come from
// clients, so a service gets a series once an upstream has answered for it with
// something else than UNIMPLEMENTED; until then, and when the budget of series
// is used up, its calls count as other. It is asked when a shard meets a key
// for the first time, or one without a series.
type services struct {
	mu     sync.Mutex
	budget int
	places map[callKey]uint32 // place of the count in each shard
	known  map[string]bool    // services that an upstream has vouched for
	keys   []callKey          // by place; the first numGRPCCodes are folded ones
	free   []uint32           // places of series that are gone
}

func newServices(maxSeries int) *services {
	s := &services{budget: callBudget(maxSeries), places: map[callKey]uint32{}, known: map[string]bool{}}
	for code := range numGRPCCodes {
		s.keys = append(s.keys, foldedKey(uint8(code)))
	}
	return s
}

// callBudget leaves room for the folded series.
func callBudget(maxSeries int) int { return max(1, maxSeries-numGRPCCodes) }

func (s *services) setBudget(maxSeries int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.budget = callBudget(maxSeries)
}

// admit is the place of a key, and the key with a service name that may be
// kept. ok is false when it counts as folded for now.
func (s *services) admit(r *Recorder, key callKey, vouched bool) (place uint32, kept callKey, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if place, ok := s.places[key]; ok {
		return place, s.keys[place], true
	}
	if len(s.places) >= s.budget || !vouched && !s.known[key.service] || r.retired(key) {
		return uint32(key.code), key, false
	}
	key.service = strings.Clone(key.service) // not the message head around it
	if n := len(s.free); n > 0 {
		place, s.free = s.free[n-1], s.free[:n-1]
		s.keys[place] = key
	} else {
		place = uint32(len(s.keys))
		s.keys = append(s.keys, key)
	}
	s.places[key], s.known[key.service] = place, true
	return place, key, true
}

// retired tells whether route or cluster of a key are gone. A Retain that comes
// later finds the series of the key.
func (r *Recorder) retired(key callKey) bool {
	route, _ := r.routes.admit(key.route)
	cluster, _ := r.clusters.admit(key.cluster)
	return route != key.route || cluster != key.cluster
}

// place is a series that is gone.
type place struct {
	at  uint32
	key callKey
}

// retire takes the series of routes and clusters out that are gone. Their
// places are not given out again before release.
func (s *services) retire(routes, clusters []uint32) (gone []place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.known)
	for key, at := range s.places {
		if slices.Contains(routes, key.route) || slices.Contains(clusters, key.cluster) {
			delete(s.places, key)
			gone = append(gone, place{at, key})
		} else {
			s.known[key.service] = true
		}
	}
	return gone
}

func (s *services) release(gone []place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range gone {
		s.keys[p.at] = callKey{}
		s.free = append(s.free, p.at)
	}
}

// series is a copy of the keys by place; places that are free have the zero key.
func (s *services) series() []callKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]callKey(nil), s.keys...)
}

// calls is what one shard has counted of gRPC calls.
type calls struct {
	places map[callKey]uint32
	counts []uint64 // by place
}

// call counts a gRPC call; route and cluster are handles with blocks of their
// own, or other. mu is held.
func (s *shard) call(r *Recorder, req *stream.Request, route, cluster uint32) {
	x := &req.Exchange
	key := callKey{route: route, cluster: cluster, code: min(x.GRPCStatus, grpcOther)}
	key.service, _ = callOf(req)
	place, found := s.calls.places[key]
	if !found {
		place = s.admitCall(r, key, vouches(x))
	}
	for len(s.calls.counts) <= int(place) {
		s.calls.counts = append(s.calls.counts, 0)
	}
	s.calls.counts[place]++
}

// admitCall is the place of a key that this shard has not counted yet.
func (s *shard) admitCall(r *Recorder, key callKey, vouched bool) uint32 {
	if key.service == "" || len(key.service) > maxServiceName {
		return uint32(key.code)
	}
	place, kept, ok := r.services.admit(r, key, vouched)
	if ok {
		if s.calls.places == nil {
			s.calls.places = map[callKey]uint32{}
		}
		s.calls.places[kept] = place
	}
	return place
}

// vouches tells whether the answer of an upstream shows that the service exists.
func vouches(x *stream.Exchange) bool {
	return x.UpstreamStatus != 0 && x.Fault == nil && x.GRPCStatus != 0 && x.GRPCStatus-1 != grpcstatus.Unimplemented
}

// foldCalls moves what was counted for series that are gone to other. mu is
// held.
func (s *shard) foldCalls(gone []place) {
	for _, p := range gone {
		delete(s.calls.places, p.key)
		if int(p.at) < len(s.calls.counts) { // the folded places come first, so they are there
			s.calls.counts[p.key.code] += s.calls.counts[p.at]
			s.calls.counts[p.at] = 0
		}
	}
}

// sumCalls adds the shards up, by place.
func (r *Recorder) sumCalls(places int) []uint64 {
	sums := make([]uint64, places)
	for _, s := range r.shards {
		s.mu.Lock()
		for place, n := range s.calls.counts[:min(places, len(s.calls.counts))] {
			sums[place] += n
		}
		s.mu.Unlock()
	}
	return sums
}
