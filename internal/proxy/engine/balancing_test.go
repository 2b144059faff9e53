package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/filters/all"
	"github.com/weirproxy/weir/internal/proxy/admin"
	"github.com/weirproxy/weir/internal/proxy/engine"
)

// said passes on each line of the log.
type said chan string

func (s said) Write(line []byte) (int, error) {
	s <- string(line)
	return len(line), nil
}

// await gives the next line that has the words.
func (s said) await(t *testing.T, words string) string {
	t.Helper()
	late := time.After(10 * time.Second)
	for {
		select {
		case line := <-s:
			if strings.Contains(line, words) {
				return line
			}
		case <-late:
			t.Fatalf("nobody said %q", words)
		}
	}
}

// operated is an engine with its log and its admin pages.
type operated struct {
	*engine.Engine
	log   said
	pages *http.Client
	admin string // for the document
}

func operate(t *testing.T) *operated {
	socket := filepath.Join(t.TempDir(), "admin.sock")
	o := &operated{log: make(said, 10_000), admin: "admin: {address: \"unix:" + socket + "\"}\n"}
	o.Engine = engine.New(engine.Config{
		Version: "test", Filters: filter.NewRegistry(all.Definitions()...), Log: slog.New(slog.NewTextHandler(o.log, nil)),
	})
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	o.pages = &http.Client{Transport: transport}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		o.Shutdown(ctx)
	})
	return o
}

func (o *operated) page(t *testing.T, path string) string {
	t.Helper()
	resp, err := o.pages.Get("http://localhost" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// shown is what /clusters shows of a cluster.
type shown struct {
	Name      string        `json:"name"`
	Levels    []admin.Level `json:"levels"`
	Endpoints []struct {
		Address string  `json:"address"`
		Rising  float64 `json:"rising"`
	} `json:"endpoints"`
}

// cluster is the first one on the page.
func (o *operated) cluster(t *testing.T) shown {
	t.Helper()
	var list []shown
	if err := json.Unmarshal([]byte(o.page(t, "/clusters")), &list); err != nil || len(list) == 0 {
		t.Fatalf("%v: %v", list, err)
	}
	return list[0]
}

// closed is an address that refuses connections.
func closed(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// TestPanicIsVisible: in the log, on the page and as a gauge.
func TestPanicIsVisible(t *testing.T) {
	o := operate(t)
	up, down := canned(t, hundred), []string{closed(t), closed(t), closed(t)}
	err := o.Apply(compiled(t, o.admin+fmt.Sprintf(`
access_log: {to: "off"}
listeners: [{name: front, address: "127.0.0.1:0"}]
routes: [{name: all, to: [{cluster: c}]}]
clusters:
  - name: c
    endpoints: [%q, %q, %q, {address: %q, priority: 1}]
    panic: {below: 0.5}
    health: {type: tcp, interval: 60s, timeout: 2s}
`, up, down[0], down[1], down[2]), nil))
	if err != nil {
		t.Fatal(err)
	}
	for range down {
		o.log.await(t, "the health of an endpoint changed")
	}
	levels := o.cluster(t).Levels
	if len(levels) != 2 || !levels[0].Panic || levels[0].Fit != 1 || levels[0].Of != 3 || !levels[1].Panic {
		t.Errorf("levels %+v", levels)
	}
	if line := o.log.await(t, "whatever their health"); !strings.Contains(line, "cluster=c priority=0 fit=1") {
		t.Error(line)
	}
	if page := o.page(t, "/clusters?format=text"); !strings.Contains(page, "priority 0: 1 of 3 fit, 100 % of the traffic, PANIC") {
		t.Error(page)
	}
	if metrics := o.page(t, "/metrics"); !strings.Contains(metrics, `weir_cluster_panic{cluster="c",priority="0"} 1`) {
		t.Error(metrics)
	}
}

// TestSlowStartAfterAReload: only an endpoint that joins others begins slowly, and
// it goes on rising when the cluster changes again.
func TestSlowStartAfterAReload(t *testing.T) {
	o := operate(t)
	a, b := canned(t, hundred), canned(t, hundred)
	apply := func(endpoints, balance string) map[string]float64 {
		t.Helper()
		err := o.Apply(compiled(t, o.admin+fmt.Sprintf(`
access_log: {to: "off"}
listeners: [{name: front, address: "127.0.0.1:0"}]
routes: [{name: all, to: [{cluster: c}]}]
clusters: [{name: c, endpoints: [%s], balance: %s, slow_start: {window: 1h, min_share: 0.2}}]
`, endpoints, balance), nil))
		if err != nil {
			t.Fatal(err)
		}
		rising := map[string]float64{}
		for _, e := range o.cluster(t).Endpoints {
			rising[e.Address] = e.Rising
		}
		return rising
	}
	if got := apply(fmt.Sprintf("%q", a), "random"); got[a] != 0 {
		t.Errorf("at the start: %v", got)
	}
	if got := apply(fmt.Sprintf("%q, %q", a, b), "random"); got[a] != 0 || got[b] != 0.2 {
		t.Errorf("another one comes: %v", got)
	}
	if got := apply(fmt.Sprintf("%q, %q", a, b), "round_robin"); got[a] != 0 || got[b] != 0.2 {
		t.Errorf("the cluster changes: %v", got)
	}
}
