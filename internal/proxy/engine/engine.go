package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/internal/account"
	"github.com/weirproxy/weir/internal/pressure"
	"github.com/weirproxy/weir/internal/proxy/admin"
	"github.com/weirproxy/weir/internal/proxy/record"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/internal/watchdog"
)

// Config is what an Engine needs of the process.
type Config struct {
	Version string
	Filters filter.Registry
	Log     *slog.Logger
	Control Control
	// Zone is where this process runs, for clusters that prefer a zone and do not
	// name it; "": nobody said.
	Zone string
	// State is the directory of what outlives the process; "": nothing does. No
	// other process has the same.
	State string
}

// Control is what the admin pages ask of the side that makes snapshots. Each
// field may be nil.
type Control struct {
	// Reload reads the documents again, applies what changed and reports.
	Reload func(ctx context.Context) (admin.ReloadResult, error)
	// Explain answers what would become of a request in the running snapshot.
	Explain admin.Explainer
	// Metrics are the counters of the control side.
	Metrics record.Source
}

// Engine is the data plane of one process.
type Engine struct {
	cfg      Config
	log      *slog.Logger
	dog      watchdog.Dog
	recorder *record.Recorder
	dialer   net.Dialer
	connIDs  atomic.Uint64
	panics   atomic.Int64 // in goroutines that serve no connection
	started  time.Time

	// ctx ends with Close: everything that runs in the background hangs on it.
	ctx    context.Context
	cancel context.CancelFunc

	apply     sync.Mutex // one Apply or Shutdown at a time
	running   atomic.Pointer[generation]
	admin     adminPlace
	accessLog config.AccessLog // of the recorder; guarded by apply

	lodging  lodging // what filters keep
	canaries *canaryState
	pressure *pressure.Monitor
	delay    *pressure.Delay
	memory   memorySensor
	done     grades
	accounts *account.Book
	// resetBytes is what exchanges kept that were reset for it.
	resetBytes atomic.Int64
	// maxConnections is that of all listeners together; 0: none.
	maxConnections atomic.Int64
	overload       config.Overload // guarded by apply
	places         places
	looking        bool // guarded by apply

	draining atomic.Bool
	retired  sync.WaitGroup // parts of former generations that still drain
}

// generation is a snapshot that runs.
type generation struct {
	snapshot  *snapshot.Snapshot
	fronts    map[string]*front
	upstreams map[string]*upstream
	services  map[string]*service
	since     time.Time
}

// New makes an Engine that serves nothing yet.
func New(cfg Config) *Engine {
	e := &Engine{cfg: cfg, log: cfg.Log, started: time.Now()}
	e.dialer.SetMultipathTCP(false)
	e.pressure, e.accounts = e.newPressure(), account.NewBook(tenantKey(config.Default[config.Overload]().Tenant))
	e.canaries = newCanaryState(cfg.State, cfg.Log)
	e.ctx, e.cancel = context.WithCancel(context.Background())
	return e
}

// Apply makes s the running generation. What cannot start (an address that is
// taken) keeps what it had while the rest runs; the error is then a
// *snapshot.Partial that names it. The first generation starts whole or not
// at all.
func (e *Engine) Apply(s *snapshot.Snapshot) error {
	e.apply.Lock()
	defer e.apply.Unlock()
	if e.draining.Load() {
		return errors.New("weir is shutting down and takes no new configuration")
	}
	before := e.running.Load()
	if err := e.openState(); err != nil {
		return err
	}
	var failed snapshot.Partial
	if err := e.applyRecorder(s); err != nil {
		failed.Add("access_log", "", config.Pos{}, err)
		if before == nil {
			return &failed
		}
	}
	next := e.build(s, before, &failed)
	if err := e.applyAdmin(s); err != nil {
		failed.Add("admin", "", config.Pos{}, err)
	}
	if before == nil && len(failed.Held) > 0 {
		e.discard(next, nil)
		return &failed
	}
	e.applyOverload(s.Overload)
	next.snapshot = s.With(&failed)
	e.settle(next)
	e.swap(next, before)
	if len(failed.Held) > 0 {
		return &failed
	}
	return nil
}

