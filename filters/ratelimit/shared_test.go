package ratelimit

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/internal/redis/redistest"
	"github.com/weirproxy/weir/stream"
)

// proxy is one of several that share a store.
type proxy struct {
	stream.Service
	house *filtertest.House
	log   *redistest.Log
}

// through answers every request.
func through() stream.Service {
	return stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		req.Body.Close()
		return filtertest.Response(200, ""), nil
	})
}

// join makes a proxy. limit are settings without braces; %s in them is the
// address of the store.
func join(t *testing.T, server *redistest.Server, settings string) *proxy {
	t.Helper()
	p := &proxy{house: &filtertest.House{}, log: redistest.NewLog()}
	p.reload(t, server, settings)
	return p
}

func (p *proxy) reload(t *testing.T, server *redistest.Server, settings string) {
	t.Helper()
	decoded, problems := filtertest.Decode(t, Definition(), fmt.Sprintf("{"+settings+"}", server.Address()))
	if problems.Errors() > 0 {
		t.Fatal(problems)
	}
	env := p.house.Env(t)
	keep := env.Keep
	env.Keep = func(key string, make func() any) any {
		value := keep(key, make)
		if c, ok := value.(interface{ Close() error }); ok {
			t.Cleanup(func() { _ = c.Close() })
		}
		return value
	}
	env.Log = slog.New(slog.NewTextHandler(p.log, nil))
	var err error
	if p.Service, err = Definition().Build(decoded, env, through()); err != nil {
		t.Fatal(err)
	}
}

// ready waits until the proxy reaches the store, for the nth time.
func (p *proxy) ready(t *testing.T, n int) *proxy {
	t.Helper()
	p.log.Await(t, "the store is reached", n)
	return p
}

func (p *proxy) counted(name string) int64 { return p.house.Counted("weir_rate_limit_" + name) }

// TestShared: together, proxies let through what one would.
func TestShared(t *testing.T) {
	server := redistest.New(t)
	server.Start()
	const settings = `rate: 50/d, key: "header:x-a", store: {redis: {addresses: ["%s"]}, timeout: 1s, lease: 1}` // what is leased and not used would be missing
	total := 0
	for range 3 {
		total += allowed(t, join(t, server, settings).ready(t, 1), 40, "X-A: secret-1")
	}
	if total != 50 {
		t.Errorf("%d requests passed three proxies, want 50", total)
	}
	p := join(t, server, settings).ready(t, 1)
	fault, _ := send(t, p, "X-A: secret-1")
	if fault == nil || fault.Kind != stream.RateLimited || fault.RetryAfter < 20*time.Minute || fault.RetryAfter > 30*time.Minute {
		t.Errorf("%+v, want a wait of nearly 24h/50", fault)
	}
	if got := allowed(t, p, 60, "X-A: 2"); got != 50 {
		t.Errorf("another key: %d passed, want 50", got)
	}
	if keys := server.Command("DBSIZE"); keys != ":2" {
		t.Errorf("the store has %s keys, want 2", keys)
	}
	if found := server.Command("KEYS", "*secret*"); found != "*0" {
		t.Errorf("the store has values of requests: %s", found)
	}
	if found := server.Command("KEYS", "weir:*"); found != "*2" {
		t.Errorf("%s keys have the prefix", found)
	}
}

// TestLeases: a busy key does not ask for each request, a refused one does not
// ask at all.
func TestLeases(t *testing.T) {
	server := redistest.New(t)
	server.Start()
	p := join(t, server, `rate: 10000/d, store: {redis: {addresses: ["%s"]}, timeout: 1s, lease: 1%%}`).ready(t, 1)
	if got := allowed(t, p, 5000); got != 5000 {
		t.Errorf("%d passed, want all", got)
	}
	asked := p.counted(`store_requests_total{limit="1",result="answered"}`)
	t.Logf("5000 requests, %d questions, %d leased", asked, p.counted(`leased_total{limit="1"}`))
	if asked > 200 {
		t.Errorf("%d questions for 5000 requests with leases of 100", asked)
	}
	if leased := p.counted(`leased_total{limit="1"}`); leased > 5000+100 {
		t.Errorf("%d are leased for 5000", leased)
	}
	if got := allowed(t, p, 6000); got != 5000 {
		t.Errorf("%d more passed, want 5000", got)
	}
	asked = p.counted(`store_requests_total{limit="1",result="answered"}`)
	allowed(t, p, 1000)
	if more := p.counted(`store_requests_total{limit="1",result="answered"}`) - asked; more > 1 {
		t.Errorf("%d questions about a key that is refused", more)
	}
}

