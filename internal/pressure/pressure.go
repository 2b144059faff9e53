// Package pressure tells how close a process is to the end of what it may use,
// and what is to be done about it, in grades: less is kept for later, then the
// least important is refused, then everything new.
package pressure

import (
	"sync"
	"sync/atomic"
	"time"
)

// Level is what is to be done. Each does what the ones before do, too.
type Level uint32

// The levels.
const (
	Calm     Level = iota // nothing
	Tight                 // connections end with the answer to their present request
	Shedding              // what is of low importance is refused
	Refusing              // new connections are refused, and what is not of high importance
	NumLevels
)

func (l Level) String() string {
	return [...]string{"calm", "tight", "shedding", "refusing"}[l]
}

// Sensor is one thing that can be used up.
type Sensor struct {
	Name string
	// Read is how much is used and how much there is; limit 0: there is no end.
	Read func() (used, limit float64)
}

// Reading is a sensor at a time.
type Reading struct {
	Name        string
	Used, Limit float64
}

// Share is how much of it is used, from 0 on.
func (r Reading) Share() float64 {
	if r.Limit <= 0 {
		return 0
	}
	return r.Used / r.Limit
}

// Thresholds are the shares of the most used thing at which a level begins.
type Thresholds [NumLevels]float64

// hysteresis is how far the share must fall below a threshold for the level to
// end, so that it does not flutter.
const hysteresis = 0.05

// Change is a new level and the thing that made it.
type Change struct {
	From, To Level
	Because  Reading
}

// Monitor looks at sensors and keeps the level. Reading the level costs a load.
type Monitor struct {
	level atomic.Uint32

	mu         sync.Mutex
	thresholds Thresholds
	sensors    []Sensor
	readings   []Reading
	onChange   func(Change)
}

// New makes a Monitor that is calm. onChange is told of each change; it may be
// nil.
func New(sensors []Sensor, onChange func(Change)) *Monitor {
	return &Monitor{sensors: sensors, onChange: onChange, thresholds: never}
}

// never are thresholds that nothing reaches.
var never = Thresholds{0, 1e9, 1e9, 1e9}

// Level is what is to be done now.
func (m *Monitor) Level() Level { return Level(m.level.Load()) }

// Set replaces the thresholds.
func (m *Monitor) Set(t Thresholds) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.thresholds = t
}

// Off ends whatever is done.
func (m *Monitor) Off() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.thresholds = never
	m.turn(Calm, Reading{})
}

// Look reads all sensors.
func (m *Monitor) Look() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.readings = m.readings[:0]
	var most Reading
	for _, s := range m.sensors {
		r := Reading{Name: s.Name}
		r.Used, r.Limit = s.Read()
		m.readings = append(m.readings, r)
		if r.Share() > most.Share() || most.Name == "" {
			most = r
		}
	}
	m.turn(m.levelOf(most.Share()), most)
}

// levelOf is the level for a share, given the present one.
func (m *Monitor) levelOf(share float64) Level {
	now, level := m.Level(), Calm
	for l := Tight; l < NumLevels; l++ {
		threshold := m.thresholds[l]
		if now >= l {
			threshold -= hysteresis
		}
		if share >= threshold {
			level = l
		}
	}
	return level
}

func (m *Monitor) turn(to Level, because Reading) {
	from := Level(m.level.Swap(uint32(to)))
	if from != to && m.onChange != nil {
		m.onChange(Change{From: from, To: to, Because: because})
	}
}

// Readings are the last ones.
func (m *Monitor) Readings() []Reading {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Reading(nil), m.readings...)
}

// Interval is the time between two looks.
const Interval = 500 * time.Millisecond