// build makes the generation for s out of new parts and parts of before. What
// cannot start leaves the part of before in its place, if there is one.
func (e *Engine) build(s *snapshot.Snapshot, before *generation, failed *snapshot.Partial) *generation {
	g := &generation{
		snapshot: s, since: time.Now(),
		fronts: map[string]*front{}, upstreams: map[string]*upstream{}, services: map[string]*service{},
	}
	if before == nil {
		before = &generation{}
	}
	for _, c := range s.Clusters {
		u, err := e.shareUpstream(c, before.upstreams[c.Spec.Name])
		if err != nil {
			failed.Add("cluster", c.Spec.Name, c.Spec.Pos, err)
			u = before.upstreams[c.Spec.Name]
		}
		if u != nil {
			g.upstreams[c.Spec.Name] = u
		}
	}
	for _, r := range s.Routes {
		svc, err := e.shareService(r, g, before.services[r.Spec.Name])
		if err != nil {
			failed.Add("route", r.Spec.Name, r.Spec.Pos, err)
			svc = before.services[r.Spec.Name]
		}
		if svc != nil {
			g.services[r.Spec.Name] = svc
		}
	}
	e.buildFronts(g, before.fronts, failed)
	return g
}

// buildFronts shares the fronts whose address stays, hands over the addresses
// that stay under another name or with another kind of front, and opens the
// rest.
func (e *Engine) buildFronts(g *generation, before map[string]*front, failed *snapshot.Partial) {
	free := map[string]*front{} // by address: what is open and not kept
	for _, f := range before {
		free[f.place()] = f
	}
	var other []*snapshot.Listener
	for _, l := range g.snapshot.Listeners {
		running := before[l.Spec.Name]
		if running == nil || !running.keeps(l) {
			other = append(other, l)
			continue
		}
		if err := running.update(l); err != nil {
			failed.Add("listener", l.Spec.Name, l.Spec.Pos, err)
		}
		delete(free, running.place())
		g.fronts[l.Spec.Name] = running
	}
	var moved []*snapshot.Listener
	for _, l := range other {
		heir := free[placeOf(l)]
		if heir == nil {
			moved = append(moved, l)
			continue
		}
		f, err := e.heirFront(l, heir)
		if err != nil {
			failed.Add("listener", l.Spec.Name, l.Spec.Pos, err)
			continue // the address stays free for its last owner
		}
		delete(free, placeOf(l))
		g.fronts[l.Spec.Name] = f
	}
	for _, l := range moved {
		f, err := e.openFront(l)
		if err != nil {
			failed.Add("listener", l.Spec.Name, l.Spec.At("address"), err)
			continue
		}
		g.fronts[l.Spec.Name] = f
	}
	for _, l := range other {
		if last := before[l.Spec.Name]; g.fronts[l.Spec.Name] == nil && last != nil && free[last.place()] == last {
			g.fronts[l.Spec.Name] = last
		}
	}
}

// swap puts next in the place of before.
func (e *Engine) swap(next, before *generation) {
	for _, f := range next.fronts {
		f.inherit()
		f.route(next)
	}
	e.places.database.Store(next.snapshot.Places) // before a table that asks for places
	e.running.Store(next)
	for _, f := range next.fronts {
		f.serve()
	}
	e.retain(next)
	e.lodging.retain(next)
	e.canaries.retain(next)
	if before != nil {
		e.discard(before, next)
	}
}

// retain lets the recorder forget labels of routes and clusters that are gone.
func (e *Engine) retain(g *generation) {
	routes, clusters := make([]string, 0, len(g.services)), make([]string, 0, len(g.upstreams))
	for name := range g.services {
		routes = append(routes, name)
	}
	for name := range g.upstreams {
		clusters = append(clusters, name)
	}
	e.recorder.Retain(routes, clusters)
}

