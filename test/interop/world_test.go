package interop

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/weirproxy/weir/test/process"
)

// world is weir between every kind of downstream and every kind of upstream.
// The first segment of a path names the cluster, the last one the case.
type world struct {
	*process.Process
	trust *trust
	dir   string
	left  departures

	theatre          theatre
	clusters, routes strings.Builder
}

// The kinds of clusters. Each has one of each kind of upstream.
const (
	fine     = "fine"     // well-behaved servers
	scripted = "scripted" // does what the case says, frame by frame
	silent   = "silent"   // the same, with little patience
)

// newWorld starts the upstreams and weir.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := emptyWorld(t)
	w.theatre.trust, w.theatre.stop = w.trust, make(chan struct{})
	for _, u := range upstreams {
		good, bad := u.serve(t, w.trust, w.handler()), w.theatre.perform(t, u)
		w.add(u, fine+"-"+u.name, good, "", "timeout: 20s, ")
		for _, d := range downstreams { // a connection that is broken is broken for one cell only
			w.add(u, scripted+"-"+u.name+"-"+d.name, bad, "", "timeout: 20s, ")
			w.add(u, silent+"-"+u.name+"-"+d.name, bad, ", body_idle: 500ms", "timeout: 3s, ")
		}
	}
	t.Cleanup(func() { close(w.theatre.stop) }) // before the servers end
	w.start(t)
	return w
}

func emptyWorld(t *testing.T) *world {
	t.Helper()
	w := &world{trust: newTrust(t), dir: t.TempDir()}
	w.trust.write(t, w.dir)
	return w
}

// start runs weir with what was added.
func (w *world) start(t *testing.T) {
	t.Helper()
	w.Process = process.Start(t, w.dir, w.document())
	t.Cleanup(func() { w.Stop(t) })
}

func (w *world) document() string {
	return fmt.Sprintf(`
admin: {address: "unix:%s"}
listeners:
  - {name: clear, address: "127.0.0.1:0"}
  - name: secure
    address: "127.0.0.1:0"
    tls: {certificates: [{cert: {file: site.crt}, key: {file: site.key}}]}
    http3: {}
clusters:
%sroutes:
%s`, process.AdminSocket(w.dir), w.clusters.String(), w.routes.String())
}

// add adds a cluster and the route to it, for the paths below its name. more
// are further fields of each.
func (w *world) add(u upstream, name, address, cluster, route string) {
	w.clusters.WriteString(u.cluster(name, address, cluster))
	w.route(name, fmt.Sprintf("path: {prefix: /%s}", name), "retry: {attempts: 1}, "+route)
}

// route adds a route to a cluster of the same name.
func (w *world) route(name, match, more string) {
	fmt.Fprintf(&w.routes, "  - {name: %s, match: {%s}, %sto: [{cluster: %s}]}\n", name, match, more, name)
}

// departures tell upstreams' handlers that saw their client leave.
type departures struct {
	mu     sync.Mutex
	expect map[string]chan struct{}
}

// of is closed once the client of the exchange with this id has left.
func (d *departures) of(id string) chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.expect == nil {
		d.expect = map[string]chan struct{}{}
	}
	if d.expect[id] == nil {
		d.expect[id] = make(chan struct{})
	}
	return d.expect[id]
}

// handler is that of the well-behaved upstreams.
func (w *world) handler() http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("X-Upstream-Version", r.Proto)
		serveFine(rw, r, &w.left)
	})
}
