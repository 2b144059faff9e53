package endpoint

import (
	"slices"
	"strings"
)

// Place is where an endpoint stands among those of its cluster.
type Place struct {
	Priority int               // 0 first; the others only when that is not enough
	Zone     string            // where it runs; "": not said
	Labels   map[string]string // what routes choose it by: read only
}

// Place is where the endpoint stands in the newest Set that holds it.
func (e *Endpoint) Place() Place { return *e.place.Load() }

func (e *Endpoint) setPlace(p Place) { e.place.Store(&p) }

// Zone is the zone of the endpoint, or "".
func (e *Endpoint) Zone() string { return e.place.Load().Zone }

// Selector chooses endpoints by their labels: each pair must be there. The zero
// value chooses all.
type Selector struct{ pairs [][2]string }

// NewSelector chooses the endpoints that have all of labels.
func NewSelector(labels map[string]string) Selector {
	var s Selector
	for name, value := range labels {
		s.pairs = append(s.pairs, [2]string{name, value})
	}
	slices.SortFunc(s.pairs, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	return s
}

// All tells whether every endpoint is chosen.
func (s Selector) All() bool { return len(s.pairs) == 0 }

// Key is the same for selectors that choose the same.
func (s Selector) Key() string {
	var key strings.Builder
	for _, p := range s.pairs {
		key.WriteString(p[0] + "\x00" + p[1] + "\x00")
	}
	return key.String()
}

// Chooses tells whether the endpoint has the labels.
func (s Selector) Chooses(e *Endpoint) bool {
	labels := e.place.Load().Labels
	for _, p := range s.pairs {
		if value, ok := labels[p[0]]; !ok || value != p[1] {
			return false
		}
	}
	return true
}

// Subset is the set of those endpoints of s that the selector chooses.
func (s *Set) Subset(by Selector) *Set {
	if by.All() {
		return s
	}
	var chosen []*Endpoint
	for _, e := range s.all {
		if by.Chooses(e) {
			chosen = append(chosen, e)
		}
	}
	layout := s.layout
	layout.OnStanding = nil // that of the whole set is what people look at
	return layout.NewSet(chosen)
}
