package engine

import (
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/pressure"
	"github.com/weirproxy/weir/internal/proxy/record"
)

// memorySensor is a sensor whose limit a document may change.
type memorySensor struct {
	sensor atomic.Pointer[pressure.Sensor]
}

func (m *memorySensor) set(s pressure.Sensor) { m.sensor.Store(&s) }

// Read reads it; there is no limit before there is a document.
func (m *memorySensor) Read() (used, limit float64) {
	if s := m.sensor.Load(); s != nil {
		return s.Read()
	}
	return 0, 0
}

// newPressure watches what the process uses up. It is calm until a document says
// what is too much.
func (e *Engine) newPressure() *pressure.Monitor {
	return pressure.New([]pressure.Sensor{
		{Name: "memory", Read: func() (float64, float64) { return e.memory.Read() }},
		pressure.Descriptors(),
		{Name: "connections", Read: func() (float64, float64) {
			return float64(e.openConnections()), float64(e.maxConnections.Load())
		}},
	}, func(c pressure.Change) {
		e.log.Warn("overload: what is done changed", "from", c.From.String(), "to", c.To.String(),
			"because", c.Because.Name, "used", c.Because.Used, "limit", c.Because.Limit)
	})
}

// applyOverload takes over what the document says of overload, and begins to
// look with the first one.
func (e *Engine) applyOverload(o config.Overload) {
	if o == e.overload && e.looking {
		return
	}
	limit := float64(o.Memory)
	if limit == 0 {
		limit = pressure.MemoryLimit()
	}
	e.memory.set(pressure.Memory(limit))
	e.maxConnections.Store(int64(o.MaxConnections))
	e.overload = o
	if !o.Enabled {
		e.pressure.Off()
	} else {
		pressure.CollectBefore(limit)
		e.pressure.Set(pressure.Thresholds{pressure.Tight: o.Tighten, pressure.Shedding: o.Shed, pressure.Refusing: o.Refuse})
	}
	if !e.looking {
		e.looking = true
		e.spawn(e.look)
	}
}

// look watches until the Engine ends.
func (e *Engine) look() {
	tick := time.NewTicker(pressure.Interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			e.pressure.Look()
		case <-e.ctx.Done():
			return
		}
	}
}

// tight tells whether connections end with their present request.
func (e *Engine) tight() bool { return e.pressure.Level() >= pressure.Tight }

// refusing tells whether new connections are refused.
func (e *Engine) refusing() bool { return e.pressure.Level() >= pressure.Refusing }

// openConnections is those of all listeners, UDP sessions included.
func (e *Engine) openConnections() (open int64) {
	g := e.running.Load()
	if g == nil {
		return 0
	}
	for _, f := range g.fronts {
		if f.ln != nil {
			open += f.ln.Stats.Open.Load()
		}
		if d := f.packets(); d != nil {
			open += d.open()
		}
	}
	return open
}

var (
	overloadLevel = gauge("weir_overload_level", "1 for what is done about overload now: calm, tight, shedding or refusing.")
	overloadUsed  = gauge("weir_overload_used_ratio", "Share of what the process may use that is in use, by resource.")
)

func (e *Engine) overloadSamples(emit func(record.Sample)) {
	now := e.pressure.Level()
	for level := range pressure.NumLevels {
		value := 0.0
		if level == now {
			value = 1
		}
		overloadLevel.sample(emit, value, "level", level.String())
	}
	for _, r := range e.pressure.Readings() {
		overloadUsed.sample(emit, r.Share(), "resource", r.Name)
	}
}
