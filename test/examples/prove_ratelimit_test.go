package examples

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	servicev3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weirproxy/weir/internal/redis/redistest"
)

func proveRateLimit(t *testing.T, x *running) {
	for i := range 5 {
		a := x.get("/", "Cookie", "session=s") // the shadow limit refuses nothing
		x.want("within the burst", a, 200)
		x.equal("what is left", a.header.Get("RateLimit-Remaining"), strconv.Itoa(4-i))
	}
	a := x.get("/")
	x.want("beyond the burst", a, 429)
	x.equal("what is left", a.header.Get("RateLimit-Remaining"), "0")
	wait, err := strconv.Atoi(a.header.Get("Retry-After"))
	if err != nil || wait < 1 || wait > 2 {
		t.Errorf("Retry-After: %q, want a rate of 30/m", a.header.Get("Retry-After"))
	}
}

// holding serves sizes by path, and holds /held until the test lets go.
type holding struct{ came, leave chan struct{} }

func (h *holding) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sizes := map[string]int{"/large": 1_300_000, "/huge": 30_000_000}
	if r.URL.Path == "/held" {
		h.came <- struct{}{}
		<-h.leave
	}
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Length", strconv.Itoa(sizes[r.URL.Path]))
	_, _ = io.CopyN(w, zeros{}, int64(sizes[r.URL.Path]))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func setupLimits(t *testing.T) map[string]string {
	return map[string]string{public: anywhere, "127.0.0.1:9001": serve(t, http.NotFoundHandler())}
}

func proveLimits(t *testing.T, _ *running) {
	h := &holding{make(chan struct{}), make(chan struct{})}
	x := exampleWith(t, "limits.yaml", "127.0.0.1:9001", serve(t, h), map[string]string{public: anywhere})
	begun := time.Now()
	x.want("1.3 MB", x.get("/large"), 200)
	if took := time.Since(begun); took < 250*time.Millisecond {
		t.Errorf("1.3 MB took %v, want 0.3 s: 1 MB is there at once, then 1 MB/s", took)
	}
	x.want("30 MB", x.get("/huge"), 502)
	x.want("an upload of 200 KB", x.ask(call{method: "POST", path: "/", body: strings.Repeat("0", 200_000)}), 413)
	// A weir of its own: a request counts until just behind its last byte.
	x = exampleWith(t, "limits.yaml", "127.0.0.1:9001", serve(t, h), map[string]string{public: anywhere})
	var held sync.WaitGroup
	for range 2 {
		held.Go(func() {
			if a, err := x.try(call{path: "/held"}); err != nil || a.status != 200 {
				t.Errorf("held: %d, %v", a.status, err)
			}
		})
		<-h.came
	}
	x.want("the third at a time", x.get("/"), 429)
	close(h.leave)
	held.Wait()
}

const sharedStore = "127.0.0.1:6379"

func setupRateLimitShared(t *testing.T) map[string]string {
	server := redistest.New(t)
	server.Start()
	replace := oneUpstream(t)
	replace[sharedStore] = server.Address()
	return replace
}

// proveRateLimitShared: two proxies and one that comes later let through what one
// would, and without the store each limits by itself.
func proveRateLimitShared(t *testing.T, _ *running) {
	server := redistest.New(t)
	reached := func(x *running) *running {
		if !x.stderr.await("the store is reached") {
			t.Fatalf("weir did not reach the store:\n%s", x.stderr.String())
		}
		return x
	}
	join := func() *running {
		return exampleWith(t, "rate-limit-redis.yaml", sharedStore, server.Address(), oneUpstream(t))
	}
	alone := join()
	for i := range 6 {
		want := 200
		if i == 5 {
			want = 429
		}
		alone.want("without the store", alone.get("/"), want)
	}
	server.Start()
	reached(alone)
	passed := 0
	for range 3 {
		x := reached(join())
		for range 6 {
			if a := x.get("/"); a.status == 200 {
				passed++
			} else {
				x.want("beyond the burst", a, 429)
			}
		}
	}
	if passed != 5 {
		t.Errorf("%d requests passed three proxies, want 5", passed)
	}
}

// limiter is a rate limit service that allows three requests to each tenant.
type limiter struct {
	servicev3.UnimplementedRateLimitServiceServer
	mu   sync.Mutex
	seen map[string]uint32
}

func (l *limiter) ShouldRateLimit(_ context.Context, req *servicev3.RateLimitRequest) (*servicev3.RateLimitResponse, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	const limit = 3
	e := req.GetDescriptors()[0].GetEntries()[0]
	l.seen[req.GetDomain()+" "+e.GetKey()+" "+e.GetValue()]++
	code, left := servicev3.RateLimitResponse_OK, limit-int(l.seen[req.GetDomain()+" "+e.GetKey()+" "+e.GetValue()])
	if left < 0 {
		code, left = servicev3.RateLimitResponse_OVER_LIMIT, 0
	}
	return &servicev3.RateLimitResponse{OverallCode: code, Statuses: []*servicev3.RateLimitResponse_DescriptorStatus{{
		Code: code, LimitRemaining: uint32(left), DurationUntilReset: durationpb.New(30 * time.Second),
		CurrentLimit: &servicev3.RateLimitResponse_RateLimit{RequestsPerUnit: limit, Unit: servicev3.RateLimitResponse_RateLimit_MINUTE},
	}}}, nil
}

const limitService = "127.0.0.1:8081"

func setupRateLimitService(t *testing.T) map[string]string {
	server := grpc.NewServer()
	servicev3.RegisterRateLimitServiceServer(server, &limiter{seen: map[string]uint32{}})
	ln := listen(t)
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(server.Stop)
	replace := oneUpstream(t)
	replace[limitService], replace["50ms"] = ln.Addr().String(), "10s" // a machine that is busy must not fail the test
	return replace
}

func proveRateLimitService(t *testing.T, x *running) {
	for i := range 5 {
		a := x.get("/", "X-Tenant", "a")
		want, left := 200, strconv.Itoa(2-i)
		if i > 2 {
			want, left = 429, "0"
		}
		x.want("tenant a", a, want)
		x.equal("what is left", a.header.Get("RateLimit-Remaining"), left)
		if want == 429 {
			x.equal("the wait", a.header.Get("Retry-After"), "30")
		}
	}
	x.want("tenant b", x.get("/", "X-Tenant", "b"), 200)
	for range 5 {
		x.want("no tenant, which nobody is asked about", x.get("/"), 200)
	}
}