// TestSharedUnderLoad: many connections of several proxies get the rate, not
// more, and nearly all of it.
func TestSharedUnderLoad(t *testing.T) {
	server := redistest.New(t)
	server.Start()
	const proxies, burst, rate = 3, 100, 400
	var passed atomic.Int64
	var work sync.WaitGroup
	all := make([]*proxy, proxies)
	for i := range all {
		all[i] = join(t, server, `rate: 400/s, burst: 100, store: {redis: {addresses: ["%s"]}, timeout: 1s}`).ready(t, 1)
	}
	begun := time.Now()
	for _, p := range all {
		for range 4 {
			work.Go(func() {
				for time.Since(begun) < 1500*time.Millisecond {
					if fault, _ := send(t, p); fault == nil {
						passed.Add(1)
					}
				}
			})
		}
	}
	work.Wait()
	due := burst + rate*time.Since(begun).Seconds()
	t.Logf("%d passed of %.0f that are due", passed.Load(), due)
	if got := float64(passed.Load()); got > due+1 || got < 0.8*due {
		t.Errorf("%.0f passed, %.0f are due", got, due)
	}
}

func TestSharedQuota(t *testing.T) {
	server := redistest.New(t)
	server.Start()
	total := 0
	for range 2 {
		p := join(t, server, `quota: {amount: 30, per: month}, headers: true, store: {redis: {addresses: ["%s"]}, timeout: 1s, lease: 5}`).ready(t, 1)
		total += allowed(t, p, 20)
		if fault, _ := send(t, p); total == 30 && (fault == nil || fault.RetryAfter < time.Second) {
			t.Errorf("%+v", fault)
		}
	}
	if total > 30 || total < 25 { // what the first has leased and not used is not there for the second
		t.Errorf("%d passed, want 30", total)
	}
}

// TestStoreDownAtStart is skipper#1690: a store that is not there at the start
// is used once it is, and until then the word decides.
func TestStoreDownAtStart(t *testing.T) {
	for word, want := range map[string]int{"allow": 10, "refuse": 0, "local": 3} {
		server := redistest.New(t)
		p := join(t, server, `rate: 3/d, store: {redis: {addresses: ["%s"]}, timeout: 1s, on_failure: `+word+`}`)
		p.log.Await(t, "cannot be reached yet", 1)
		begun := time.Now()
		if got := allowed(t, p, 10); got != want {
			t.Errorf("%s: %d passed without the store, want %d", word, got, want)
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("%s: requests waited %v for a store that is away", word, took)
		}
		if word == "refuse" {
			if fault, _ := send(t, p); fault == nil || fault.Kind != stream.Overloaded || fault.RetryAfter == 0 {
				t.Errorf("%+v", fault)
			}
		}
		server.Start()
		p.ready(t, 1)
		// A limit of its own in the store: what was let through without it is not there.
		if got := allowed(t, p, 10); word != "local" && got != 3 || word == "local" && got != 0 {
			t.Errorf("%s: %d passed with the store", word, got)
		}
		if up, _ := p.house.Gauged("weir_rate_limit_store_up"); up != 1 {
			t.Errorf("%s: store_up is %v", word, up)
		}
	}
}

// TestStoreKilledUnderLoad: requests go on while the store dies and comes back,
// and the limit holds.
func TestStoreKilledUnderLoad(t *testing.T) {
	server := redistest.New(t)
	server.Start()
	p := join(t, server, `rate: 1000/s, burst: 100, store: {redis: {addresses: ["%s"]}, timeout: 50ms}`).ready(t, 1)
	ctx, stop := context.WithCancel(context.Background())
	var passed, refused, longest atomic.Int64
	var work sync.WaitGroup
	begun := time.Now()
	for range 8 {
		work.Go(func() {
			for ctx.Err() == nil {
				at := time.Now()
				fault, _ := send(t, p)
				if took := int64(time.Since(at)); took > longest.Load() {
					longest.Store(took)
				}
				switch {
				case fault == nil:
					passed.Add(1)
				case fault.Kind == stream.RateLimited:
					refused.Add(1)
				default:
					t.Errorf("%v", fault)
				}
			}
		})
	}
	for round := range 3 {
		server.Kill()
		p.log.Await(t, "the store cannot be reached;", round+1)
		server.Start()
		p.ready(t, round+2)
	}
	stop()
	work.Wait()
	due := 100 + 1000*time.Since(begun).Seconds()
	// Each start of the store gives a burst, because it keeps nothing on disk.
	t.Logf("%d passed, %d refused, %.0f are due and 3 bursts, longest %v", passed.Load(), refused.Load(), due, time.Duration(longest.Load()))
	if got := float64(passed.Load()); got > due+3*100+1 {
		t.Errorf("%.0f passed, %.0f are due", got, due)
	}
	if refused.Load() == 0 {
		t.Error("nothing was refused: the load was no load")
	}
}

