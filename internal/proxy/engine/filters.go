package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strconv"
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
	verbs  map[seat]map[string]operation // by filter and verb
	views  map[seat]func() any           // by filter
}

// seat is a filter of a route: its name, and which one of that name it is.
type seat struct {
	filter string
	number int // 1 is the first
}

// mark tells the filters of one name apart where people see them: nothing for the
// first, so that most routes have none, and "#2" for the second.
func (s seat) mark() string {
	if s.number == 1 {
		return ""
	}
	return "#" + strconv.Itoa(s.number)
}

type operation func(ctx context.Context, input []byte) (any, error)

type filterGauge struct {
	family family
	read   func() float64
	labels []string
}

func (e *Engine) newTenancy(route stream.Label, g *generation) *tenancy {
	t := &tenancy{engine: e, route: route, upstreams: g.upstreams, verbs: map[seat]map[string]operation{}, views: map[seat]func() any{}}
	t.ctx, t.end = context.WithCancel(e.ctx)
	return t
}

// env is what the filter of that name may use, the number of its name.
func (t *tenancy) env(name string, number int) filter.Env {
	e, at := t.engine, seat{name, number}
	return filter.Env{
		Route: t.route, Context: t.ctx, Go: e.spawn, Log: e.log.With("route", t.route.Name, "filter", name+at.mark()),
		Cluster: t.cluster, Line: e.recorder.Line,
		Counter: func(metric, help string, labels ...string) *filter.Counter {
			return e.lodging.counter(t.route.Name, counter(metric, help), at.labels(labels))
		},
		Gauge: func(metric, help string, read func() float64, labels ...string) {
			t.gauges = append(t.gauges, filterGauge{gauge(metric, help), read, t.labels(at.labels(labels))})
		},
		Keep:  func(key string, build func() any) any { return t.keep(keptKey{t.route.Name, name, key}, build) },
		Share: func(key string, build func() any) any { return t.keep(keptKey{"", name, key}, build) }, // no route has no name
		Operate: func(verb string, run func(context.Context, []byte) (any, error)) {
			if t.verbs[at] == nil {
				t.verbs[at] = map[string]operation{}
			}
			t.verbs[at][verb] = run
		},
		Show: func(view func() any) { t.views[at] = view },
	}
}

// labels are those of a number of the filter: with one more when the route has
// another filter of that name in front.
func (s seat) labels(own []string) []string {
	if s.number == 1 {
		return own
	}
	return append(own[:len(own):len(own)], "filter", s.filter+s.mark())
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

// viewFilter is what the filters of that name show, by route, with "#2" behind it
// for the second one of a route; nil when no route has one that does.
func (e *Engine) viewFilter(name string) any {
	g := e.running.Load()
	if g == nil {
		return nil
	}
	shown := map[string]any{}
	for route, svc := range g.services {
		for at, view := range svc.tenancy.views {
			if at.filter == name {
				shown[route+at.mark()] = view()
			}
		}
	}
	if len(shown) == 0 {
		return nil
	}
	return shown
}

// operateFilter does what an operator asks of a filter, on one route ("shop", or
// "shop#2" for the second filter of that name alone) or, with route "", on all that
// have it.
func (e *Engine) operateFilter(ctx context.Context, name, verb, route string, input []byte) (any, error) {
	g := e.running.Load()
	if g == nil {
		return nil, errors.New("no generation serves yet")
	}
	done, known := map[string]any{}, []string{}
	for of, svc := range g.services {
		for at, verbs := range svc.tenancy.verbs {
			if at.filter != name {
				continue
			}
			known = slices.AppendSeq(known, maps.Keys(verbs))
			place, run := of+at.mark(), verbs[verb]
			if run == nil || route != "" && route != of && route != place {
				continue
			}
			result, err := run(ctx, input)
			if err != nil {
				return nil, fmt.Errorf("route %s: %w", place, err)
			}
			done[place] = result
		}
	}
	if len(done) == 0 {
		slices.Sort(known)
		return nil, fmt.Errorf("no filter %s takes %q on route %q; verbs are %q", name, verb, route, slices.Compact(known))
	}
	return done, nil
}
