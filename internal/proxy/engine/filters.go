package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/internal/proxy/cluster"
	"github.com/weirproxy/weir/internal/proxy/record"
	"github.com/weirproxy/weir/stream"
)

// lodging is what the filters of all routes keep over generations.
type lodging struct {
	mu       sync.Mutex
	counters map[counterKey]*filterCounter
	kept     map[keptKey]any
}

type counterKey struct {
	route, name string
	labels      string // as they are shown
}

type filterCounter struct {
	filter.Counter
	family family
	labels []string
}

type keptKey struct{ route, filter, key string }

// tenancy is what the filters of one service have of the house.
type tenancy struct {
	engine    *Engine
	route     stream.Label
	upstreams map[string]*upstream
	ctx       context.Context
	end       context.CancelFunc

	// Written while the service is built, then read only.
	keeps  []keptKey
	gauges []filterGauge
	verbs  map[string]map[string]operation // by filter and verb
	views  map[string]func() any           // by filter
}

type operation func(ctx context.Context, input []byte) (any, error)

type filterGauge struct {
	family family
	read   func() float64
	labels []string
}

func (e *Engine) newTenancy(route stream.Label, g *generation) *tenancy {
	t := &tenancy{engine: e, route: route, upstreams: g.upstreams, verbs: map[string]map[string]operation{}, views: map[string]func() any{}}
	t.ctx, t.end = context.WithCancel(e.ctx)
	return t
}

// env is what the filter of that name may use.
func (t *tenancy) env(name string) filter.Env {
	e := t.engine
	return filter.Env{
		Route: t.route, Context: t.ctx, Go: e.spawn, Log: e.log.With("route", t.route.Name, "filter", name),
		Cluster: t.cluster, Line: e.recorder.Line,
		Counter: func(metric, help string, labels ...string) *filter.Counter {
			return e.lodging.counter(t.route.Name, counter(metric, help), labels)
		},
		Gauge: func(metric, help string, read func() float64, labels ...string) {
			t.gauges = append(t.gauges, filterGauge{gauge(metric, help), read, t.labels(labels)})
		},
		Keep:  func(key string, build func() any) any { return t.keep(keptKey{t.route.Name, name, key}, build) },
		Share: func(key string, build func() any) any { return t.keep(keptKey{"", name, key}, build) }, // no route has no name
		Operate: func(verb string, run func(context.Context, []byte) (any, error)) {
			if t.verbs[name] == nil {
				t.verbs[name] = map[string]operation{}
			}
			t.verbs[name][verb] = run
		},
		Show: func(view func() any) { t.views[name] = view },
	}
}

func (t *tenancy) keep(place keptKey, build func() any) any {
	t.keeps = append(t.keeps, place)
	return t.engine.lodging.keep(place, build)
}

func (t *tenancy) labels(own []string) []string {
	return append([]string{"route", t.route.Name}, own...)
}

// cluster is one attempt at a cluster that compile has found.
func (t *tenancy) cluster(name string, timeout time.Duration) stream.Service {
	u := t.upstreams[name]
	if u == nil {
		return stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
			_ = req.Body.Close()
			return nil, stream.Faultf(stream.NoCluster, stream.RetryNever, "the filter did not say that it uses cluster %q", name)
		})
	}
	return u.cluster.ForRoute(cluster.Policy{Timeout: timeout, Retry: config.Retry{Attempts: 1}})
}

func (l *lodging) counter(route string, f family, own []string) *filter.Counter {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := counterKey{route, f.name, fmt.Sprintf("%q", own)}
	c := l.counters[key]
	if c == nil {
		if l.counters == nil {
			l.counters = map[counterKey]*filterCounter{}
		}
		c = &filterCounter{family: f, labels: append([]string{"route", route}, own...)}
		l.counters[key] = c
	}
	return &c.Counter
}

func (l *lodging) keep(place keptKey, build func() any) any {
	l.mu.Lock()
	defer l.mu.Unlock()
	value, ok := l.kept[place]
	if !ok {
		if l.kept == nil {
			l.kept = map[keptKey]any{}
		}
		value = build()
		l.kept[place] = value
	}
	return value
}

// retain forgets what no filter of g asks for.
func (l *lodging) retain(g *generation) {
	asked := map[keptKey]bool{}
	for _, svc := range g.services {
		for _, place := range svc.tenancy.keeps {
			asked[place] = true
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for place, value := range l.kept {
		if asked[place] {
			continue
		}
		delete(l.kept, place)
		if c, ok := value.(io.Closer); ok {
			if err := c.Close(); err != nil {
				slog.Debug("what a filter kept was not closed well", "route", place.route, "filter", place.filter, "err", err)
			}
		}
	}
	for key := range l.counters {
		if g.services[key.route] == nil {
			delete(l.counters, key)
		}
	}
}

// filterSamples are the numbers of all filters.
func (e *Engine) filterSamples(emit func(record.Sample)) {
	e.lodging.mu.Lock()
	counters := make([]*filterCounter, 0, len(e.lodging.counters))
	for _, c := range e.lodging.counters {
		counters = append(counters, c)
	}
	e.lodging.mu.Unlock()
	for _, c := range counters {
		c.family.sample(emit, float64(c.Value()), c.labels...)
	}
	g := e.running.Load()
	if g == nil {
		return
	}
	for _, svc := range g.services {
		for _, x := range svc.tenancy.gauges {
			x.family.sample(emit, x.read(), x.labels...)
		}
	}
}

// viewFilter is what the filter of that name shows, by route; nil when no route
// has one that does.
func (e *Engine) viewFilter(name string) any {
	g := e.running.Load()
	if g == nil {
		return nil
	}
	shown := map[string]any{}
	for route, svc := range g.services {
		if view := svc.tenancy.views[name]; view != nil {
			shown[route] = view()
		}
	}
	if len(shown) == 0 {
		return nil
	}
	return shown
}

// operateFilter does what an operator asks of a filter, on one route or, with
// route "", on all that have it.
func (e *Engine) operateFilter(ctx context.Context, name, verb, route string, input []byte) (any, error) {
	g := e.running.Load()
	if g == nil {
		return nil, errors.New("no generation serves yet")
	}
	done, known := map[string]any{}, []string{}
	for at, svc := range g.services {
		verbs := svc.tenancy.verbs[name]
		for v := range verbs {
			known = append(known, v)
		}
		run := verbs[verb]
		if run == nil || route != "" && at != route {
			continue
		}
		result, err := run(ctx, input)
		if err != nil {
			return nil, fmt.Errorf("route %s: %w", at, err)
		}
		done[at] = result
	}
	if len(done) == 0 {
		slices.Sort(known)
		return nil, fmt.Errorf("no filter %s takes %q on route %q; verbs are %q", name, verb, route, slices.Compact(known))
	}
	return done, nil
}
