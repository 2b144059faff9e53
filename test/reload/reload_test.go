package reload

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/weirproxy/weir"
	"github.com/weirproxy/weir/filters/all"
)

// TestMain makes the test binary be weir when it is started with this variable.
func TestMain(m *testing.M) {
	if os.Getenv("WEIR_RELOAD_TEST") != "" {
		os.Exit(weir.Main("v0-reload", all.Definitions()...))
	}
	os.Exit(m.Run())
}

// howLong is the time under load. It is what is measured, not waited for.
const howLong = 5 * time.Second

// TestReloadUnderLoad changes everything that can change, over and over, and
// wants not one request to fail, and nothing to be left of it afterwards.
func TestReloadUnderLoad(t *testing.T) {
	for name, change := range map[string]change{
		"routes":       func(d *document, n int) { d.routes, d.tag = n%7, n },
		"clusters":     func(d *document, n int) { d.idle, d.onlyFirst = 30+n%20, n%3 == 0 },
		"limits":       func(d *document, n int) { d.headers = 50 + n%50 },
		"certificates": func(d *document, n int) { d.serial = n },
		"all": func(d *document, n int) {
			d.routes, d.tag, d.idle, d.onlyFirst, d.headers, d.serial = n%7, n, 30+n%20, n%3 == 0, 50+n%50, n
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, change)
		})
	}
}

// change makes the nth version of the document.
type change func(d *document, n int)

func run(t *testing.T, change change) {
	dir := t.TempDir()
	doc := document{dir: dir, upstreams: []string{upstream(t), upstream(t)}, idle: 60, headers: 100}
	doc.write(t)
	w := start(t, dir)
	plain, secure := w.address(t, "plain"), w.address(t, "secure")

	warm := load{plain: plain, secure: secure, roots: doc.roots(t)}
	warm.once(t)
	before := w.usage(t)

	ctx, cancel := context.WithTimeout(context.Background(), howLong)
	defer cancel()
	l := load{plain: plain, secure: secure, roots: doc.roots(t)}
	l.begin(ctx)
	reloads := 0
	for ctx.Err() == nil {
		reloads++
		change(&doc, reloads)
		doc.write(t)
		w.reload(t)
	}
	for _, failure := range l.end() {
		t.Error(failure)
	}
	t.Logf("%d reloads, %d requests on %d connections", reloads, l.requests.Load(), l.connections.Load())
	if reloads < 10 || l.requests.Load() < 1000 {
		t.Errorf("%d reloads and %d requests prove nothing", reloads, l.requests.Load())
	}
	doc.idle = 100 // the connections that the pools keep are no leak: new pools are empty
	doc.write(t)
	w.reload(t)
	w.settles(t, before)
	w.stop(t)
}

// upstream answers with what it got.
func upstream(t *testing.T) string {
	ln := listen(t)
	server := &http.Server{Handler: http.HandlerFunc(echo)}
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(ln) })
	t.Cleanup(func() {
		server.Close()
		served.Wait()
	})
	return ln.Addr().String()
}

// replace writes a file in one step.
func replace(t *testing.T, dir, name string, content []byte) {
	t.Helper()
	next := filepath.Join(dir, "."+name)
	if err := os.WriteFile(next, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}
