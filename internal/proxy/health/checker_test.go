package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func spec() config.HealthCheck {
	return config.HealthCheck{
		Type: "http", Path: "/ready", Status: []string{"2xx"}, Healthy: 2, Unhealthy: 3,
		Interval: config.Duration(10 * time.Second), Timeout: config.Duration(2 * time.Second),
	}
}

func endpoints(n int) []*endpoint.Endpoint {
	var list []*endpoint.Endpoint
	for i := range n {
		list = append(list, endpoint.New(endpoint.Spec{
			Network: "tcp", Address: fmt.Sprintf("10.0.0.%d:8080", i), Host: "api.example", Weight: 1,
		}, endpoint.NewLoad(0, 0), time.Now()))
	}
	return list
}

// bench runs a checker in a bubble against endpoints that answer what answer
// says: the text of a response, or "" for silence.
type bench struct {
	*Checker
	checks  atomic.Int64
	running atomic.Int64

	mu      sync.Mutex // guards what follows; answer is called with it held
	answer  func(*endpoint.Endpoint) (text string, err error)
	changes []string
	asked   string
}

func run(t *testing.T, cfg config.HealthCheck, list []*endpoint.Endpoint, answer func(*endpoint.Endpoint) (string, error), change ...func(*Config)) *bench {
	b := &bench{answer: answer}
	own := Config{Spec: cfg, Dial: b.connect, OnChange: func(ev endpoint.Event) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.changes = append(b.changes, fmt.Sprintf("%s %v: %s", ev.Address, ev.To == endpoint.Fit, ev.Reason))
	}}
	for _, change := range change {
		change(&own)
	}
	var err error
	b.Checker, err = New(own)
	if err != nil {
		t.Fatal(err)
	}
	b.Update(endpoint.NewSet(list))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return b
}

func (b *bench) connect(ctx context.Context, e *endpoint.Endpoint) (net.Conn, error) {
	b.checks.Add(1)
	text, err := b.ask(e)
	if err != nil {
		return nil, err
	}
	near, far := net.Pipe()
	b.running.Add(1)
	go func() {
		defer b.running.Add(-1)
		defer far.Close()
		request := make([]byte, 1024)
		n, err := far.Read(request)
		if err != nil {
			return
		}
		b.mu.Lock()
		b.asked = string(request[:n])
		b.mu.Unlock()
		if text != "" {
			io.WriteString(far, text)
			return
		}
		far.Read(request) // silence until the checker closes
	}()
	return near, nil
}

func (b *bench) ask(e *endpoint.Endpoint) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.answer(e)
}

// say changes what every endpoint answers.
func (b *bench) say(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = func(*endpoint.Endpoint) (string, error) { return text, nil }
}

// told is the changes so far.
func (b *bench) told() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.changes)
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

// TestOwnLackIsNoVerdict: a machine without descriptors can ask nobody, and
// must not take everybody out for it.
func TestOwnLackIsNoVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := endpoints(2)
		b := run(t, spec(), list, func(*endpoint.Endpoint) (string, error) {
			return "", &stream.Fault{Kind: stream.Overloaded, Cause: errors.New("too many open files")}
		})
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if list[0].Unfit() || list[1].Unfit() || len(b.told()) != 0 || b.Stats.Bad.Load() != 0 || b.Stats.Unable.Load() < 20 {
			t.Errorf("unfit %v, told %q, bad %d, unable %d", list[0].Unfit(), b.told(), b.Stats.Bad.Load(), b.Stats.Unable.Load())
		}
		b.say("HTTP/1.1 503 Busy\r\n\r\n") // the first check that could be made decides
		time.Sleep(15 * time.Second)
		synctest.Wait()
		if !list[0].Unfit() || !list[1].Unfit() {
			t.Errorf("told %q", b.told())
		}
	})
}

