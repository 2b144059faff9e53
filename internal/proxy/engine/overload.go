package engine

import (
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/collect"
	"github.com/weirproxy/weir/internal/pressure"
	"github.com/weirproxy/weir/internal/proxy/admin"
	"github.com/weirproxy/weir/internal/proxy/record"
	"github.com/weirproxy/weir/internal/redact"
	"github.com/weirproxy/weir/internal/requestkey"
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

// grades counts what was done, where no stage does.
type grades [pressure.NumGrades]atomic.Int64

// newPressure watches what the process uses up. Nothing is done until a document
// says what is too much.
func (e *Engine) newPressure() *pressure.Monitor {
	e.delay = pressure.NewDelay()
	sensors := []pressure.Sensor{
		{Name: "memory", Grades: pressure.All, Read: e.memory.Read},
		pressure.Descriptors(),
		{Name: "connections", Grades: pressure.Connections, Read: func() (float64, float64) {
			return float64(e.openConnections()), float64(e.maxConnections.Load())
		}},
		e.delay.Sensor(),
	}
	cpu := pressure.NewCPU(os.DirFS("/"), runtime.NumCPU())
	return pressure.New(append(sensors, cpu.Sensors()...), e.overloadChanged)
}

func (e *Engine) overloadChanged(c pressure.Change) {
	said := "overload: a grade ends"
	if c.Begins {
		said = "overload: a grade begins"
	}
	e.log.Warn(said, "grade", c.Grade.String(), "because", c.Because.Name, "used", c.Because.Used, "limit", c.Because.Limit)
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
	e.delay.SetLimit(time.Duration(o.MaxDelay))
	e.accounts.SetKey(tenantKey(o.Tenant))
	e.overload = o
	if !o.Enabled {
		e.pressure.Off()
		e.dog.Squeeze(0)
	} else {
		pressure.CollectBefore(limit)
		e.pressure.Set(pressure.Thresholds{
			pressure.Shorten: o.Shorten, pressure.Tighten: o.Tighten, pressure.Shed: o.Shed, pressure.Refuse: o.Refuse, pressure.Reset: o.Reset,
		})
	}
	if !e.looking {
		e.looking = true
		e.spawn(e.look)
	}
}

// look watches until the Engine ends. It wakes more often than it looks, to see
// how late it wakes.
func (e *Engine) look() {
	timer := time.NewTimer(pressure.Tick)
	defer timer.Stop()
	pacer := collect.New()
	for due, ticks := time.Now().Add(pressure.Tick), time.Duration(1); ; ticks++ {
		select {
		case <-timer.C:
		case <-e.ctx.Done():
			return
		}
		e.delay.Late(time.Since(due))
		if ticks%(pressure.Interval/pressure.Tick) == 0 {
			e.pressure.Look()
			e.dog.Squeeze(e.pressure.Squeeze())
			e.accounts.Forget(time.Now())
			e.resetCostly()
			pacer.Adjust()
		}
		due = time.Now().Add(pressure.Tick)
		timer.Reset(pressure.Tick)
	}
}

// maxResets bounds how many exchanges one look resets: what they have kept is
// seen to be free only after a collection.
const maxResets = 16

// resetCostly resets what keeps most in memory for longest, until that is as
// much as there is too much, or a few at least are reset.
func (e *Engine) resetCostly() {
	if !e.pressure.Grades().Has(pressure.Reset) {
		return
	}
	n, bytes := e.dog.Reset(int64(e.pressure.Excess("memory", pressure.Reset)), maxResets)
	if n == 0 {
		return
	}
	e.done[pressure.Reset].Add(int64(n))
	e.resetBytes.Add(bytes)
	e.log.Warn("overload: what kept most in memory is reset", "exchanges", n, "bytes", bytes, "dearest", e.dearest())
}

// dearest is the tenant that costs most.
func (e *Engine) dearest() string {
	for _, t := range e.accounts.Totals(time.Now(), 1) {
		return e.shownTenant(t.Tenant)
	}
	return ""
}

// shownTenant is the name of a tenant for logs and pages, where it may not be
// what nobody is to see.
func (e *Engine) shownTenant(name string) string {
	kind, field, _ := strings.Cut(e.accounts.Key().String(), ":")
	policy := e.recorder.Policy()
	switch {
	case kind == "cookie":
		field = "Cookie"
	case kind == "query" && policy.QueryKey(field):
		return redact.Mark
	}
	return policy.Value(field, name)
}

// mostTenants is how many /overload shows.
const mostTenants = 20

func (e *Engine) viewOverload() admin.Overload {
	view := admin.Overload{Resources: []admin.Resource{}, Done: map[string]int64{}, Tenants: []admin.Tenant{}, Squeeze: e.pressure.Squeeze()}
	for _, r := range e.pressure.Readings() {
		view.Resources = append(view.Resources, admin.Resource{Name: r.Name, Used: r.Used, Limit: r.Limit, Grades: r.Active.Names()})
	}
	for g, n := range e.overloadDone() {
		view.Done[pressure.Grade(g).String()] = n
	}
	for _, t := range e.accounts.Totals(time.Now(), mostTenants) {
		view.Tenants = append(view.Tenants, admin.Tenant{Name: e.shownTenant(t.Tenant), Held: t.Held, Spent: t.Spent})
	}
	return view
}

// tenantKey is the key of a document, which was checked.
func tenantKey(text string) requestkey.Key {
	key, _ := requestkey.Parse(text)
	return key
}

// tight tells whether connections end with their present request, which the
// caller then sees to.
func (e *Engine) tight() bool { return e.does(pressure.Tighten) }

// refusing tells whether new connections are refused, which the caller then
// does.
func (e *Engine) refusing() bool { return e.does(pressure.Refuse) }

func (e *Engine) does(g pressure.Grade) bool {
	if !e.pressure.Grades().Has(g) {
		return false
	}
	e.done[g].Add(1)
	return true
}

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
	overloadGrade = gauge("weir_overload_grade", "1 while something is done about overload, by what is done and the resource that is the reason.")
	overloadDone  = counter("weir_overload_actions_total", "What was done about overload: idle connections closed early, connections ended with a request, requests refused, connections and sessions refused, exchanges reset.")
	overloadBytes = counter("weir_overload_reset_bytes_total", "Bytes that exchanges kept in memory which were reset for it.")
	accountsOpen  = gauge("weir_overload_tenants", "Tenants that something is or was lately kept in memory for.")
	overloadUsed  = gauge("weir_overload_used_ratio", "Share of what the process may use that is in use, by resource.")
)

func (e *Engine) overloadSamples(emit func(record.Sample)) {
	for _, r := range e.pressure.Readings() {
		overloadUsed.sample(emit, r.Share(), "resource", r.Name)
		for g := range pressure.NumGrades {
			if r.Can.Has(g) {
				overloadGrade.sample(emit, truth(r.Active.Has(g)), "grade", g.String(), "resource", r.Name)
			}
		}
	}
	overloadBytes.sample(emit, float64(e.resetBytes.Load()))
	accountsOpen.sample(emit, float64(e.accounts.Len()))
	for g, n := range e.overloadDone() {
		overloadDone.sample(emit, float64(n), "grade", pressure.Grade(g).String())
	}
}

// overloadDone is how often each grade did something.
func (e *Engine) overloadDone() (done [pressure.NumGrades]int64) {
	for g := range done {
		done[g] = e.done[g].Load()
	}
	done[pressure.Shorten] = e.dog.Shortened.Load()
	if g := e.running.Load(); g != nil {
		for _, f := range g.fronts {
			done[pressure.Shed] += f.router.Stats().Shed.Load()
		}
		for _, u := range g.upstreams {
			done[pressure.Shorten] += u.group.Stats.Shortened.Load()
		}
	}
	return done
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
