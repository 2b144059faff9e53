// Package pressure tells how close a process is to the end of what it may use,
// and what is to be done about it, in grades.
package pressure

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Sensor is one thing that can be used up.
type Sensor struct {
	Name string
	// Read is how much is used and how much there is; limit 0: there is no end.
	Read func() (used, limit float64)
	// Grades are those that it can begin.
	Grades Grades
	// At are thresholds of its own, and Slack how far it must fall below them; nil:
	// those of the Monitor.
	At    *Thresholds
	Slack float64
}

// Reading is a sensor at a time.
type Reading struct {
	Name        string
	Used, Limit float64
	Can, Active Grades // what the sensor can begin, and what it has begun
}

// Share is how much of it is used, from 0 on.
func (r Reading) Share() float64 {
	if r.Limit <= 0 {
		return 0
	}
	return r.Used / r.Limit
}

// slack is how far the share must fall below a threshold for the grade to end,
// so that it does not flutter.
const slack = 0.05

// Change is the begin or the end of a grade, and the thing that made it.
type Change struct {
	Grade   Grade
	Begins  bool
	Because Reading
}

// Monitor looks at sensors and keeps what is to be done. Reading that costs a
// load.
type Monitor struct {
	grades  atomic.Uint32
	squeeze atomic.Uint64 // the bits of a float64

	mu         sync.Mutex
	thresholds Thresholds
	sensors    []Sensor
	readings   []Reading
	because    [NumGrades]int // the reading that was the reason of a grade last
	onChange   func(Change)
}

// New makes a Monitor that does nothing. onChange is told of each change; it
// may be nil.
func New(sensors []Sensor, onChange func(Change)) *Monitor {
	m := &Monitor{sensors: sensors, onChange: onChange, thresholds: never()}
	for _, s := range sensors {
		m.readings = append(m.readings, Reading{Name: s.Name, Can: s.Grades})
	}
	return m
}

// never are thresholds that nothing reaches.
func never() (t Thresholds) {
	for g := range t {
		t[g] = math.Inf(1)
	}
	return t
}

// Grades are what is to be done now.
func (m *Monitor) Grades() Grades { return Grades(m.grades.Load()) }

// Squeeze is how much of the time that idle connections have on top of the
// least is taken from them: 0 from where Shorten begins, 1 where Refuse does.
func (m *Monitor) Squeeze() float64 { return math.Float64frombits(m.squeeze.Load()) }

// Set replaces the thresholds.
func (m *Monitor) Set(t Thresholds) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.thresholds = t
}

// Off ends whatever is done, also what sensors begin by thresholds of their own,
// until Set.
func (m *Monitor) Off() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.thresholds = never()
	for i := range m.readings {
		m.readings[i].Active = Nothing
	}
	m.turn()
}

// off tells whether Off was called last. mu is held.
func (m *Monitor) off() bool { return math.IsInf(m.thresholds[Shorten], 1) }

// Look reads all sensors.
func (m *Monitor) Look() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.sensors {
		s, r := &m.sensors[i], &m.readings[i]
		r.Used, r.Limit = s.Read()
		r.Active = m.judge(s, r)
	}
	m.turn()
}

// judge is what a sensor asks for, given what it asked for before.
func (m *Monitor) judge(s *Sensor, r *Reading) (active Grades) {
	if m.off() {
		return Nothing
	}
	at, below := &m.thresholds, slack
	if s.At != nil {
		at, below = s.At, s.Slack
	}
	share := r.Share()
	for g := range NumGrades {
		if !s.Grades.Has(g) {
			continue
		}
		threshold := at[g]
		if r.Active.Has(g) {
			threshold -= below
		}
		active = active.With(g, r.Limit > 0 && share >= threshold)
	}
	return active
}

// turn makes what the readings ask for what is done, and tells of each change.
// mu is held.
func (m *Monitor) turn() {
	var now Grades
	pressed := 0.0
	for i := range m.readings {
		now |= m.readings[i].Active
		if r := &m.readings[i]; r.Active.Has(Shorten) {
			pressed = max(pressed, m.pressed(r.Share()))
		}
	}
	m.squeeze.Store(math.Float64bits(pressed))
	before := Grades(m.grades.Swap(uint32(now)))
	for g := range NumGrades {
		if now.Has(g) {
			m.because[g] = m.most(g)
		}
		if before.Has(g) != now.Has(g) && m.onChange != nil {
			m.onChange(Change{Grade: g, Begins: now.Has(g), Because: m.readings[m.because[g]]})
		}
	}
}

// pressed is the part of the way from Shorten to Refuse.
func (m *Monitor) pressed(share float64) float64 {
	from, to := m.thresholds[Shorten], m.thresholds[Refuse]
	if to <= from {
		return 1
	}
	return min(max((share-from)/(to-from), 0), 1)
}

// most is the reading that is nearest to its end, of those that ask for g.
func (m *Monitor) most(g Grade) (most int) {
	share := -1.0
	for i, r := range m.readings {
		if r.Active.Has(g) && r.Share() > share {
			most, share = i, r.Share()
		}
	}
	return most
}

// Readings are the last ones.
func (m *Monitor) Readings() []Reading {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Reading(nil), m.readings...)
}

// Excess is how much of a thing is used beyond where g ends.
func (m *Monitor) Excess(name string, g Grade) float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, r := range m.readings {
		if r.Name != name {
			continue
		}
		at, below := &m.thresholds, slack
		if s := &m.sensors[i]; s.At != nil {
			at, below = s.At, s.Slack
		}
		return max(r.Used-(at[g]-below)*r.Limit, 0)
	}
	return 0
}

// Interval is the time between two looks, and Tick that between two
// measurements of Delay.
const (
	Interval = 500 * time.Millisecond
	Tick     = Interval / 5
)