// discard ends the parts of g that kept (nil: nothing) does not share: fronts
// drain, and then the upstreams that their connections may still use close.
func (e *Engine) discard(g, kept *generation) {
	grace := time.Duration(g.snapshot.Drain.Grace)
	for name, svc := range g.services {
		if kept == nil || kept.services[name] != svc {
			svc.tenancy.end()
		}
	}
	var fronts []*front
	for name, f := range g.fronts {
		if kept == nil || kept.fronts[name] != f {
			fronts = append(fronts, f)
			f.stop(drainSpread(grace))
		}
	}
	var upstreams []*upstream
	for name, u := range g.upstreams {
		if kept == nil || kept.upstreams[name] != u {
			upstreams = append(upstreams, u)
			u.retire()
		}
	}
	if len(fronts)+len(upstreams) == 0 {
		return
	}
	e.retired.Go(func() {
		ctx, cancel := context.WithTimeout(e.ctx, grace)
		defer cancel()
		for _, f := range fronts {
			f.wait(ctx)
		}
		for _, u := range upstreams {
			u.close(ctx)
		}
	})
}

// Shutdown stops accepting, lets what is under way end until ctx does, and
// closes the rest. The Engine is not used again.
func (e *Engine) Shutdown(ctx context.Context) {
	e.apply.Lock()
	defer e.apply.Unlock()
	e.draining.Store(true)
	if g := e.running.Load(); g != nil {
		over := drainSpread(time.Duration(g.snapshot.Drain.Grace))
		for _, f := range g.fronts {
			f.stop(over)
		}
		for _, f := range g.fronts {
			f.wait(ctx)
		}
		for _, u := range g.upstreams {
			u.retire()
			u.close(ctx)
		}
	}
	e.cancel()
	e.retired.Wait()
	if e.canaries.stopped != nil {
		<-e.canaries.stopped
	}
	e.lodging.retain(&generation{})
	e.admin.close()
	if e.recorder != nil {
		if err := e.recorder.Close(); err != nil {
			e.log.Error("the last access log lines were not written", "err", err)
		}
	}
}

// Grace is how long Shutdown should be given, by the running documents.
func (e *Engine) Grace() time.Duration {
	if g := e.running.Load(); g != nil {
		return time.Duration(g.snapshot.Drain.Grace)
	}
	return 0
}

// Snapshot is what runs, or nil.
func (e *Engine) Snapshot() *snapshot.Snapshot {
	if g := e.running.Load(); g != nil {
		return g.snapshot
	}
	return nil
}

// Addresses are the bound addresses by listener name.
func (e *Engine) Addresses() map[string]string {
	addresses := map[string]string{}
	if g := e.running.Load(); g != nil {
		for name, f := range g.fronts {
			addresses[name] = f.addr().String()
		}
	}
	return addresses
}

// ReopenLogs opens the file of the access log again (SIGUSR1).
func (e *Engine) ReopenLogs() error {
	if e.recorder == nil {
		return nil
	}
	return e.recorder.Reopen()
}

// spawn starts a goroutine with a recover boundary: a panic ends what the
// goroutine did, is counted and logged, and nothing else.
func (e *Engine) spawn(work func()) {
	go func() {
		defer func() {
			if p := recover(); p != nil {
				e.panics.Add(1)
				e.log.Error("a goroutine panicked; its work was given up", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			}
		}()
		work()
	}()
}

// openState reads what outlives the process, once.
func (e *Engine) openState() error {
	if e.canaries.path == "" || e.canaries.stopped != nil {
		return nil
	}
	if err := e.canaries.open(); err != nil {
		return err
	}
	e.spawn(func() { e.canaries.keep(e.ctx.Done()) })
	return nil
}

func (e *Engine) applyRecorder(s *snapshot.Snapshot) error {
	cfg := record.Config{AccessLog: s.AccessLog, Metrics: s.Metrics, Redact: s.Redact, Log: e.log}
	if e.recorder != nil {
		err := e.recorder.Apply(cfg)
		if err == nil {
			e.accessLog = s.AccessLog
			return nil
		}
		// Redaction and budgets are taken over all the same.
		cfg.AccessLog = e.accessLog
		return errors.Join(err, e.recorder.Apply(cfg))
	}
	recorder, err := record.New(cfg)
	if err != nil {
		return err
	}
	e.recorder, e.accessLog = recorder, s.AccessLog
	e.register()
	return nil
}
