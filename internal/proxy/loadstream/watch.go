// Package loadstream asks each endpoint of a cluster for a stream of load reports
// (xds.service.orca.v3.OpenRcaService, "out of band"), which come whether there
// are requests or not.
//
// An endpoint has one goroutine, which opens its stream, reads it, and opens it
// anew when it has ended. It believes nothing of what comes: messages are bounded
// in size and number, and a stream that is silent is given up. Weights are made of
// the reports elsewhere (internal/endpoint). The engine brings the exchange.
package loadstream

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

// Call makes one exchange with an endpoint, over a connection of its own. It is an
// attempt that counts nowhere: req.Deadline bounds it up to the head of the
// response, ctx to the end. It closes req.Body on every path; the caller closes
// the response's.
type Call func(ctx context.Context, e *endpoint.Endpoint, req *stream.Request) (*stream.Response, error)

// Config says what to ask for.
type Config struct {
	Interval time.Duration // between two reports; more than 0
	Silence  time.Duration // the longest time without one; more than 0
	Call     Call
	Log      *slog.Logger
}

// Stats are the counters of a Watcher.
type Stats struct {
	Open    atomic.Int64 // streams that report now
	Opened  atomic.Int64 // streams that had a first report
	Reports atomic.Int64
	Bad     atomic.Int64 // messages that are no report, too large or too many
	Failed  atomic.Int64 // streams that ended, or could not be opened, for any reason
	Panics  atomic.Int64 // they count as failed
}

// atOnce is how many streams are being opened at once.
const atOnce = 64

// Watcher keeps a stream to each endpoint of one cluster.
type Watcher struct {
	Stats Stats

	cfg     Config
	opening chan struct{} // holds a token for each stream that is being opened
	set     atomic.Pointer[endpoint.Set]
	changed chan struct{} // holds a token when set was stored

	mu     sync.Mutex
	states map[*endpoint.Endpoint]string // why there is no stream; "": there is. Guarded by mu
}

// New makes a watcher. It does nothing before Run.
func New(cfg Config) *Watcher {
	return &Watcher{
		cfg: cfg, opening: make(chan struct{}, atOnce), changed: make(chan struct{}, 1), states: map[*endpoint.Endpoint]string{},
	}
}

// Update replaces the endpoints. Streams to those that stay go on.
func (w *Watcher) Update(set *endpoint.Set) {
	w.set.Store(set)
	select {
	case w.changed <- struct{}{}:
	default: // a token is there already
	}
}

// State is why there is no stream to an endpoint, in words; "": it reports.
func (w *Watcher) State(e *endpoint.Endpoint) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if why, known := w.states[e]; known {
		return why
	}
	return notYet
}

const notYet = "not opened yet"

// Run watches until ctx ends, and returns when the last stream has ended, too.
func (w *Watcher) Run(ctx context.Context) {
	var streams sync.WaitGroup
	defer streams.Wait()
	// Derived, so that streams end before the wait when Run ends by a panic.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	running := map[*endpoint.Endpoint]context.CancelFunc{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.changed:
		}
		set := w.set.Load()
		stays := make(map[*endpoint.Endpoint]bool, len(set.All()))
		for _, e := range set.All() {
			if stays[e] = true; running[e] == nil {
				one, stop := context.WithCancel(ctx)
				running[e] = stop
				streams.Go(func() { w.watch(one, e) })
			}
		}
		for e, stop := range running {
			if !stays[e] {
				stop()
				delete(running, e)
			}
		}
	}
}

// become notes why there is no stream to an endpoint, and tells whether that is
// news.
func (w *Watcher) become(e *endpoint.Endpoint, why string) (news bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	last, known := w.states[e]
	w.states[e] = why
	return !known || last != why
}

func (w *Watcher) forget(e *endpoint.Endpoint) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.states, e)
}
