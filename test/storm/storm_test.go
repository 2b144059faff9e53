package storm

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirproxy/weir/test/process"
)

func TestMain(m *testing.M) { process.Main(m) }

// leaf is the service: it counts what it is asked in each second.
type leaf struct {
	broken atomic.Bool
	mu     sync.Mutex
	asked  map[int64]int // by second
}

func (l *leaf) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	l.mu.Lock()
	l.asked[time.Now().Unix()]++
	l.mu.Unlock()
	if l.broken.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

func document(dir, endpoint string) string {
	return fmt.Sprintf(`
admin: {address: "unix:%s"}
access_log: {to: "off"}
listeners: [{name: front, address: "127.0.0.1:0"}]
routes:
  - name: all
    retry: {attempts: 3, on: [connect, reset, 5xx], backoff_base: 1ms, backoff_max: 5ms}
    to: [{cluster: next}]
clusters:
  - name: next
    endpoints: [%q]
    retry_budget: {ratio: 0.2, min_per_second: 0}
    ejection: {consecutive: 0}
`, process.AdminSocket(dir), endpoint)
}

// start runs a tier in front of an endpoint.
func start(t *testing.T, endpoint string) (address string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir") // short: the name of a socket is bounded
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := process.Start(t, dir, document(dir, endpoint))
	t.Cleanup(func() { p.Stop(t) })
	return p.Address(t, "front")
}

const rate = 200 // requests a second

// load sends rate requests a second for some seconds and counts the statuses,
// and what was sent in each second.
func load(t *testing.T, client *http.Client, url string, seconds int) (statuses map[int]int, sent map[int64]int) {
	t.Helper()
	statuses, sent = map[int]int{}, map[int64]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	tick := time.NewTicker(time.Second / rate)
	defer tick.Stop()
	for range rate * seconds {
		<-tick.C
		sent[time.Now().Unix()]++
		all.Go(func() {
			resp, err := client.Get(url)
			status := 0
			if err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				status = resp.StatusCode
			}
			mu.Lock()
			defer mu.Unlock()
			statuses[status]++
		})
	}
	all.Wait()
	return statuses, sent
}

// TestRetryStorm: a service behind three proxies that all retry is well, then
// fails every request, then is well again. It never gets more than 1.2 times
// what the clients send, in each second (and what falls from one second into the
// next) and in sum over the failure. As soon as it is well again every request
// succeeds, without anybody's help.
func TestRetryStorm(t *testing.T) {
	service := &leaf{asked: map[int64]int{}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: service}
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(func() { server.Close() })
	edge := "http://" + start(t, start(t, start(t, ln.Addr().String()))) + "/"
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	defer client.CloseIdleConnections()

	phase := func(broken bool, seconds int) map[int]int {
		t.Helper()
		service.broken.Store(broken)
		service.mu.Lock()
		service.asked = map[int64]int{}
		service.mu.Unlock()
		statuses, sent := load(t, client, edge, seconds)
		service.mu.Lock()
		defer service.mu.Unlock()
		asked := 0
		for second, n := range service.asked {
			asked += n
			// A request may be sent in one second and arrive in the next.
			if most := 1.2 * float64(max(sent[second], sent[second-1])+rate/10); float64(n) > most {
				t.Errorf("broken %v: %d requests in a second in which clients sent %d", broken, n, sent[second])
			}
		}
		if most := rate * seconds * 12 / 10; asked > most {
			t.Errorf("broken %v: %d requests for %d of clients", broken, asked, rate*seconds)
		}
		t.Logf("broken %v: %d requests for %d of clients, statuses %v", broken, asked, rate*seconds, statuses)
		return statuses
	}
	if got := phase(false, 3); got[200] != rate*3 {
		t.Errorf("well: %v", got)
	}
	if got := phase(true, 6); got[503] != rate*6 {
		t.Errorf("broken: %v", got)
	}
	if got := phase(false, 3); got[200] != rate*3 {
		t.Errorf("well again: %v", got)
	}
}
