package balance

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
)

// Stats counts what a balancer does out of the ordinary.
type Stats struct {
	Spilled  atomic.Int64 // keys that went on because their endpoint had too much under way
	Failover atomic.Int64 // picks of a level that is not the first
	OffZone  atomic.Int64 // picks outside of the local zone, where there is one
	Panicked atomic.Int64 // picks whatever the health, because too little of a level was fit
}

// layered decides which part of a set serves a request, by priority, zone and
// health, and has base pick there. What it finds out about the set holds until
// the health of an endpoint changes, so that it costs a pick two draws and no
// look at the endpoints.
type layered struct {
	base  Picker
	stats *Stats
	// inOrder takes the first level in which an endpoint is fit, and knows no
	// zones: balance first.
	inOrder bool
}

// Prepare makes everything that base needs of a set before requests come.
func (l *layered) Prepare(set *endpoint.Set) {
	if p, ok := l.base.(interface{ Prepare(*endpoint.Set) }); ok {
		set.Parts(p.Prepare)
	}
}

// request is what a pick goes by.
type request struct {
	set   *endpoint.Set
	now   time.Time
	tried []*endpoint.Endpoint
	key   uint64
}

// Pick implements Picker.
func (l *layered) Pick(set *endpoint.Set, now time.Time, tried []*endpoint.Endpoint, key uint64) (*endpoint.Endpoint, bool) {
	levels := set.Levels()
	if levels == nil {
		return l.base.Pick(set, now, tried, key)
	}
	st := set.Standing(now)
	point := mix(key)
	if key == 0 {
		point = rand.Uint64()
	}
	i := l.level(st, uint32(point>>32))
	r := request{set, now, tried, key}
	if ep := l.within(&levels[i], &st.Levels[i], r, uint32(point)); ep != nil {
		l.count(i, &levels[i], ep)
		return ep, false
	}
	return l.anywhere(levels, st, r)
}

func (l *layered) level(st *endpoint.Standing, point uint32) int {
	if !l.inOrder {
		return st.Draw(point)
	}
	return max(slices.IndexFunc(st.Levels, func(s endpoint.LevelStanding) bool { return s.Fit > 0 || s.Panic }), 0)
}

// within picks in a level, an endpoint that may be picked and was not tried.
func (l *layered) within(level *endpoint.Level, st *endpoint.LevelStanding, r request, point uint32) *endpoint.Endpoint {
	switch {
	case st.Panic:
		l.stats.Panicked.Add(1)
		return l.untried(level.Blind, r)
	case l.inOrder || level.Zones == nil:
	case len(r.tried) > 0:
		if ep := l.otherZone(level, r); ep != nil {
			return ep
		}
	case st.Zones != nil:
		if ep := l.untried(level.Zones[st.DrawZone(point)].Set, r); ep != nil {
			return ep
		}
	}
	return l.untried(level.Set, r)
}

// otherZone picks in a zone in which the request was not tried yet: what is wrong
// with an endpoint is often wrong with all of its zone.
func (l *layered) otherZone(level *endpoint.Level, r request) *endpoint.Endpoint {
	n := len(level.Zones)
	from := int(mix(r.key+uint64(len(r.tried))) % uint64(n))
	if r.key == 0 {
		from = rand.IntN(n)
	}
	for k := range n {
		zone := &level.Zones[(from+k)%n]
		if slices.ContainsFunc(r.tried, func(e *endpoint.Endpoint) bool { return e.Zone() == zone.Name }) {
			continue
		}
		if ep := l.untried(zone.Set, r); ep != nil {
			return ep
		}
	}
	return nil
}

// untried is what base picks, if it is neither ejected nor tried, and has room.
func (l *layered) untried(set *endpoint.Set, r request) *endpoint.Endpoint {
	ep, open := l.base.Pick(set, r.now, r.tried, r.key)
	if open || ep != nil && (slices.Contains(r.tried, ep) || !ep.HasRoom()) {
		return nil
	}
	return ep
}

// anywhere picks when the level that was drawn has nothing good: an untried
// endpoint of another level, a tried one, a full one, and at last an ejected one, in
// the order of the levels.
func (l *layered) anywhere(levels []endpoint.Level, st *endpoint.Standing, r request) (*endpoint.Endpoint, bool) {
	for i := range levels {
		if ep := l.within(&levels[i], &st.Levels[i], r, rand.Uint32()); ep != nil {
			l.count(i, &levels[i], ep)
			return ep, false
		}
	}
	var last, full *endpoint.Endpoint
	for i := range levels {
		ep, open := l.base.Pick(levels[i].Set, r.now, r.tried, r.key)
		if ep != nil && !open && ep.HasRoom() {
			return ep, false
		}
		if ep != nil && !open {
			full = cmp.Or(full, ep)
			continue
		}
		if ep != nil && (last == nil || slices.Contains(r.tried, last) && !slices.Contains(r.tried, ep)) {
			last = ep
		}
	}
	if full != nil {
		return full, false
	}
	return last, last != nil
}

func (l *layered) count(i int, level *endpoint.Level, ep *endpoint.Endpoint) {
	if i > 0 {
		l.stats.Failover.Add(1)
	}
	if level.Local >= 0 && ep.Zone() != level.Zones[level.Local].Name {
		l.stats.OffZone.Add(1)
	}
}

// observing is a balancer that learns from attempts.
type observing struct {
	layered
	PeakEWMA
}

// Pick implements Picker.
func (o *observing) Pick(set *endpoint.Set, now time.Time, tried []*endpoint.Endpoint, key uint64) (*endpoint.Endpoint, bool) {
	return o.layered.Pick(set, now, tried, key)
}

// First picks the first endpoint in the order of the document that may be picked
// and was not tried.
type First struct{}

// Pick implements Picker.
func (First) Pick(set *endpoint.Set, now time.Time, tried []*endpoint.Endpoint, _ uint64) (*endpoint.Endpoint, bool) {
	i, open := scan(set, now, tried, 0, set.Len())
	if i < 0 {
		return nil, false
	}
	return set.At(i), open
}
