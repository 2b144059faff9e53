package plane

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/internal/snapshot"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const good = `
listeners: [{name: public, address: ":8080"}]
routes: [{name: all, to: [{cluster: app}]}]
clusters: [{name: app, endpoints: ["10.0.0.1:80"]}]
`

// bench is a Plane over one file, with what it logged.
type bench struct {
	t    *testing.T
	path string
	log  *bytes.Buffer
	*Plane
}

func newBench(t *testing.T, content string) *bench {
	b := &bench{t: t, path: filepath.Join(t.TempDir(), "weir.yaml"), log: &bytes.Buffer{}}
	b.write(content)
	b.Plane = New(Config{
		Paths: []string{b.path}, Filters: filter.NewRegistry(), Env: os.LookupEnv,
		Log: slog.New(slog.NewTextHandler(b.log, nil)), Now: func() time.Time { return time.Unix(1000, 0) },
	})
	return b
}

func (b *bench) write(content string) {
	b.t.Helper()
	if err := os.WriteFile(b.path, []byte(content), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) load() *snapshot.Snapshot {
	b.t.Helper()
	s, problems := b.Load()
	if s == nil {
		b.t.Fatalf("does not load: %v", problems)
	}
	return s
}

func TestLoadRefusesErrors(t *testing.T) {
	b := newBench(t, strings.Replace(good, ":80\"]", "\"]", 1))
	if s, problems := b.Load(); s != nil || problems.Errors() != 1 {
		t.Fatalf("%v, %v", s, problems)
	}
	b.write(good)
	if s := b.load(); s.Number != 1 || b.Stats().Number.Load() != 1 {
		t.Errorf("number %d", s.Number)
	}
	if err := os.Remove(b.path); err != nil {
		t.Fatal(err)
	}
	if s, problems := b.Load(); s != nil || problems.Errors() != 1 || !strings.Contains(problems[0].String(), "weir.yaml: cannot be read: no such file") {
		t.Errorf("without the file: %v", problems)
	}
}

func TestReload(t *testing.T) {
	b := newBench(t, good)
	b.load()
	for _, step := range []struct {
		name, content string
		changed       bool
		number        uint64
		held          int
		errors        int
	}{
		{"the same", good, false, 1, 0, 0},
		{"moved", "# a comment\n" + good, false, 1, 0, 0},
		{"another endpoint", strings.Replace(good, "10.0.0.1", "10.0.0.2", 1), true, 2, 0, 0},
		{"a cluster with an error", strings.Replace(good, "10.0.0.1:80", "10.0.0.1", 1), false, 2, 1, 1},
		{"mended", strings.Replace(good, "10.0.0.1", "10.0.0.2", 1), false, 2, 0, 0},
		{"no YAML", "listeners: [", false, 2, 3, 1},
		{"an empty file", "", false, 2, 3, 1},
		{"back to the first", good, true, 3, 0, 0},
	} {
		b.write(step.content)
		r := b.Reload(step.name)
		if r.Changed != step.changed || r.Snapshot.Number != step.number || len(r.Snapshot.Held) != step.held || r.Problems.Errors() != step.errors || r.Err != nil {
			t.Errorf("%s: changed %t, number %d, held %v, problems %v, error %v", step.name, r.Changed, r.Snapshot.Number, r.Snapshot.Held, r.Problems, r.Err)
		}
		if got := b.Stats().Held.Load(); got != int64(step.held) {
			t.Errorf("%s: held %d in the stats", step.name, got)
		}
	}
	s := b.Stats()
	if s.Applied.Load() != 2 || s.Unchanged.Load() != 3 || s.Failed.Load() != 3 || s.LastSuccess.Load() != 1000e9 {
		t.Errorf("applied %d, unchanged %d, failed %d, last %d", s.Applied.Load(), s.Unchanged.Load(), s.Failed.Load(), s.LastSuccess.Load())
	}
}

func TestReloadOfMissingFileKeepsLast(t *testing.T) {
	b := newBench(t, good)
	first := b.load()
	if err := os.Remove(b.path); err != nil {
		t.Fatal(err)
	}
	r := b.Reload("test")
	if r.Changed || r.Snapshot != first || r.Problems.Errors() != 1 {
		t.Errorf("%+v", r)
	}
}

// TestApply: a snapshot that cannot be applied is no state to build on, and its
// number is not used for another one.
func TestApply(t *testing.T) {
	b := newBench(t, good)
	b.load()
	refuse := errors.New("port taken")
	var applied []uint64
	ctx, cancel := context.WithCancel(t.Context())
	started, done := make(chan struct{}), make(chan struct{})
	var once sync.Once
	b.write(strings.Replace(good, "10.0.0.1", "10.0.0.2", 1)) // between Load and Run: Run must see it
	go func() {
		defer close(done)
		b.Run(ctx, func(s *snapshot.Snapshot) error {
			applied = append(applied, s.Number)
			once.Do(func() { close(started) })
			if s.Number == 3 {
				return refuse
			}
			return nil
		})
	}()
	<-started
	b.write(strings.Replace(good, "10.0.0.1", "10.0.0.3", 1))
	if r := b.Reload("test"); !errors.Is(r.Err, refuse) || r.Changed || r.Snapshot.Number != 2 {
		// The watch may have been first, and then this one is the second try.
		if r.Err != nil || r.Snapshot.Number != 4 {
			t.Errorf("refused: %+v", r)
		}
	}
	if r := b.Reload("again"); r.Err != nil || r.Snapshot.Number != 4 {
		t.Errorf("again: %+v", r)
	}
	cancel()
	<-done
	if len(applied) != 3 || applied[0] != 2 || applied[1] != 3 || applied[2] != 4 {
		t.Errorf("applied %v", applied)
	}
}

// TestReloadBeforeRun: a signal may come between Load and Run; what it loads
// must run all the same.
func TestReloadBeforeRun(t *testing.T) {
	b := newBench(t, good)
	b.load()
	b.write(strings.Replace(good, "10.0.0.1", "10.0.0.2", 1))
	if r := b.Reload("SIGHUP"); r.Snapshot.Number != 2 {
		t.Fatalf("%+v", r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	var applied []uint64
	go func() {
		defer close(done)
		b.Run(ctx, func(s *snapshot.Snapshot) error {
			applied = append(applied, s.Number)
			cancel()
			return nil
		})
	}()
	<-done
	if len(applied) != 1 || applied[0] != 2 {
		t.Errorf("applied %v, want number 2", applied)
	}
}

// TestPartialApply: what cannot start is held, the rest is in use, every load
// tries again, and to take the change back is a change.
func TestPartialApply(t *testing.T) {
	b := newBench(t, good)
	first := b.load()
	taken := true
	var running *snapshot.Snapshot
	b.apply = func(s *snapshot.Snapshot) error {
		running = s
		for _, l := range s.Listeners {
			if taken && l.Spec.Name == "second" {
				var failed snapshot.Partial
				failed.Add("listener", "second", l.Spec.Pos, errors.New("port taken"))
				return &failed
			}
		}
		return nil
	}
	b.write(strings.Replace(good, `":8080"}`, `":8080"}, {name: second, address: ":8081"}`, 1))
	for range 2 { // the second time nothing has changed, and it is tried again all the same
		running = nil
		r := b.Reload("test")
		if r.Err != nil || len(r.Snapshot.Held) != 1 || r.Problems.Errors() != 1 || r.Problems[0].Pos.Line != 2 || running == nil {
			t.Fatalf("%+v, running %v", r, running)
		}
	}
	if n := b.Stats().Number.Load(); n != 2 || b.Stats().Held.Load() != 1 {
		t.Errorf("number %d, held %d", n, b.Stats().Held.Load())
	}
	b.write(good)
	if r := b.Reload("taken back"); !r.Changed || running.Hash != first.Hash || len(r.Snapshot.Held) != 0 {
		t.Errorf("taken back: %+v; running %v", r, running)
	}
	b.write(strings.Replace(good, `":8080"}`, `":8080"}, {name: second, address: ":8081"}`, 1))
	b.Reload("again")
	taken = false
	if r := b.Reload("the port is free"); !r.Changed || len(r.Snapshot.Held) != 0 || b.Stats().Held.Load() != 0 {
		t.Errorf("the port is free: %+v", r)
	}
	running = nil
	if r := b.Reload("nothing"); r.Changed || running != nil {
		t.Errorf("nothing changed: %+v", r)
	}
}

// TestConcurrentReloads: a signal, the admin API and the watch at once.
func TestConcurrentReloads(t *testing.T) {
	b := newBench(t, good)
	b.load()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 10 {
				if r := b.Reload("test"); r.Snapshot == nil {
					t.Error("no snapshot")
				}
			}
		})
	}
	group.Wait()
	if n := b.Stats().Unchanged.Load(); n != 80 {
		t.Errorf("%d reloads", n)
	}
}

// TestProblemsAreLoggedOnce: what Load has shown, and what the last reload has
// said, is not said again.
func TestProblemsAreLoggedOnce(t *testing.T) {
	b := newBench(t, good+"drain: {grace: 0s}\n")
	b.load()
	b.Reload("one")
	if strings.Contains(b.log.String(), "grace") {
		t.Errorf("said again:\n%s", b.log)
	}
	b.write(good + "metrics: {max_series: 9999999}\n")
	b.Reload("two")
	b.Reload("three")
	if n := strings.Count(b.log.String(), "max_series"); n != 1 {
		t.Errorf("said %d times:\n%s", n, b.log)
	}
}

func TestFromDocument(t *testing.T) {
	doc := &config.Document{
		Listeners: []config.Listener{{Name: "public", Address: "127.0.0.1:8080"}},
		Routes:    []config.Route{{Name: "all", To: []config.Target{{Cluster: "app"}}}},
		Clusters:  []config.Cluster{{Name: "app", Endpoints: []config.Endpoint{{Address: "10.0.0.1:80"}}}},
	}
	p := FromDocument(doc, Config{Filters: filter.NewRegistry()})
	s, problems := p.Load()
	if s == nil || len(problems) > 0 {
		t.Fatalf("%v", problems)
	}
	if s.Routes[0].Spec.To[0].Weight != 1 || s.Listeners[0].Spec.Timeouts.Idle == 0 {
		t.Error("defaults are missing")
	}
	if r := p.Reload("test"); r.Changed || len(r.Problems) > 0 {
		t.Errorf("%+v", r)
	}
	if p.current.Hash != s.Hash {
		t.Errorf("current: %v", p.current)
	}
}
