package filtertest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/stream"
)

// House is what a filter under test lives in: its Env, and what it left there.
type House struct {
	// Clusters serve what the filter sends to clusters, by name.
	Clusters map[string]stream.Service

	mu       sync.Mutex
	counters map[string]*filter.Counter
	gauges   map[string]func() float64
	kept     map[string]any
	verbs    map[string]func(context.Context, []byte) (any, error)
	view     func() any
	lines    []*stream.Request
}

// Lines are the requests for which the filter wrote lines of the access log.
func (h *House) Lines() []*stream.Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.lines)
}

// Env is the Env of a route named test until the test ends. Environments of one
// house are generations of one route.
func (h *House) Env(t testing.TB) filter.Env {
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		work.Wait()
	})
	return filter.Env{
		Route: stream.Label{Name: "test"}, Context: ctx, Go: func(f func()) { work.Go(f) }, Log: slog.New(slog.DiscardHandler),
		Cluster: h.cluster, Counter: h.counter, Gauge: h.gauge, Keep: h.keep,
		Share: func(key string, build func() any) any { return h.keep("shared "+key, build) },
		Line: func(req *stream.Request) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.lines = append(h.lines, req)
		},
		Operate: func(verb string, run func(context.Context, []byte) (any, error)) {
			h.mu.Lock()
			defer h.mu.Unlock()
			put(&h.verbs, verb, run)
		},
		Show: func(view func() any) { h.view = view },
	}
}

func put[V any](m *map[string]V, key string, value V) {
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[key] = value
}

func (h *House) cluster(name string, _ time.Duration) stream.Service {
	if s := h.Clusters[name]; s != nil {
		return s
	}
	return stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		_ = req.Body.Close()
		return nil, stream.Faultf(stream.NoCluster, stream.RetryNever, "the test has no cluster %q", name)
	})
}

// series is name{label="value",...}, as /metrics shows it without the route.
func series(name string, labels []string) string {
	if len(labels) == 0 {
		return name
	}
	var pairs []string
	for i := 0; i+1 < len(labels); i += 2 {
		pairs = append(pairs, fmt.Sprintf("%s=%q", labels[i], labels[i+1]))
	}
	return name + "{" + strings.Join(pairs, ",") + "}"
}

func (h *House) counter(name, _ string, labels ...string) *filter.Counter {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := series(name, labels)
	if h.counters[key] == nil {
		put(&h.counters, key, new(filter.Counter))
	}
	return h.counters[key]
}

func (h *House) gauge(name, _ string, read func() float64, labels ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	put(&h.gauges, series(name, labels), read)
}

func (h *House) keep(key string, build func() any) any {
	h.mu.Lock()
	defer h.mu.Unlock()
	value, ok := h.kept[key]
	if !ok {
		value = build()
		put(&h.kept, key, value)
	}
	return value
}

// Counted is the value of a counter, written as name{label="value"}; -1 when
// there is none.
func (h *House) Counted(series string) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.counters[series]; c != nil {
		return c.Value()
	}
	return -1
}

// Gauged is the value of a gauge, written as name{label="value"}.
func (h *House) Gauged(series string) (value float64, ok bool) {
	h.mu.Lock()
	read := h.gauges[series]
	h.mu.Unlock()
	if read == nil {
		return 0, false
	}
	return read(), true
}

// Operate does what an operator would, with input as JSON.
func (h *House) Operate(ctx context.Context, verb string, input any) (any, error) {
	h.mu.Lock()
	run := h.verbs[verb]
	h.mu.Unlock()
	if run == nil {
		return nil, fmt.Errorf("the filter has no verb %q", verb)
	}
	text, err := json.Marshal(input)
	if err != nil {
		return nil, err
	}
	return run(ctx, text)
}

// Shown is what the filter shows of itself.
func (h *House) Shown() any {
	if h.view == nil {
		return nil
	}
	return h.view()
}
