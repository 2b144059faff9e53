package examples

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
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

func setupTLS(*testing.T) map[string]string {
	return map[string]string{public: anywhere, "127.0.0.1:8443": anywhere}
}

func proveTLS(t *testing.T, x *running) {
	for host, cert := range map[string]string{"shop.test": "site", "a.tenants.test": "wildcard"} {
		a := x.ask(call{listener: "secure", path: "/", host: host})
		x.want(host, a, 200)
		x.equal(host, a.cert, cert)
	}
	if _, err := x.try(call{listener: "secure", path: "/", host: "other.test"}); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
		t.Errorf("a name without a certificate: %v, want a refusal", err)
	}
	a := x.ask(call{listener: "web", path: "/cart?a=1", host: "shop.test"})
	x.want("http", a, 308)
	x.equal("http", a.header.Get("Location"), "https://shop.test:8443/cart?a=1")
	proveRotation(t, x)
}

// proveRotation: a new certificate is used once both files are there, and a
// broken one is not.
func proveRotation(t *testing.T, x *running) {
	next, err := newPair("site-2", "DNS:shop.test", nil)
	if err != nil {
		t.Fatal(err)
	}
	x.roots.AddCert(next.leaf)
	for file, content := range map[string][]byte{"site.crt": next.cert, "site.key": next.pem} {
		if err := os.WriteFile(filepath.Join(x.dir, "certs", file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	x.reload(t)
	x.equal("after the rotation", x.ask(call{listener: "secure", path: "/", host: "shop.test"}).cert, "site-2")
	if err := os.WriteFile(filepath.Join(x.dir, "certs", "site.crt"), []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	x.reload(t)
	x.equal("after a broken one", x.ask(call{listener: "secure", path: "/", host: "shop.test"}).cert, "site-2")
}

func setupMTLS(t *testing.T) map[string]string {
	return map[string]string{
		"127.0.0.1:8443": anywhere, "127.0.0.1:9443": serveTLS(t, echo("api"), "api", "services-ca"),
	}
}

func proveMTLS(t *testing.T, x *running) {
	ask := call{listener: "secure", host: "shop.test", path: "/"}
	a := x.ask(ask)
	x.want("without a certificate", a, 200)
	x.equal("Weir's certificate", saw(t, a).ClientID, "spiffe://example.test/service/edge")
	ask.path = "/admin"
	x.want("admin without a certificate", x.ask(ask), 421)
	ask.cert = pki(t).tls("alice")
	x.want("admin with a certificate", x.ask(ask), 200)
	ask.cert = pki(t).tls("edge")
	if _, err := x.try(ask); err == nil {
		t.Error("a certificate of another authority was let in")
	}
	x.stop()
	if log := x.stdout.String(); !strings.Contains(log, `"identity":"spiffe://example.test/user/alice"`) {
		t.Errorf("the access log does not name alice:\n%s", log)
	}
}

// TestMTLSOtherIdentity: an endpoint with another SPIFFE id of the same
// authority is not spoken to.
func TestMTLSOtherIdentity(t *testing.T) {
	content, err := os.ReadFile("../../examples/mtls.yaml")
	if err != nil {
		t.Fatal(err)
	}
	x := start(t, relocate(t, string(content), map[string]string{
		"127.0.0.1:8443": anywhere, "127.0.0.1:9443": serveTLS(t, echo("other"), "other", "services-ca"),
	}))
	a := x.ask(call{listener: "secure", host: "shop.test", path: "/"})
	x.want("another id", a, 502)
	x.equal("another id", a.header.Get("Proxy-Status"), `weir; error=tls_protocol_error; details="tls_failed"`)
}

func setupHTTPSUpstream(t *testing.T) map[string]string {
	return map[string]string{public: anywhere, "127.0.0.1:9443": serveTLS(t, echo("api"), "api", "")}
}

func proveHTTPSUpstream(t *testing.T, x *running) {
	a := x.get("/")
	x.want("verified", a, 200)
	x.equal("SNI", saw(t, a).ServerName, "api.internal.test")
	a = x.get("/wrong")
	x.want("another name", a, 502)
	x.stop()
	if log := x.stdout.String(); !strings.Contains(log, `"fault":"tls_failed"`) {
		t.Errorf("the access log does not say why:\n%s", log)
	}
}

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
	if log := x.stderr.String(); !strings.Contains(log, "endpoint ejected") {
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
	for _, path := range []string{"/", "/api"} {
		a := x.get(path)
		x.want(path, a, 200)
		x.equal(path, saw(t, a).URI, path)
	}
}

func setupUnixSocket(t *testing.T) map[string]string {
	dir := folder(t)
	app := filepath.Join(dir, "app.sock")
	serveUnix(t, echo("app"), app)
	return map[string]string{
		"/tmp/weir-app.sock": app, "/tmp/weir-front.sock": filepath.Join(dir, "front.sock"), "/tmp/weir-admin.sock": filepath.Join(dir, "admin.sock"),
	}
}

func proveUnixSocket(t *testing.T, x *running) {
	a := x.ask(call{listener: "local", path: "/x"})
	x.want("front", a, 200)
	x.equal("front", saw(t, a).URI, "/x")
	info, err := os.Stat(x.addrs["local"])
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o660 {
		t.Errorf("the socket has mode %o", mode)
	}
	x.addrs["admin"] = filepath.Join(filepath.Dir(x.addrs["local"]), "admin.sock")
	x.want("admin", x.ask(call{listener: "admin", path: "/ready"}), 200)
	x.stop()
	if _, err := os.Stat(x.addrs["local"]); err == nil {
		t.Error("the socket is still there after the end")
	}
}

func setupTrustedProxy(t *testing.T) map[string]string {
	replace := oneUpstream(t)
	replace["127.0.0.1:8081"] = anywhere
	return replace
}

func proveTrustedProxy(t *testing.T, x *running) {
	forged := map[string]string{"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https", "X-Request-Id": "chosen"}
	s := saw(t, x.ask(call{listener: "direct", path: "/", header: forged}))
	x.equal("direct", s.Header.Get("X-Forwarded-For"), "127.0.0.1")
	x.equal("direct", s.Header.Get("X-Forwarded-Proto"), "http")
	if s.Header.Get("X-Request-Id") == "chosen" || s.Header.Get("Via") != "" {
		t.Errorf("direct: the upstream sees %v", s.Header)
	}
	s = saw(t, x.ask(call{listener: "behind-lb", path: "/", header: forged}))
	x.equal("behind-lb", s.Header.Get("X-Forwarded-For"), "203.0.113.7, 127.0.0.1")
	x.equal("behind-lb", s.Header.Get("X-Forwarded-Proto"), "https")
	x.equal("behind-lb", s.Header.Get("X-Request-Id"), "chosen")
	x.equal("behind-lb", s.Header.Get("Via"), "1.1 weir")
	if forwarded := s.Header.Get("Forwarded"); !strings.HasPrefix(forwarded, "for=203.0.113.7;") {
		t.Errorf("Forwarded: %s", forwarded)
	}
	inside := map[string]string{"X-Forwarded-For": "10.1.2.3"}
	x.equal("clients", x.ask(call{listener: "behind-lb", path: "/internal", header: inside}).body, "only for 10.0.0.0/8\n")
	a := x.ask(call{listener: "direct", path: "/internal", header: inside})
	x.equal("clients, not believed", saw(t, a).URI, "/internal") // goes on to the route shop
}

func setupAccessLog(t *testing.T) map[string]string {
	return map[string]string{public: anywhere, "/tmp/weir-access.log": filepath.Join(folder(t), "access.log"), "sample: 0.01": "sample: 0"}
}

func proveAccessLog(t *testing.T, x *running) {
	x.want("hello", x.get("/"), 200)
	a := x.get("/missing?token=secret&page=2", "X-Api-Key", "secret")
	x.want("missing", a, 404)
	x.stop()
	document, err := os.ReadFile(filepath.Join(x.dir, "weir.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(document), "\n  to: ")
	path, _, _ := strings.Cut(rest, "\n")
	log, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	line := string(log)
	if strings.Count(line, "\n") != 1 || strings.Contains(line, "secret") ||
		!strings.Contains(line, `"GET /missing?token=[redacted]&page=2" 404 `) || !strings.Contains(line, " key=[redacted] fault=no_route id=") {
		t.Errorf("want one line, of the request that failed, without secrets:\n%s", line)
	}
}

func setupHardening(t *testing.T) map[string]string {
	replace := oneUpstream(t)
	replace["head: 2s"] = "head: 200ms"
	return replace
}

func proveHardening(t *testing.T, x *running) {
	many := map[string]string{}
	for i := range 60 {
		many["X-"+itoa(i)] = "1"
	}
	for limit, c := range map[string]struct {
		call   call
		status int
	}{
		"max_uri_bytes":    {call{path: "/" + strings.Repeat("a", 2000)}, 414},
		"max_header_count": {call{path: "/", header: many}, 431},
		"max_header_bytes": {call{path: "/", header: map[string]string{"X-Long": strings.Repeat("a", 20<<10)}}, 431},
		"max_body_bytes":   {call{method: "POST", path: "/", body: strings.Repeat("a", 2_000_000)}, 413},
	} {
		a, err := x.try(c.call)
		if err != nil {
			t.Errorf("%s: %v", limit, err)
			continue
		}
		x.want(limit, a, c.status)
		if !strings.Contains(a.body, "Limit: "+limit) {
			t.Errorf("%s is not named:\n%s", limit, a.body)
		}
	}
	x.want("another method", x.ask(call{method: "DELETE", path: "/"}), 404)
	x.want("within all limits", x.ask(call{method: "POST", path: "/", body: "x"}), 200)
	if got := x.raw(t, "GET / HTTP/1.1\r\n"); !strings.HasPrefix(got, "HTTP/1.1 408 ") {
		t.Errorf("a head that does not end: %q, want 408", got)
	}
}

// raw sends bytes and returns what comes until the end.
func (x *running) raw(t *testing.T, text string) string {
	t.Helper()
	conn := x.dial(t)
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

func (x *running) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", x.addrs["public"])
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// setupWebSocket has an upstream that switches protocols and sends back what
// comes, in upper case.
func setupWebSocket(t *testing.T) map[string]string {
	shout := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Sec-WebSocket-Key") == "" {
			http.Error(w, "no upgrade", http.StatusBadRequest)
			return
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		for {
			if rw.Flush() != nil {
				return
			}
			line, err := rw.ReadString('\n')
			if err != nil {
				return
			}
			_, _ = rw.WriteString(strings.ToUpper(line))
		}
	})
	return map[string]string{public: anywhere, "127.0.0.1:9001": serve(t, shout)}
}

func proveWebSocket(t *testing.T, x *running) {
	conn := x.dial(t)
	defer conn.Close()
	fmt.Fprintf(conn, "GET /chat HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n\r\n")
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Upgrade") != "websocket" {
		t.Fatalf("%s %v, want 101 to websocket", resp.Status, resp.Header)
	}
	for i := range 3 {
		fmt.Fprintf(conn, "message %d\n", i)
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		x.equal("echo", line, "MESSAGE "+itoa(i)+"\n")
	}
	x.want("without the upgrade", x.get("/chat"), 400)
}
