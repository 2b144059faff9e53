package cluster

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// upstream is a transport whose answers a test writes.
type upstream struct {
	ep    *endpoint.Endpoint
	serve func(ctx context.Context, req *stream.Request) (*stream.Response, error)

	mu     sync.Mutex
	bodies []string // what each attempt read
	fresh  []bool
}

// Serve keeps the contract of endpoint.Transport around u.serve.
func (u *upstream) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	defer req.Body.Close()
	u.mu.Lock()
	u.fresh = append(u.fresh, req.Fresh)
	u.mu.Unlock()
	return u.serve(ctx, req)
}

func (u *upstream) Drain()                        {}
func (u *upstream) Connections() (open, idle int) { return 0, 0 }

// read takes the whole body, as a client half would.
func (u *upstream) read(req *stream.Request) error {
	content, err := io.ReadAll(req.Body)
	u.mu.Lock()
	u.bodies = append(u.bodies, string(content))
	u.mu.Unlock()
	return err
}

// respond is a response whose exchange ends when its body is closed.
func (u *upstream) respond(status int) *stream.Response {
	return &stream.Response{Status: status, Body: &ending{Body: stream.NoBody, end: u.ep.Ended}}
}

type ending struct {
	stream.Body
	end  func()
	once sync.Once
}

func (e *ending) Close() error { e.once.Do(e.end); return nil }

// always answers every attempt with a status.
func (u *upstream) always(status int) {
	u.serve = func(context.Context, *stream.Request) (*stream.Response, error) { return u.respond(status), nil }
}

// fails ends every attempt with a fault.
func (u *upstream) fails(kind stream.Kind, retry stream.Retry) {
	u.serve = func(context.Context, *stream.Request) (*stream.Response, error) {
		return nil, &stream.Fault{Kind: kind, Retry: retry}
	}
}

// order picks the first available endpoint with room that was not tried, then the
// first available, then, open, the first that is not unfit.
type order struct{}

func (order) Pick(set *endpoint.Set, now time.Time, tried []*endpoint.Endpoint, _ uint64) (*endpoint.Endpoint, bool) {
	var again, ejected *endpoint.Endpoint
	for _, ep := range set.All() {
		was := false
		for _, t := range tried {
			was = was || t == ep
		}
		switch {
		case ep.Available(now) && ep.HasRoom() && !was:
			return ep, false
		case ep.Available(now) && again == nil:
			again = ep
		case !ep.Unfit() && ejected == nil:
			ejected = ep
		}
	}
	if again != nil {
		return again, false
	}
	return ejected, ejected != nil
}

// fixture is a cluster with upstreams "a", "b", ... that answer 200.
type fixture struct {
	*Cluster
	up []*upstream
}

func newFixture(n int, change func(*Config)) *fixture {
	cfg := Config{
		Label:       stream.Label{Name: "api", Handle: 3},
		Picker:      order{},
		Load:        endpoint.NewLoad(0, 0),
		RetryBudget: config.RetryBudget{Ratio: 1, MinPerSecond: 1000},
	}
	if change != nil {
		change(&cfg)
	}
	f := &fixture{Cluster: New(cfg)}
	var list []*endpoint.Endpoint
	for i := range n {
		ep := endpoint.New(endpoint.Spec{Network: "tcp", Address: string(rune('a' + i)), Weight: 1}, cfg.Load, time.Now())
		u := &upstream{ep: ep}
		u.always(200)
		ep.Transport = u
		f.up = append(f.up, u)
		list = append(list, ep)
	}
	f.SetEndpoints(endpoint.NewSet(list))
	return f
}

func request(method string) *stream.Request {
	return &stream.Request{Method: method, Body: stream.NoBody, Conn: &stream.Conn{ID: 1}}
}

// retries is a policy without waits.
func retries(attempts int, on ...string) Policy {
	return Policy{Timeout: time.Minute, Retry: config.Retry{
		Attempts: attempts, On: on, Methods: []string{"GET", "HEAD", "PUT"}, MaxBody: 64 << 10,
	}}
}

// quiet fails the test when something was not given back.
func (f *fixture) quiet(t *testing.T) {
	t.Helper()
	if n := f.Load().Requests(); n != 0 {
		t.Errorf("%d requests still have a place", n)
	}
	for _, u := range f.up {
		if n := u.ep.InFlight(); n != 0 {
			t.Errorf("%d attempts at %s are still under way", n, u.ep.Address)
		}
	}
}

// outcome is a result in one word: status or reason.
func outcome(resp *stream.Response, err error) string {
	if (resp == nil) == (err == nil) {
		return fmt.Sprintf("response %v and error %v", resp, err)
	}
	if err != nil {
		return err.(*stream.Fault).Kind.String()
	}
	resp.Body.Close()
	return fmt.Sprint(resp.Status)
}

// streamed is a body that comes in pieces and is never in memory.
type streamed struct {
	io.Reader
	closed bool
}

func newStreamed(content string) *streamed {
	return &streamed{Reader: io.MultiReader(strings.NewReader(content[:len(content)/2]), strings.NewReader(content[len(content)/2:]))}
}

func (s *streamed) Close() error            { s.closed = true; return nil }
func (s *streamed) Trailer() *stream.Header { return nil }
