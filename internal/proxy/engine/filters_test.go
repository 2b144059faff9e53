package engine_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/internal/control/compile"
	"github.com/weirproxy/weir/internal/proxy/engine"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

// lodger is a filter that uses everything that the house has.
type lodger struct {
	Cluster string `yaml:"cluster" json:"cluster"`
	Key     string `yaml:"key" json:"key"`
}

type kept struct{ closed chan struct{} }

func (k *kept) Close() error { close(k.closed); return nil }

// lodgers makes the definition; what it keeps and the contexts of its
// generations come out of the channels.
func lodgers(keeps chan *kept, contexts chan context.Context) filter.Definition {
	return filter.Define(filter.Spec[lodger]{
		Name: "lodger", Status: filter.Stable, Trust: filter.HostileBoth,
		Default:  func() lodger { return lodger{} },
		Check:    func(*lodger, *config.Report) {},
		Clusters: func(s *lodger) []filter.Reference { return []filter.Reference{{At: "cluster", Cluster: s.Cluster}} },
		Build: func(s lodger, env filter.Env, next stream.Service) (stream.Service, error) {
			side := env.Cluster(s.Cluster, time.Second)
			seen := env.Counter("weir_lodger_requests_total", "Requests.", "kind", "any")
			env.Gauge("weir_lodger_size", "Size.", func() float64 { return 7 })
			k := env.Keep(s.Key, func() any { k := &kept{closed: make(chan struct{})}; keeps <- k; return k })
			env.Operate("sing", func(_ context.Context, input []byte) (any, error) { return "la " + string(input), nil })
			env.Show(func() any { return fmt.Sprintf("%T", k) })
			contexts <- env.Context
			return stream.ServiceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
				seen.Add(1)
				return side.Serve(ctx, req)
			}), nil
		},
	})
}

func lodgerDocument(admin, key, body, one, two string) string {
	return fmt.Sprintf(`
admin: {address: %q}
access_log: {to: "off"}
listeners: [{name: front, address: "127.0.0.1:0"}]
routes: [{name: r, filters: [{lodger: {cluster: two, key: %q}}], match: {methods: [%s]}, to: [{cluster: one}]}]
clusters:
  - {name: one, endpoints: [%q]}
  - {name: two, endpoints: [%q]}
`, admin, key, body, one, two)
}

// TestFilterEnv: a filter sends to a cluster of its own, counts, keeps state over
// generations until nobody asks for it, and serves operators.
func TestFilterEnv(t *testing.T) {
	keeps, contexts := make(chan *kept, 8), make(chan context.Context, 8)
	registry := filter.NewRegistry(lodgers(keeps, contexts))
	admin := freePort(t)
	two := strings.Replace(hundred, "0123456789", "from two!!", 1)
	one, other := canned(t, hundred), canned(t, two)
	compiled := func(previous *snapshot.Snapshot, key, methods string) *snapshot.Snapshot {
		t.Helper()
		doc, problems := config.Parse("test.yaml", []byte(lodgerDocument(admin, key, methods, one, other)))
		if doc == nil {
			t.Fatal(problems)
		}
		s, problems := compile.Compile(compile.Inputs{Documents: []*config.Document{doc}, Problems: problems, Filters: registry, Previous: previous, Now: time.Now()})
		if problems.Errors() > 0 || len(problems) > 0 {
			t.Fatal(problems)
		}
		return s
	}
	e := engine.New(engine.Config{Version: "test", Filters: registry, Log: slog.New(slog.DiscardHandler)})
	ended := false
	end := func() {
		if !ended {
			ended = true
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			e.Shutdown(ctx)
		}
	}
	t.Cleanup(end)
	apply := func(s *snapshot.Snapshot) context.Context {
		t.Helper()
		if err := e.Apply(s); err != nil {
			t.Fatal(err)
		}
		return <-contexts
	}
	ask := func(want string) {
		t.Helper()
		if nc, body := answerAt(t, nil, e.Addresses()["front"]); body != want {
			t.Errorf("%q, want %q", body, want)
		} else {
			nc.Close()
		}
	}
	page := func(method, path string) string {
		t.Helper()
		req, _ := http.NewRequest(method, "http://"+admin+path, strings.NewReader(`"la"`))
		req.Header.Set("Content-Type", "application/json")
		req.Close = true
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		content, _ := io.ReadAll(resp.Body)
		return string(content)
	}

	s := compiled(nil, "a", "GET")
	first := apply(s)
	ask("from two!!")
	state := <-keeps
	s = compiled(s, "a", "GET, POST")
	second := apply(s)
	ask("from two!!")
	if first.Err() == nil || second.Err() != nil {
		t.Error("the context of a generation does not end with it")
	}
	if got := page("GET", "/metrics"); !strings.Contains(got, `weir_lodger_requests_total{kind="any",route="r"} 2`) || !strings.Contains(got, `weir_lodger_size{route="r"} 7`) {
		t.Errorf("metrics lack the filter's:\n%s", got)
	}
	if got := page("GET", "/filters/lodger"); !strings.Contains(got, "*engine_test.kept") {
		t.Errorf("shown: %s", got)
	}
	if got := page("POST", "/filters/lodger/sing?route=r"); !strings.Contains(got, `la \"la\"`) {
		t.Errorf("operated: %s", got)
	}
	select {
	case <-keeps:
		t.Error("what the filter keeps was made twice")
	case <-state.closed:
		t.Error("what the filter keeps was closed")
	default:
	}
	apply(compiled(s, "b", "GET"))
	<-state.closed
	last := <-keeps
	end()
	<-last.closed
}

