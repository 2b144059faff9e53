package examples

import (
	"bufio"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirproxy/weir/internal/redis/redistest"
)

// odd is an upstream that is not like the others until it is mended.
type odd struct {
	fine   http.Handler
	as     http.HandlerFunc // while it is not
	mended atomic.Bool
}

func (o *odd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !o.mended.Load() {
		o.as(w, r)
		return
	}
	o.fine.ServeHTTP(w, r)
}

// outliers shares its upstreams between setup and proof.
func outliers() example {
	failing := &odd{fine: echo("9002"), as: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }}
	slow := &odd{fine: echo("9003"), as: func(w http.ResponseWriter, r *http.Request) {
		late := time.NewTimer(150 * time.Millisecond)
		defer late.Stop()
		select {
		case <-late.C:
		case <-r.Context().Done():
		}
		echo("9003")(w, r)
	}}
	return example{
		setup: func(t *testing.T) map[string]string {
			return map[string]string{
				public: anywhere, "127.0.0.1:9001": serve(t, echo("9001")), "127.0.0.1:9002": serve(t, failing), "127.0.0.1:9003": serve(t, slow),
				"base: 5s": "base: 200ms", "max: 60s": "max: 400ms", "interval: 2s": "interval: 1s", "min_requests: 20": "min_requests: 5",
			}
		},
		prove: func(t *testing.T, x *running) { proveOutliers(t, x, failing, slow) },
	}
}

// underLoad has several clients ask until weir has said all of it.
func (x *running) underLoad(said ...string) {
	x.t.Helper()
	done := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					_, _ = x.try(call{path: "/"})
				}
			}
		})
	}
	defer clients.Wait()
	defer close(done)
	for _, text := range said {
		if !x.stderr.await(text) {
			x.t.Errorf("weir did not say %q:\n%s", text, x.stderr.String())
		}
	}
}

func proveOutliers(t *testing.T, x *running, failing, slow *odd) {
	x.underLoad("event=ejected cause=failure_rate", "event=ejected cause=latency", "event=ejected cause=probation")
	failing.mended.Store(true)
	slow.mended.Store(true)
	x.underLoad("event=returned cause=probation")
	x.addrs["admin"] = filepath.Join(x.dir, "admin.sock")
	page := x.ask(call{listener: "admin", path: "/events?cluster=shop&format=text"}).body
	for _, event := range []string{"failure_rate", "latency", "probation", "returned"} {
		if !strings.Contains(page, event) {
			t.Errorf("/events does not have %s:\n%s", event, page)
		}
	}
	metrics := x.ask(call{listener: "admin", path: "/metrics"}).body
	if want := `weir_health_events_total{cause="latency",cluster="shop",event="ejected"}`; !strings.Contains(metrics, want) {
		t.Errorf("the metrics do not have %s", want)
	}
	x.want("no such cluster", x.ask(call{listener: "admin", path: "/events?cluster=none"}), 404)
}

// redisPassword stands in the file redis-password of every folder.
const redisPassword = "s3cret"

// redisHealth shares its servers between setup and proof.
func redisHealth() example {
	var lost *redistest.Server
	return example{
		setup: func(t *testing.T) map[string]string {
			good := redistest.New(t, "--requirepass", redisPassword)
			good.Start()
			lost = redistest.New(t, "--requirepass", redisPassword, "--replicaof", "127.0.0.1 1", "--replica-serve-stale-data", "no")
			lost.Start()
			return map[string]string{
				public: anywhere, "127.0.0.1:6379": good.Address(), "127.0.0.1:6380": lost.Address(),
				" interval: 5s": " interval: 200ms", "interval: 2s": "interval: 100ms", "interval: 1s": "interval: 100ms", "interval: 30s": "interval: 300ms",
			}
		},
		prove: func(t *testing.T, x *running) { proveRedisHealth(t, x, lost) },
	}
}

func proveRedisHealth(t *testing.T, x *running, lost *redistest.Server) {
	if !x.stderr.await("PING: MASTERDOWN") {
		t.Fatalf("weir does not say what is wrong:\n%s", x.stderr.String())
	}
	for range 6 {
		x.equal("while one has no master", x.redis("tcp", x.addrs["public"], "PING"), "+PONG")
	}
	path := strings.TrimPrefix(lost.Address(), "unix:")
	x.equal("the one without", x.redis("unix", path, "REPLICAOF NO ONE"), "+OK")
	if !x.stderr.await("health=fit was=unfit") {
		t.Fatalf("it does not come back:\n%s", x.stderr.String())
	}
	x.equal("when it is back", x.redis("tcp", x.addrs["public"], "PING"), "+PONG")
	x.addrs["admin"] = filepath.Join(x.dir, "admin.sock")
	for _, page := range []string{"/snapshot", "/clusters", "/events"} {
		if body := x.ask(call{listener: "admin", path: page}).body; strings.Contains(body, redisPassword) {
			t.Errorf("the password stands on %s", page)
		}
	}
	if strings.Contains(x.stderr.String(), redisPassword) {
		t.Error("the password stands in the log")
	}
}

// redis logs in and sends one command; the answer is the line that comes back.
func (x *running) redis(network, address, command string) string {
	x.t.Helper()
	nc, err := net.DialTimeout(network, address, patience)
	if err != nil {
		x.t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(patience))
	if _, err := nc.Write([]byte("AUTH " + redisPassword + "\r\n" + command + "\r\n")); err != nil {
		x.t.Fatal(err)
	}
	lines := bufio.NewReader(nc)
	if login, err := lines.ReadString('\n'); err != nil || login != "+OK\r\n" {
		x.t.Fatalf("the login is answered with %q, %v", login, err)
	}
	line, err := lines.ReadString('\n')
	if err != nil {
		x.t.Fatal(err)
	}
	return strings.TrimSpace(line)
}