func TestThresholds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := endpoints(1)
		b := run(t, spec(), list, func(*endpoint.Endpoint) (string, error) { return "HTTP/1.1 503 Busy\r\n\r\n", nil })
		synctest.Wait()
		if !list[0].Unfit() || len(b.told()) != 1 || !strings.HasSuffix(b.told()[0], "GET /ready: status 503") {
			t.Fatalf("the first check does not decide: %q", b.told())
		}
		turn := func() { // until one more result is there
			results := func() int64 { return b.Stats.Good.Load() + b.Stats.Bad.Load() }
			for before := results(); results() == before; {
				time.Sleep(100 * time.Millisecond)
			}
			synctest.Wait()
		}
		b.say(ok)
		turn()
		if !list[0].Unfit() {
			t.Fatal("one good check is enough, want 2")
		}
		turn()
		if list[0].Unfit() {
			t.Fatal("two good checks are not enough")
		}
		b.say("")
		turn()
		turn()
		b.say(ok) // an interruption: the count begins anew
		turn()
		b.say("")
		turn()
		turn()
		if list[0].Unfit() {
			t.Fatal("two bad checks in a row are enough, want 3")
		}
		turn()
		if !list[0].Unfit() {
			t.Fatal("three bad checks in a row are not enough")
		}
		if want := "10.0.0.0:8080 false: no answer within 2s"; len(b.told()) != 3 || b.told()[2] != want {
			t.Errorf("changes are %q, want %q at the end", b.told(), want)
		}
		if got := b.Stats.Changes.Load(); got != 3 {
			t.Errorf("%d changes counted", got)
		}
		want := "GET /ready HTTP/1.1\r\nHost: api.example:8080\r\nUser-Agent: weir-health\r\nAccept: */*\r\nConnection: close\r\n\r\n"
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.asked != want {
			t.Errorf("asked %q", b.asked)
		}
	})
}

// TestGoodChecksOfTheEjected are told, with whether they end a time in which the
// endpoint was unfit; those of others are not.
func TestGoodChecksOfTheEjected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := endpoints(1)
		var told []bool
		b := run(t, spec(), list, func(*endpoint.Endpoint) (string, error) { return ok, nil }, func(c *Config) {
			c.OnGood = func(_ *endpoint.Endpoint, recovered bool, _ time.Time) { told = append(told, recovered) }
		})
		next := func(count *atomic.Int64) {
			for before := count.Load(); count.Load() == before; {
				time.Sleep(100 * time.Millisecond)
			}
			synctest.Wait()
		}
		next(&b.Stats.Good)
		if len(told) != 0 {
			t.Error("told of one that is not ejected")
		}
		list[0].Eject(time.Now(), endpoint.Ejection{Length: func(int) time.Duration { return time.Hour }})
		next(&b.Stats.Good)
		b.say("HTTP/1.1 503 Busy\r\n\r\n")
		for !list[0].Unfit() {
			next(&b.Stats.Bad)
		}
		b.say(ok)
		for list[0].Unfit() {
			next(&b.Stats.Good)
		}
		next(&b.Stats.Good)
		if want := []bool{false, true, false}; !slices.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
	})
}

func TestIntervalAndJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, spec(), endpoints(1), func(*endpoint.Endpoint) (string, error) { return ok, nil })
		var last time.Time
		seen := map[time.Duration]bool{}
		for n := range int64(50) {
			for b.checks.Load() == n {
				time.Sleep(50 * time.Millisecond)
			}
			if n > 0 {
				gap := time.Since(last).Round(100 * time.Millisecond)
				if gap < 8900*time.Millisecond || gap > 11100*time.Millisecond {
					t.Errorf("checks are %v apart", gap)
				}
				seen[gap] = true
			}
			last = time.Now()
		}
		if len(seen) < 5 {
			t.Errorf("no jitter: %v", seen)
		}
	})
}

// TestManyEndpoints: as many checks run at once as are needed, no more; each
// endpoint is asked in its turn although most are dead.
func TestManyEndpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 200
		list := endpoints(n)
		b := run(t, spec(), list, func(e *endpoint.Endpoint) (string, error) {
			if e == list[0] {
				return ok, nil
			}
			return "", nil
		})
		most := int64(n*2/10 + 1)
		for range 1000 {
			synctest.Wait() // an upstream learns of the end of its check a little later
			if now := b.running.Load(); now > most {
				t.Fatalf("%d checks at once, want at most %d", now, most)
			}
			time.Sleep(60 * time.Millisecond)
		}
		if got := b.checks.Load(); got < 4*n || got > 7*n {
			t.Errorf("%d checks in a minute for %d endpoints", got, n)
		}
		if b.Stats.Late.Load() == 0 {
			t.Error("no check is counted as late")
		}
		for i, e := range list {
			if e.Unfit() != (i > 0) {
				t.Errorf("endpoint %d: unfit %v", i, e.Unfit())
			}
		}
	})
}

func TestEndpointsComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := endpoints(3)
		asked := map[string]int{}
		b := run(t, spec(), list[:2], func(e *endpoint.Endpoint) (string, error) {
			asked[e.Address]++
			return "", errors.New("connect_refused")
		})
		synctest.Wait()
		b.Update(endpoint.NewSet(list[1:]))
		synctest.Wait()
		if !list[2].Unfit() {
			t.Fatal("a new endpoint is not checked at once")
		}
		time.Sleep(time.Minute)
		b.mu.Lock()
		if asked[list[0].Address] != 1 || asked[list[1].Address] < 5 || asked[list[2].Address] < 5 {
			t.Errorf("asked %v", asked)
		}
		b.mu.Unlock()
		b.Update(endpoint.NewSet(nil))
		synctest.Wait()
		before := b.checks.Load()
		time.Sleep(time.Minute)
		if got := b.checks.Load(); got != before {
			t.Errorf("%d checks of nobody", got-before)
		}
		b.Update(endpoint.NewSet(list[:1]))
		synctest.Wait()
		if got := b.checks.Load(); got != before+1 {
			t.Errorf("%d checks after the return, want 1", got-before)
		}
	})
}

// TestEndSaysNothing: an endpoint is not unfit because its check was cut off.
func TestEndSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 20 { // select is fair, so that one round could miss it
			list := endpoints(3)
			c, err := New(Config{Spec: spec(), Dial: func(ctx context.Context, e *endpoint.Endpoint) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}})
			if err != nil {
				t.Fatal(err)
			}
			c.Update(endpoint.NewSet(list))
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			c.Run(ctx)
			cancel()
			for _, e := range list {
				if e.Unfit() {
					t.Fatal("unfit by the end of Run")
				}
			}
		}
	})
}

func TestAPanicIsABadCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := endpoints(2)
		b := run(t, spec(), list, func(e *endpoint.Endpoint) (string, error) {
			if e == list[0] {
				panic("on purpose")
			}
			return ok, nil
		})
		synctest.Wait()
		if !list[0].Unfit() || list[1].Unfit() || b.Stats.Panics.Load() != 1 {
			t.Errorf("unfit %v and %v, %d panics", list[0].Unfit(), list[1].Unfit(), b.Stats.Panics.Load())
		}
	})
}

func TestTCP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := spec()
		cfg.Type = "tcp"
		list := endpoints(2)
		run(t, cfg, list, func(e *endpoint.Endpoint) (string, error) {
			if e == list[0] {
				return "", errors.New("connect_refused: 10.0.0.0:8080")
			}
			return "", nil // silent, which is good enough
		})
		synctest.Wait()
		if st := list[0].Status(time.Now()); st.Health != endpoint.Unfit || st.Reason != "connect_refused: 10.0.0.0:8080" {
			t.Errorf("refused: %v, %q", st.Health, st.Reason)
		}
		if list[1].Unfit() {
			t.Error("connected: unfit")
		}
	})
}

func TestBadConfigIsRefused(t *testing.T) {
	for _, tt := range []struct {
		change func(*config.HealthCheck)
		want   string
	}{
		{func(c *config.HealthCheck) { c.Type = "icmp" }, "none of http, tcp, tls, grpc"},
		{func(c *config.HealthCheck) { c.Interval = 0 }, "longer than 0"},
		{func(c *config.HealthCheck) { c.Timeout = -1 }, "longer than 0"},
		{func(c *config.HealthCheck) { c.Path = "ready" }, "must begin with /"},
		{func(c *config.HealthCheck) { c.Path = "/a\r\nX: y" }, "control character"},
		{func(c *config.HealthCheck) { c.Host = "a b" }, "not a host"},
		{func(c *config.HealthCheck) { c.Status = []string{"ok"} }, `status "ok"`},
		{func(c *config.HealthCheck) { c.Status = []string{"6xx"} }, `status "6xx"`},
		{func(c *config.HealthCheck) { c.Status = []string{"20"} }, `status "20"`},
	} {
		cfg := spec()
		tt.change(&cfg)
		if _, err := New(Config{Spec: cfg}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
}

func TestStatusByDefault(t *testing.T) {
	cfg := spec()
	cfg.Status = nil
	c, err := New(Config{Spec: cfg})
	if err != nil {
		t.Fatal(err)
	}
	if !c.accepted.Has(200) || !c.accepted.Has(299) || c.accepted.Has(300) || c.accepted.Has(199) {
		t.Error("the default is not 2xx")
	}
}
