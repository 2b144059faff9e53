package examples

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

// quiet is a log for servers whose handshakes fail on purpose.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

func setupQuickstart(t *testing.T) map[string]string {
	return map[string]string{
		public: anywhere, "127.0.0.1:9001": serve(t, newChecked("9001", true)), "127.0.0.1:9002": serve(t, newChecked("9002", true)),
	}
}

func proveQuickstart(t *testing.T, x *running) {
	upstreams := map[string]bool{}
	for range 100 { // by chance of one in 2^99 not both
		a := x.get("/hello")
		x.want("hello", a, 200)
		upstreams[saw(t, a).Upstream] = true
	}
	if len(upstreams) != 2 {
		t.Errorf("/hello went to %v, want both", upstreams)
	}
	a := x.get("/maintenance")
	x.want("maintenance", a, 503)
	x.equal("maintenance", a.body, "Back in a minute.\n")
	a = x.get("/")
	x.want("home", a, 302)
	if location := a.header.Get("Location"); !strings.HasSuffix(location, "/hello") {
		t.Errorf("/ is redirected to %q", location)
	}
}

// proveRotation: a new certificate is used once both files are there, and a
// broken one is not.
// TestMTLSOtherIdentity: an endpoint with another SPIFFE id of the same
// authority is not spoken to.
func setupCanary(t *testing.T) map[string]string {
	return map[string]string{public: anywhere, "127.0.0.1:9001": serve(t, echo("v1")), "127.0.0.1:9002": serve(t, echo("v2"))}
}

func proveCanary(t *testing.T, x *running) {
	const users = 400
	moved, canary := 0, 0
	for i := range users {
		user := "user-" + itoa(i)
		first := saw(t, x.get("/", "X-User", user)).Upstream
		if first == "v2" {
			canary++
		}
		if i < 20 && saw(t, x.get("/", "X-User", user)).Upstream != first {
			moved++
		}
	}
	// The hash of a user never changes, so neither does this number.
	if canary < users*2/100 || canary > users*9/100 {
		t.Errorf("%d of %d users on the side with 5 %%", canary, users)
	}
	if moved > 0 {
		t.Errorf("%d users changed sides", moved)
	}
	for range 10 {
		x.equal("preview", saw(t, x.get("/", "X-Version", "2", "X-User", "user-0")).Upstream, "v2")
	}
}

func setupRetries(t *testing.T) map[string]string {
	failed := new(atomic.Int64)
	broken := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Failures", itoa(int(failed.Add(1))))
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	return map[string]string{
		public: anywhere, "127.0.0.1:9001": serve(t, broken), "127.0.0.1:9002": serve(t, echo("9002")), "127.0.0.1:9003": silent(t),
	}
}

func proveRetries(t *testing.T, x *running) {
	// Of two requests in turn one meets the broken endpoint. POST is not sent
	// again, as the endpoint may have acted on it.
	statuses := map[int]int{}
	for range 2 {
		statuses[x.ask(call{method: "POST", path: "/", body: "x"}).status]++
	}
	if statuses[200] != 1 || statuses[503] != 1 {
		t.Errorf("POST twice: %v, want one 200 and one 503", statuses)
	}
	for range 20 { // ejected after the fifth failure in a row: all go through, within the budget
		x.want("GET", x.get("/"), 200)
	}
	x.want("POST once it is ejected", x.ask(call{method: "POST", path: "/", body: "x"}), 200)
	x.want("POST once it is ejected", x.ask(call{method: "POST", path: "/", body: "x"}), 200)
	if log := x.stderr.String(); !strings.Contains(log, "health=ejected") {
		t.Errorf("no ejection:\n%s", log)
	}
	a := x.get("/slow")
	x.want("silent endpoint", a, 504)
	x.equal("silent endpoint", a.header.Get("Proxy-Status"), `weir; error=http_response_timeout; details="request_timeout"`)
	x.stop()
	if log := x.stdout.String(); strings.Count(log, `"attempts":2`) == 0 || strings.Count(log, `"retry_refused":"method"`) != 1 {
		t.Errorf("the access log does not tell of retries and of one refusal:\n%s", log)
	}
}

// health shares its upstreams between setup and proof.
func health() example {
	fit, unfit := newChecked("9001", true), newChecked("9002", false)
	return example{
		setup: func(t *testing.T) map[string]string {
			return map[string]string{
				public: anywhere, "127.0.0.1:9001": serve(t, fit), "127.0.0.1:9002": serve(t, unfit),
				"interval: 2s": "interval: 50ms", "timeout: 1s": "timeout: 500ms",
			}
		},
		prove: func(t *testing.T, x *running) { proveHealth(t, x, fit, unfit) },
	}
}

// await waits for n more health checks. When the last of them is there, what
// came of those before it has been taken over: an endpoint has one check at a
// time.
func (c *checked) await(t *testing.T, n int) {
	t.Helper()
	late := time.After(patience)
	for range n {
		select {
		case <-c.asked:
		case <-late:
			t.Fatalf("%s: no health check", c.name)
		}
	}
}

