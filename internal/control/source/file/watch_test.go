package file

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

func TestBurst(t *testing.T) {
	start := time.Unix(0, 0)
	for _, c := range []struct {
		name   string
		events []time.Duration
		want   time.Duration // when the change is looked at
	}{
		{"one", []time.Duration{0}, quiet},
		{"two apart", []time.Duration{0, 50 * time.Millisecond}, 50*time.Millisecond + quiet},
		{"without pause", every(20*time.Millisecond, 3*time.Second), longest},
	} {
		var b burst
		due := time.Duration(1 << 62)
		for _, at := range c.events {
			if at >= due {
				break
			}
			due = at + b.event(start.Add(at))
		}
		if due != c.want {
			t.Errorf("%s: due at %v, want %v", c.name, due, c.want)
		}
		b.end()
		if wait := b.event(start.Add(time.Hour)); wait != quiet {
			t.Errorf("%s: the next burst waits %v", c.name, wait)
		}
	}
}

func every(step, until time.Duration) (list []time.Duration) {
	for at := time.Duration(0); at < until; at += step {
		list = append(list, at)
	}
	return list
}

// watch runs a Watcher and returns a function that waits for the next call of
// changed, or for none.
func watch(t *testing.T, paths []string, also func() []string) (next func()) {
	t.Helper()
	if also == nil {
		also = func() []string { return nil }
	}
	calls := make(chan struct{}, 100)
	w := NewWatcher(paths, also, func() { calls <- struct{}{} })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return func() { <-calls } // the deadline of the test run is the limit
}

// TestWatch makes each kind of change on a real file system and waits for it.
func TestWatch(t *testing.T) {
	for _, c := range []struct {
		name   string
		before map[string]string
		links  [][2]string
		paths  []string
		also   []string
		change func(dir string) error
	}{
		{
			name: "written in place", before: map[string]string{"a.yaml": "1"}, paths: []string{"a.yaml"},
			change: func(dir string) error { return os.WriteFile(dir+"/a.yaml", []byte("2"), 0o644) },
		},
		{
			name: "replaced by an editor", before: map[string]string{"a.yaml": "1"}, paths: []string{"a.yaml"},
			change: func(dir string) error {
				if err := os.WriteFile(dir+"/a.yaml.tmp", []byte("2"), 0o644); err != nil {
					return err
				}
				return os.Rename(dir+"/a.yaml.tmp", dir+"/a.yaml")
			},
		},
		{
			name: "a new file in a directory", before: map[string]string{"d/a.yaml": "1"}, paths: []string{"d"},
			change: func(dir string) error { return os.WriteFile(dir+"/d/b.yaml", []byte("2"), 0o644) },
		},
		{
			name: "a file removed", before: map[string]string{"d/a.yaml": "1", "d/b.yaml": "2"}, paths: []string{"d"},
			change: func(dir string) error { return os.Remove(dir + "/d/b.yaml") },
		},
		{
			name:   "the symlink swap of Kubernetes",
			before: map[string]string{"m/..1/a.yaml": "1", "m/..2/a.yaml": "2"},
			links:  [][2]string{{"..1", "m/..data"}, {"..data/a.yaml", "m/a.yaml"}},
			paths:  []string{"m"},
			change: func(dir string) error {
				if err := os.Symlink("..2", dir+"/m/..tmp"); err != nil {
					return err
				}
				return os.Rename(dir+"/m/..tmp", dir+"/m/..data")
			},
		},
		{
			name:   "the target of a symlink elsewhere",
			before: map[string]string{"real/x.yaml": "1"}, links: [][2]string{{"real/x.yaml", "a.yaml"}}, paths: []string{"a.yaml"},
			change: func(dir string) error { return os.WriteFile(dir+"/real/x.yaml", []byte("2"), 0o644) },
		},
		{
			name:   "a secret that a document refers to",
			before: map[string]string{"a.yaml": "1", "tls/site.key": "1"}, paths: []string{"a.yaml"}, also: []string{"tls/site.key"},
			change: func(dir string) error { return os.WriteFile(dir+"/tls/site.key", []byte("2"), 0o600) },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, c.before)
			for _, link := range c.links {
				if err := os.Symlink(link[0], filepath.Join(dir, link[1])); err != nil {
					t.Fatal(err)
				}
			}
			next := watch(t, below(dir, c.paths), func() []string { return below(dir, c.also) })
			if err := c.change(dir); err != nil {
				t.Fatal(err)
			}
			next()
		})
	}
}

func below(dir string, names []string) (paths []string) {
	for _, name := range names {
		paths = append(paths, filepath.Join(dir, name))
	}
	return paths
}

// TestSameContent: writing the same content again is no change.
func TestSameContent(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a.yaml": "1"})
	path := filepath.Join(dir, "a.yaml")
	calls := 0
	w := NewWatcher([]string{path}, func() []string { return nil }, func() { calls++ })
	defer w.events.Close()
	for range 3 {
		if err := os.WriteFile(path, []byte("1"), 0o644); err != nil {
			t.Fatal(err)
		}
		w.compare()
	}
	if calls != 0 {
		t.Errorf("the same content: %d calls", calls)
	}
	if err := os.WriteFile(path, []byte("2"), 0o644); err != nil {
		t.Fatal(err)
	}
	w.compare()
	w.compare()
	if calls != 1 {
		t.Errorf("one other content: %d calls", calls)
	}
}

// TestPolling: without any event, a look every few seconds finds the change,
// a path that did not exist at first among them.
func TestPolling(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "later", "a.yaml")
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		w := &Watcher{paths: []string{path}, also: func() []string { return nil }, changed: func() { calls++ }}
		w.subscribe()
		w.known = look(w.paths, nil)
		ctx, cancel := context.WithCancel(t.Context())
		go w.Run(ctx)
		write(t, dir, map[string]string{"later/a.yaml": "1"})
		time.Sleep(poll + quiet + time.Millisecond)
		synctest.Wait()
		if calls != 1 {
			t.Errorf("%d calls after the first look", calls)
		}
		time.Sleep(10 * poll)
		synctest.Wait()
		if calls != 1 {
			t.Errorf("%d calls without a change", calls)
		}
		cancel()
		synctest.Wait()
	})
}

func TestConcerns(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a.conf": "1", "site.key": "1"})
	w := NewWatcher([]string{dir + "/a.conf"}, func() []string { return []string{dir + "/site.key"} }, func() {})
	defer w.events.Close()
	for name, want := range map[string]bool{"a.conf": true, "site.key": true, "..data": true, "b.yaml": true, "access.log": false, ".a.conf.swp": false} {
		if got := w.concerns(filepath.Join(dir, name)); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
