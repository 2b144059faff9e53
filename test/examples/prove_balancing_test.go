package examples

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// balancing shares its upstreams between setup and proof.
func balancing() example {
	up := map[string]*checked{}
	return example{
		setup: func(t *testing.T) map[string]string {
			replace := map[string]string{public: anywhere, "interval: 2s": "interval: 50ms", "timeout: 1s": "timeout: 500ms", "window: 30s": "window: 1ms"}
			for _, port := range []string{"9001", "9002", "9003", "9004", "9005"} {
				up[port] = newChecked(port, true)
				replace["127.0.0.1:"+port] = serve(t, up[port])
			}
			return replace
		},
		prove: func(t *testing.T, x *running) { proveBalancing(t, x, up) },
	}
}

// turn changes whether upstreams are fit and waits until their checks have told.
func turn(t *testing.T, up map[string]*checked, fit bool, ports ...string) {
	for _, port := range ports {
		up[port].fit.Store(fit)
	}
	for _, port := range ports {
		up[port].drain()
		up[port].await(t, 4) // one may be from before; two that decide; the one behind them
	}
}

// shares is where n requests for a path arrive.
func shares(t *testing.T, x *running, n int, path string, header ...string) map[string]int {
	t.Helper()
	got := map[string]int{}
	for range n {
		got[saw(t, x.get(path, header...)).Upstream]++
	}
	return got
}

func proveBalancing(t *testing.T, x *running, up map[string]*checked) {
	for _, c := range up {
		c.await(t, 2)
	}
	got := shares(t, x, 40, "/")
	if got["9001"]+got["9002"] != 40 {
		t.Errorf("requests went to %v, want the zone of this proxy", got)
	}
	if got := shares(t, x, 10, "/preview"); got["9003"] != 10 {
		t.Errorf("requests for version v2 went to %v", got)
	}
	users := map[string]bool{}
	for i := range 12 {
		got := shares(t, x, 3, "/mine", "X-User", fmt.Sprint("user-", i))
		if len(got) != 1 {
			t.Errorf("one user went to %v", got)
		}
		for upstream := range got {
			users[upstream] = true
		}
	}
	if len(users) != 3 {
		t.Errorf("all users went to %v", users)
	}
	turn(t, up, false, "9001", "9002")
	got = shares(t, x, 100, "/") // half of priority 0 is fit: 0.5 * 1.4 of the traffic
	if got["9001"]+got["9002"] > 0 || got["9005"] < 10 || got["9005"] > 55 {
		t.Errorf("without the local zone requests went to %v, want about 70 of 100 to the other and 30 to 9005", got)
	}
	x.addrs["admin"] = filepath.Join(x.dir, "admin.sock")
	page := x.ask(call{listener: "admin", path: "/clusters?format=text"}).body
	if !strings.Contains(page, "priority 0: 2 of 4 fit, 70 % of the traffic") || !strings.Contains(page, "eu-1b version=v2") {
		t.Errorf("the page does not show it:\n%s", page)
	}
	metrics := x.ask(call{listener: "admin", path: "/metrics"}).body
	if !strings.Contains(metrics, `weir_cluster_priority{cluster="shop",priority="1"} 0.3`) {
		t.Errorf("the metrics do not show it:\n%s", metrics)
	}
	turn(t, up, false, "9003", "9004")
	if got := shares(t, x, 20, "/"); got["9005"] != 20 {
		t.Errorf("without priority 0 requests went to %v", got)
	}
	x.want("no endpoint of version v2 is fit", x.get("/preview"), http.StatusServiceUnavailable)
	turn(t, up, true, "9001", "9002", "9003", "9004")
	if got := shares(t, x, 20, "/"); got["9001"]+got["9002"] != 20 {
		t.Errorf("when all are back requests went to %v", got)
	}
}

func stickySessions() example {
	up := map[string]*checked{"9001": newChecked("9001", true), "9002": newChecked("9002", true)}
	return example{
		setup: func(t *testing.T) map[string]string {
			return map[string]string{
				public: anywhere, "127.0.0.1:9001": serve(t, up["9001"]), "127.0.0.1:9002": serve(t, up["9002"]),
				"interval: 2s": "interval: 50ms", "timeout: 1s": "timeout: 500ms",
			}
		},
		prove: func(t *testing.T, x *running) { proveSticky(t, x, up) },
	}
}

// session asks with a cookie and gives where that went and the next cookie.
func session(t *testing.T, x *running, cookie string) (upstream, next string) {
	t.Helper()
	header := []string{}
	if cookie != "" {
		header = []string{"Cookie", cookie}
	}
	a := x.get("/", header...)
	next, _, _ = strings.Cut(a.header.Get("Set-Cookie"), ";")
	return saw(t, a).Upstream, next
}

func proveSticky(t *testing.T, x *running, up map[string]*checked) {
	up["9001"].await(t, 2)
	up["9002"].await(t, 2)
	cookies := map[string]string{}
	for range 4 {
		upstream, cookie := session(t, x, "")
		cookies[upstream] = cookie
	}
	if len(cookies) != 2 || !strings.HasPrefix(cookies["9001"], "shop_endpoint=") || strings.Contains(cookies["9001"], "127") {
		t.Fatalf("new sessions: %v", cookies)
	}
	keep := func(what string) {
		t.Helper()
		for range 3 {
			for want, cookie := range cookies {
				if upstream, next := session(t, x, cookie); upstream != want || next != "" {
					t.Errorf("%s: the session of %s went to %s, cookie %q", what, want, upstream, next)
				}
			}
		}
	}
	keep("at first")
	changed := strings.Replace(x.document(t), "balance: round_robin", "balance: least_request", 1)
	if err := os.WriteFile(filepath.Join(x.dir, "weir.yaml"), []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	x.reload(t)
	keep("after a change of the cluster")
	turn(t, up, false, "9001")
	upstream, moved := session(t, x, cookies["9001"])
	if upstream != "9002" || moved != cookies["9002"] {
		t.Errorf("the session of 9001 went to %s, cookie %q; want 9002 with its cookie", upstream, moved)
	}
	turn(t, up, true, "9001")
	if upstream, next := session(t, x, moved); upstream != "9002" || next != "" {
		t.Errorf("the session moved again, to %s, cookie %q", upstream, next)
	}
	keep("when 9001 is back")
}
