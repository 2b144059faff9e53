package endpoint

import "time"

// Standing is how the traffic of a set is shared between its levels and zones,
// as far as that depends on health. It holds until the health of an endpoint
// changes; nothing in it changes.
type Standing struct {
	Levels []LevelStanding

	changes uint64 // Load.changes when it was made
}

// LevelStanding is the part of one level.
type LevelStanding struct {
	Priority   int
	Fit, Total uint64  // sums of weights
	FitCount   int     // endpoints
	Share      float64 // of the traffic of the set
	Panic      bool    // health is not believed
	// Zones is the share of each zone in the traffic of the level; nil: the level
	// shares as one.
	Zones []float64
	Local float64 // Zones of the local one
}

// Standing is how the set stands now. It is made again at most once for each
// change of health.
func (s *Set) Standing(now time.Time) *Standing {
	if len(s.picked) == 0 {
		return &Standing{}
	}
	last, changes := s.standing.Load(), s.picked[0].load.changes.Load()
	if last != nil && last.changes == changes {
		return last
	}
	if !s.restanding.TryLock() {
		if last != nil {
			return last // somebody is at it: what held a moment ago will do
		}
		s.restanding.Lock()
	}
	defer s.restanding.Unlock()
	st := s.stand(now)
	st.changes = changes
	s.standing.Store(st)
	if s.layout.OnStanding != nil {
		s.layout.OnStanding(st)
	}
	return st
}

func (s *Set) stand(now time.Time) *Standing {
	st := &Standing{Levels: make([]LevelStanding, len(s.levels))}
	for i := range s.levels {
		l := &s.levels[i]
		ls := &st.Levels[i]
		ls.Priority = l.Priority
		for k, e := range l.Set.picked {
			ls.Total += uint64(l.Set.weights[k])
			if e.Available(now) {
				ls.Fit += uint64(l.Set.weights[k])
				ls.FitCount++
			}
		}
		ls.Panic = float64(ls.Fit) < s.layout.PanicBelow*float64(ls.Total)
		if l.Local >= 0 && ls.FitCount >= s.layout.ZoneLeast && ls.Fit > 0 && !ls.Panic {
			ls.Zones = zoneShares(fitByZone(l, now), l.Local)
			ls.Local = ls.Zones[l.Local]
		}
	}
	shareLevels(st.Levels, s.layout.Overprovision)
	return st
}

func fitByZone(l *Level, now time.Time) []float64 {
	fit := make([]float64, len(l.Zones))
	for i := range l.Zones {
		set := l.Zones[i].Set
		for k, e := range set.picked {
			if e.Available(now) {
				fit[i] += float64(set.weights[k])
			}
		}
	}
	return fit
}

// shareLevels gives each level what it can take (its fit share times the
// overprovisioning) of what the levels before it left over. What all together
// cannot take is shared in the same proportions. A level in panic counts as it
// stands: its traffic goes to all of its endpoints.
func shareLevels(levels []LevelStanding, overprovision float64) {
	if overprovision <= 0 {
		overprovision = 1
	}
	left, taken := 1.0, 0.0
	for i := range levels {
		l := &levels[i]
		if l.Total == 0 {
			continue
		}
		l.Share = min(left, overprovision*float64(l.Fit)/float64(l.Total))
		left -= l.Share
		taken += l.Share
	}
	if taken == 0 {
		if len(levels) > 0 {
			levels[0].Share = 1 // nobody is fit: what is tried all the same is tried in order
		}
		return
	}
	for i := range levels {
		levels[i].Share /= taken
	}
}

// zoneShares is Envoy's zone-aware routing. Each zone sends the same share of
// all traffic, 1/n. While the local zone has that share of what is fit, all
// stays. When it has less, it keeps so much that its endpoints get no more than
// those of the other zones; the rest goes where there is more than the zone
// itself sends, in proportion to the surplus.
func zoneShares(fit []float64, local int) []float64 {
	total := 0.0
	for _, f := range fit {
		total += f
	}
	sent := 1 / float64(len(fit))
	shares := make([]float64, len(fit))
	if shares[local] = min(fit[local]/total/sent, 1); shares[local] == 1 {
		return shares
	}
	surplus := 0.0
	for i, f := range fit {
		if i != local {
			surplus += max(f/total-sent, 0)
		}
	}
	if surplus == 0 { // rounding alone
		shares[local] = 1
		return shares
	}
	for i, f := range fit {
		if i != local {
			shares[i] = (1 - shares[local]) * max(f/total-sent, 0) / surplus
		}
	}
	return shares
}

// Draw is the level that a point of [0,1), in units of 2^-32, lies on.
func (st *Standing) Draw(point uint32) int {
	at := float64(point) / (1 << 32)
	last := 0
	for i := range st.Levels {
		if share := st.Levels[i].Share; share > 0 {
			if at < share {
				return i
			}
			at -= share
			last = i
		}
	}
	return last
}

// DrawZone is the same for a zone of the level. Zones is not nil.
func (l *LevelStanding) DrawZone(point uint32) int {
	at := float64(point) / (1 << 32)
	last := 0
	for i, share := range l.Zones {
		if share > 0 {
			if at < share {
				return i
			}
			at -= share
			last = i
		}
	}
	return last
}
