package fault

import (
	"context"
	"io"
	"testing"

	"go.uber.org/goleak"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// loaded are dice that fall as the test says; the last number stays.
type loaded struct {
	rolls  []float64
	normal float64
}

func (l *loaded) Float64() float64 {
	roll := l.rolls[0]
	if len(l.rolls) > 1 {
		l.rolls = l.rolls[1:]
	}
	return roll
}

func (l *loaded) NormFloat64() float64 { return l.normal }

// never and always are dice of which no share, or each, comes true.
func never() *loaded  { return &loaded{rolls: []float64{0.999999}} }
func always() *loaded { return &loaded{rolls: []float64{0}} }

// bench is a filter under test.
type bench struct {
	*service
	t     testing.TB
	house *filtertest.House
	next  *filtertest.Next
}

func newBench(t testing.TB, settings string, by dice) *bench {
	t.Helper()
	b := &bench{t: t, house: &filtertest.House{}, next: &filtertest.Next{}}
	b.load(settings, by)
	return b
}

// load is a reload with these settings.
func (b *bench) load(settings string, by dice) {
	b.t.Helper()
	decoded, problems := filtertest.Decode(b.t, Definition(), settings)
	if decoded == nil {
		b.t.Fatalf("%s: %v", settings, problems)
	}
	built, err := build(decoded.(Settings), b.house.Env(b.t), b.next, by)
	if err != nil {
		b.t.Fatal(err)
	}
	b.service = built.(*service)
}

// outcome is what became of a request.
type outcome struct {
	status int
	header stream.Header
	body   string
	broken error // why the body ended early
	fault  *stream.Fault
	sent   bool // the service got it
}

// ask sends a request and reads the response.
func (b *bench) ask(ctx context.Context, req *stream.Request) (out outcome) {
	b.t.Helper()
	watched := &watchedBody{Body: req.Body}
	req.Body = watched
	before := len(b.next.Got)
	resp, err := b.Serve(ctx, req)
	out.sent = len(b.next.Got) > before
	if !watched.closed {
		b.t.Error("the request body is open")
	}
	if err != nil {
		out.fault = err.(*stream.Fault)
		return out
	}
	content, err := io.ReadAll(resp.Body)
	if closed := resp.Body.Close(); closed != nil {
		b.t.Error(closed)
	}
	out.status, out.header, out.body, out.broken = resp.Status, resp.Header, string(content), err
	return out
}

func (b *bench) get(fields ...string) outcome {
	b.t.Helper()
	return b.ask(context.Background(), filtertest.Request("GET", "http://h/", fields...))
}

// counted wants the value of a counter.
func (b *bench) counted(series string, want int64) {
	b.t.Helper()
	if got := b.house.Counted(series); got != want {
		b.t.Errorf("%s is %d, want %d", series, got, want)
	}
}

func injectedBy(kind string) string { return `weir_fault_injected_total{kind="` + kind + `"}` }

type watchedBody struct {
	stream.Body
	closed bool
}

func (b *watchedBody) Close() error {
	b.closed = true
	return b.Body.Close()
}