// drain forgets the checks that were not waited for.
func (c *checked) drain() {
	for {
		select {
		case <-c.asked:
		default:
			return
		}
	}
}

func proveHealth(t *testing.T, x *running, fit, unfit *checked) {
	fit.await(t, 2)
	unfit.await(t, 2)
	for range 10 {
		x.equal("while 9002 is unfit", saw(t, x.get("/")).Upstream, "9001")
	}
	unfit.fit.Store(true)
	unfit.drain()
	unfit.await(t, 4) // one may be from before; two good ones; the one behind them
	upstreams := map[string]int{}
	for range 10 {
		upstreams[saw(t, x.get("/")).Upstream]++
	}
	if upstreams["9001"] == 0 || upstreams["9002"] == 0 {
		t.Errorf("requests went to %v, want both", upstreams)
	}
}

func proveHeaders(t *testing.T, x *running) {
	a := x.get("/", "X-Debug-Level", "9", "x-tenant", "forged", "X_Tenant", "forged")
	x.want("headers", a, 200)
	s := saw(t, a)
	x.equal("upstream", s.Header.Get("X-Tenant"), "shop")
	for name := range s.Header {
		if strings.HasPrefix(name, "X-Debug") || strings.Contains(name, "_") {
			t.Errorf("the upstream sees %s", name)
		}
	}
	x.equal("client", a.header.Get("Strict-Transport-Security"), "max-age=31536000")
	x.equal("client", a.header.Get("Link"), "</style.css>; rel=preload")
	if a.header.Get("Server") != "" || a.header.Get("X-Powered-By") != "" {
		t.Errorf("the client sees %v", a.header)
	}
}

func proveRewriteRedirect(t *testing.T, x *running) {
	for path, uri := range map[string]string{
		"/api/v1/items?page=2": "/items?page=2", "/api/v1": "/", "/users/42/orders/7": "/orders/42/7", "/users/42/orders/7/lines/1": "/orders/42/7/lines/1",
	} {
		a := x.get(path)
		x.want(path, a, 200)
		x.equal(path, saw(t, a).URI, uri)
	}
	x.equal("host", saw(t, x.get("/api/v1/items")).Host, "api.internal")
	a := x.ask(call{path: "/a?b=1", host: "www.shop.test:8080"})
	x.want("www", a, 301)
	x.equal("www", a.header.Get("Location"), "http://shop.test/a?b=1")
	a = x.get("/old/page")
	x.want("old", a, 308)
	if location := a.header.Get("Location"); !strings.HasSuffix(location, "/new/page") {
		t.Errorf("/old/page is redirected to %q", location)
	}
	x.want("prefix by whole segments", x.get("/older"), 404)
}

func proveMaintenance(t *testing.T, x *running) {
	a := x.get("/cart")
	x.want("closed", a, 503)
	x.equal("closed", a.header.Get("Content-Type"), "text/html; charset=utf-8")
	if !strings.Contains(a.body, "Back in a minute") {
		t.Errorf("the page is %q", a.body)
	}
	a = x.get("/cart", "Cookie", "other=1; preview=yes")
	x.want("preview", a, 200)
	x.equal("preview", saw(t, a).URI, "/cart")
}

func setupDNS(t *testing.T) map[string]string {
	shop := serve(t, echo("9001"))
	_, text, err := net.SplitHostPort(shop)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{public: anywhere, "shop.test:9001": "shop.test:" + text, "127.0.0.1:9053": nameServer(t, uint16(port))}
}

func proveDNS(t *testing.T, x *running) {
	for _, path := range []string{"/", "/api", "/zones"} {
		a := x.get(path)
		x.want(path, a, 200)
		x.equal(path, saw(t, a).URI, path)
	}
	x.addrs["admin"] = filepath.Join(x.dir, "admin.sock")
	var clusters []struct {
		Name      string
		Endpoints []struct {
			Host     string
			Weight   int
			Priority int
			Zone     string
			Labels   map[string]string
		}
	}
	if err := json.Unmarshal([]byte(x.ask(call{listener: "admin", path: "/clusters"}).body), &clusters); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range clusters {
		for _, e := range c.Endpoints {
			got = append(got, fmt.Sprint(c.Name, " ", e.Host, " *", e.Weight, " !", e.Priority, " ", e.Zone, e.Labels))
		}
	}
	x.equal("the places", strings.Join(got, "\n"), `api backup.test *1 !1 map[]
api shop.test *3 !0 map[]
shop shop.test *1 !0 map[]
zones shop.test *2 !0 eu-1amap[]
zones backup.test *1 !2 eu-1bmap[from:srv]`)
}

// raw sends bytes and returns what comes until the end.
// setupWebSocket has an upstream that switches protocols and sends back what
// comes, in upper case.