// TestStoreHangs: a store that says nothing costs its timeout, then nothing.
func TestStoreHangs(t *testing.T) {
	server := redistest.New(t)
	server.Start()
	p := join(t, server, `rate: 1000/d, store: {redis: {addresses: ["%s"]}, timeout: 20ms, lease: 1, on_failure: allow}`).ready(t, 1)
	allowed(t, p, 2)
	before := p.counted(`store_requests_total{limit="1",result="late"}`)
	server.Pause()
	if got := allowed(t, p, 2000); got != 2000 {
		t.Errorf("%d passed while the store hangs, want all", got)
	}
	if late := p.counted(`store_requests_total{limit="1",result="late"}`) - before; late != 3 {
		t.Errorf("%d requests waited, want 3", late)
	}
	server.Resume()
	p.ready(t, 2)
}

// TestReloadKeepsStore: a reload keeps the connection and the leases, and a
// changed password file makes a new one.
func TestReloadKeepsStore(t *testing.T) {
	server := redistest.New(t, "--requirepass", "swordfish")
	server.Start()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("swordfish\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	settings := `rate: 5/d, key: client, store: {redis: {addresses: ["%s"], password: {file: "` + file + `"}}, timeout: 1s}`
	p := join(t, server, settings).ready(t, 1)
	allowed(t, p, 5)
	p.reload(t, server, settings+", headers: true")
	if got := allowed(t, p, 5); got != 0 {
		t.Errorf("%d passed after the reload", got)
	}
	if n := strings.Count(p.log.String(), "the store is reached"); n != 1 {
		t.Errorf("connected %d times", n)
	}
	decoded, _ := filtertest.Decode(t, Definition(), fmt.Sprintf("{"+settings+"}", server.Address()))
	if text := fmt.Sprintf("%v %+v %#v", decoded, decoded, decoded.(Settings).Store); strings.Contains(text, "swordfish") {
		t.Errorf("the password is printed: %s", text)
	}
	if err := os.WriteFile(file, []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.reload(t, server, settings)
	p.log.Await(t, "cannot be reached yet", 1)
}

func TestCheckStore(t *testing.T) {
	for settings, want := range map[string]string{
		`{redis: ["a:1"]}`:                                           "write {addresses: [HOST:PORT]}",
		"{redis: {addresses: []}}":                                   "is empty",
		"{redis: {addresses: [localhost]}}":                          "no address",
		`{redis: {addresses: ["a:1"]}, timeout: 2s}`:                 "would wait",
		`{redis: {addresses: ["a:1"]}, on_failure: ignore}`:          "is not known",
		`{redis: {addresses: ["a:1"]}, lease: 0}`:                    "no share",
		`{redis: {addresses: ["a:1"]}, lease: 101%}`:                 "no share",
		`{redis: {addresses: ["a:1"], password: secret}}`:            "must not stand",
		`{redis: {addresses: ["a:1"], password: {env: X}}}`:          "files only",
		`{redis: {addresses: ["a:1"], password: {file: nowhere}}}`:   "cannot be used",
		`{redis: {addresses: ["a:1"], tls: {ca: {file: store.go}}}}`: "cannot be used",
	} {
		problems := filtertest.Check(t, Definition(), "{rate: 1/s, store: "+settings+"}")
		if problems.Errors() == 0 || !strings.Contains(fmt.Sprint(problems), want) {
			t.Errorf("%s: %v, want %q", settings, problems, want)
		}
	}
}

func TestLeaseOf(t *testing.T) {
	for _, c := range []struct {
		text        string
		limit, want int64
	}{{"10%", 100, 10}, {"10%", 5, 1}, {"1%", 1, 1}, {"100%", 7, 7}, {"50", 100, 50}, {"50", 10, 10}, {"33%", 1000000000000, 330000000000}} {
		var l Lease
		if err := l.UnmarshalText([]byte(c.text)); err != nil || l.of(c.limit) != c.want || l.String() != c.text {
			t.Errorf("%s of %d: %d, %v, written %s", c.text, c.limit, l.of(c.limit), err, l)
		}
	}
}

func FuzzLease(f *testing.F) {
	for _, text := range []string{"10%", "100%", "1", "0", "1000000", "%"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var l, again Lease
		if l.UnmarshalText([]byte(text)) != nil {
			return
		}
		if err := again.UnmarshalText([]byte(l.String())); err != nil || again != l || l.of(10) < 1 || l.of(10) > 10 {
			t.Fatalf("%q is %+v, written %q: %v", text, l, l, err)
		}
	})
}