// TestFiltersOfOneKind: the second filter of a kind on a route has series, a place
// on the admin page and a name for operators of its own.
func TestFiltersOfOneKind(t *testing.T) {
	type settings struct {
		Size int `yaml:"size" json:"size"`
	}
	registry := filter.NewRegistry(filter.Define(filter.Spec[settings]{
		Name: "twin", Status: filter.Stable, Trust: filter.HostileBoth,
		Default: func() settings { return settings{} },
		Check:   func(*settings, *config.Report) {},
		Build: func(s settings, env filter.Env, next stream.Service) (stream.Service, error) {
			env.Counter("weir_twin_built_total", "Built.").Add(int64(s.Size))
			env.Gauge("weir_twin_size", "Size.", func() float64 { return float64(s.Size) })
			env.Operate("double", func(context.Context, []byte) (any, error) { return 2 * s.Size, nil })
			env.Show(func() any { return s.Size })
			return next, nil
		},
	}))
	admin := freePort(t)
	doc, problems := config.Parse("test.yaml", fmt.Appendf(nil, `
admin: {address: %q}
access_log: {to: "off"}
listeners: [{name: front, address: "127.0.0.1:0"}]
routes: [{name: r, filters: [{twin: {size: 3}}, {twin: {size: 5}}], respond: {status: 204}}]
`, admin))
	compiled, problems := compile.Compile(compile.Inputs{Documents: []*config.Document{doc}, Problems: problems, Filters: registry, Now: time.Now()})
	if problems.Errors() > 0 {
		t.Fatal(problems)
	}
	e := engine.New(engine.Config{Version: "test", Filters: registry, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { e.Shutdown(t.Context()) })
	if err := e.Apply(compiled); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ method, path, want string }{
		{"GET", "/metrics", `weir_twin_size{route="r"} 3`},
		{"GET", "/metrics", `weir_twin_size{filter="twin#2",route="r"} 5`},
		{"GET", "/metrics", `weir_twin_built_total{route="r"} 3`},
		{"GET", "/metrics", `weir_twin_built_total{filter="twin#2",route="r"} 5`},
		{"GET", "/filters/twin", `{"r":3,"r#2":5}`},
		{"POST", "/filters/twin/double", `{"r":6,"r#2":10}`},
		{"POST", "/filters/twin/double?route=r", `{"r":6,"r#2":10}`},
		{"POST", "/filters/twin/double?route=r%232", `{"r#2":10}`},
		{"GET", "/routes", `["twin","twin#2"]`},
	} {
		req, _ := http.NewRequestWithContext(t.Context(), c.method, "http://"+admin+c.path, strings.NewReader("null"))
		req.Header.Set("Content-Type", "application/json")
		req.Close = true
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		content, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if got := strings.Join(strings.Fields(string(content)), ""); !strings.Contains(got, strings.Join(strings.Fields(c.want), "")) {
			t.Errorf("%s %s: %s, want %s", c.method, c.path, content, c.want)
		}
	}
}
