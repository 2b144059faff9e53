package endpoint

import (
	"cmp"
	"slices"
)

// Layout says how the endpoints of a cluster share its traffic beyond their
// weights. The zero value: they do not differ.
type Layout struct {
	// Zone is the one that traffic stays in, "" for none; ZoneLeast is how many
	// fit endpoints of a level it takes.
	Zone      string
	ZoneLeast int
	// Overprovision is how much more than its part of the traffic a fit endpoint
	// can take: a level that is fit for 1/Overprovision still takes all. 0 is 1.
	Overprovision float64
	// PanicBelow is the fit share of a level below which its health is not
	// believed; 0: always believed.
	PanicBelow float64
	// SlowStart raises the share of endpoints that are new or back.
	SlowStart SlowStart
	// Reports has endpoints say how much they can take: see Weigh.
	Reports bool
	// OnStanding, if set, is told each time that the standing of the whole set
	// was found again. It is called while requests wait.
	OnStanding func(*Standing)
}

// Level is the endpoints of one priority.
type Level struct {
	Priority int
	Set      *Set
	Blind    *Set   // the same, with their health not believed
	Zones    []Zone // sorted by name; nil: all in one
	Local    int    // the zone that is preferred; -1: none is
}

// Zone is the endpoints of a level in one zone.
type Zone struct {
	Name string
	Set  *Set
}

// NewSet is the set of these endpoints with the weights and places they have
// now.
func (l Layout) NewSet(endpoints []*Endpoint) *Set {
	s := l.newPart(endpoints)
	s.divide()
	return s
}

// NewSet is the set of these endpoints with the weights they have now, which do
// not differ in anything else.
func NewSet(endpoints []*Endpoint) *Set { return Layout{}.NewSet(endpoints) }

// Levels are the priorities of the set, the first one first, or nil when there
// is nothing to decide between: one level, one zone, and health is believed.
func (s *Set) Levels() []Level { return s.levels }

// divide makes the levels.
func (s *Set) divide() {
	places := make([]*Place, len(s.picked))
	differ := s.layout.PanicBelow > 0
	for i, e := range s.picked {
		places[i] = e.place.Load()
		differ = differ || places[i].Priority != places[0].Priority || places[i].Zone != places[0].Zone
	}
	if !differ || len(s.picked) == 0 {
		return
	}
	for _, members := range group(s.picked, func(e *Endpoint) int { return e.place.Load().Priority }) {
		level := Level{Priority: members[0].place.Load().Priority, Set: s, Local: -1}
		if len(members) < len(s.picked) {
			level.Set = s.layout.newPart(members)
		}
		if s.layout.PanicBelow > 0 {
			level.Blind = s.layout.newPart(members)
			level.Blind.blind = true
		}
		level.divide(&s.layout, members)
		s.levels = append(s.levels, level)
	}
}

func (l *Level) divide(layout *Layout, members []*Endpoint) {
	zones := group(members, (*Endpoint).Zone)
	if len(zones) < 2 {
		return
	}
	for i, zone := range zones {
		name := zone[0].Zone()
		if name != "" && name == layout.Zone {
			l.Local = i
		}
		l.Zones = append(l.Zones, Zone{Name: name, Set: layout.newPart(zone)})
	}
}

// group sorts endpoints by key into lists, each in the order that it had.
func group[K cmp.Ordered](endpoints []*Endpoint, key func(*Endpoint) K) [][]*Endpoint {
	by := map[K][]*Endpoint{}
	var keys []K
	for _, e := range endpoints {
		k := key(e)
		if by[k] == nil {
			keys = append(keys, k)
		}
		by[k] = append(by[k], e)
	}
	slices.Sort(keys)
	groups := make([][]*Endpoint, len(keys))
	for i, k := range keys {
		groups[i] = by[k]
	}
	return groups
}

// Parts calls f for each set that picks from s look at, to make it ready: those
// of the levels, or s itself when there are none.
func (s *Set) Parts(f func(part *Set)) {
	if s.levels == nil {
		f(s)
	}
	for i := range s.levels {
		l := &s.levels[i]
		f(l.Set)
		if l.Blind != nil {
			f(l.Blind)
		}
		for j := range l.Zones {
			f(l.Zones[j].Set)
		}
	}
}
