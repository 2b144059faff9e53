package filter

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/stream"
)

// Reference is a cluster that settings name.
type Reference struct {
	At      string // where in the settings: "to", "endpoints[1].cluster"
	Cluster string
	Secure  bool // only a cluster with TLS that verifies its endpoints will do
}

// Key is a value of requests that settings name.
type Key struct {
	At   string // where in the settings: "limits[0].key"
	Text string // in the words of internal/requestkey
}

// Keys are several at one place.
func Keys(at string, texts ...string) []Key {
	list := make([]Key, len(texts))
	for i, text := range texts {
		list[i] = Key{at, text}
	}
	return list
}

// Env is what a filter may use of the house. It is good for one route of one
// generation; filtertest.Env makes one for tests.
type Env struct {
	Route stream.Label
	// Context ends when the route is built anew or is gone: whatever runs in the
	// background ends with it. Requests may still be under way then.
	Context context.Context
	// Go starts a goroutine that has a recover boundary and ends with Context at
	// the latest.
	Go  func(func())
	Log *slog.Logger

	// Cluster is a cluster that Spec.Clusters named: one attempt for each
	// request, within timeout (0: no limit) until the head of the response.
	Cluster func(name string, timeout time.Duration) stream.Service
	// Line writes a line of the access log for a request that the filter sent by
	// itself and is done with; Exchange.Copy says what it was. It counts nothing.
	Line func(req *stream.Request)
	// Counter is the counter of that name ("weir_" and the name of the filter in
	// front, "_total" behind) and these labels (name, value, ...; fixed words
	// only); the label route is added, and from the second filter of a kind on a
	// route on the label filter. It goes on counting over generations.
	Counter func(name, help string, labels ...string) *Counter
	// Gauge shows what read returns on each scrape, which must not block.
	Gauge func(name, help string, read func() float64, labels ...string)
	// Keep is what make returned under that key in an earlier generation of the
	// route, or now. What no filter of the route asks for any more is forgotten
	// and, when it is an io.Closer, closed. The key says what the value depends
	// on: a state of other settings has another key.
	Keep func(key string, make func() any) any
	// Share is Keep for all routes: those that ask for the same key have the same
	// value. What it does in the background belongs to one of them at a time, since
	// Go ends with the route.
	Share func(key string, make func() any) any
	// Operate lets operators do something by POST /filters/FILTER/VERB on the
	// admin pages; input is a JSON value, the result becomes one.
	Operate func(verb string, run func(ctx context.Context, input []byte) (any, error))
	// Show is what GET /filters/FILTER shows of this route, or of ROUTE#2 for the
	// second filter of a kind.
	Show func(view func() any)
}

// Counter is a number that grows. It is safe for concurrent use.
type Counter struct {
	value atomic.Int64
	_     [56]byte // its neighbour is another's
}

// Add adds n, which is not negative.
func (c *Counter) Add(n int64) { c.value.Add(n) }

// Value is the sum.
func (c *Counter) Value() int64 { return c.value.Load() }
