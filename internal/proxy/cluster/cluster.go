// Package cluster turns a request into attempts at endpoints: it admits it,
// picks an endpoint for each attempt, gives the attempt its time, decides
// whether a failed one is followed by another, and takes endpoints out that
// fail too often.
//
// One file for each concern: limits.go admission, attempt.go one attempt,
// retry.go whether there is another, budget.go how many there may be,
// replay.go sending a body twice, verdict.go what an attempt says of its
// endpoint, ejection.go which are taken out, outliers.go by comparison,
// probation.go how they come back, grpc.go the deadline and the status of gRPC
// calls.
package cluster

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

// Picker picks the endpoint of an attempt. open tells that it is ejected and
// was picked because no other is left. key is the Config.HashKey of the
// request; 0: it has none. A Picker with a method Prepare is shown each set
// before it is used; one that is an observer is told how attempts went.
type Picker interface {
	Pick(set *endpoint.Set, now time.Time, tried []*endpoint.Endpoint, key uint64) (ep *endpoint.Endpoint, open bool)
}

// Config is what a cluster is made of.
type Config struct {
	Label  stream.Label
	Picker Picker
	// HashKey is what the picker goes by, not 0; ok is false for a request
	// without it. Asked once for each request; nil: the picker needs none.
	HashKey func(req *stream.Request) (key uint64, ok bool)
	// Sticky, when set, keeps sessions at their endpoints.
	Sticky *config.Sticky
	// LoadReports takes what endpoints say of their load out of responses.
	LoadReports bool
	// Go starts a goroutine; nil: there is no hedging.
	Go func(func())
	// Load admits requests; it is the one the endpoints were made with.
	Load        *endpoint.Load
	RetryBudget config.RetryBudget
	// MaxRetries is how many retries may be under way; 0: no limit.
	MaxRetries int
	Ejection   config.Ejection
	// OnHealth is told of every change that the answers of an endpoint made. It
	// is called while a request waits; nil: nobody cares.
	OnHealth func(endpoint.Event)
	Log      *slog.Logger
}

// Cluster is a running cluster. It is safe for concurrent use.
type Cluster struct {
	Stats Stats

	label  stream.Label
	picker Picker
	// observer is picker, if that learns from attempts; else nil.
	observer observer
	sticky   *sticky // nil: no sessions
	reports  bool    // load reports are read
	hashKey  func(req *stream.Request) (uint64, bool)
	load     *endpoint.Load
	start    func(func()) // a goroutine
	gate     *gate        // nil: no limits but those of load
	budget   budget
	retries  ongoing
	ejector  *ejector
	set      atomic.Pointer[endpoint.Set]
	subsets  subsets
}

// Stats counts the rare events of a cluster. Requests are counted by the
// recorder, attempts by the endpoints.
type Stats struct {
	Full   atomic.Int64 // refused: max_requests
	NoPick atomic.Int64 // no endpoint was fit
	// EndpointsFull are requests refused because every endpoint that they asked was at
	// a limit of its own.
	EndpointsFull atomic.Int64
	// SessionsLost are requests that asked for an endpoint that is not there, or may
	// not be picked.
	SessionsLost atomic.Int64
	SessionsAway atomic.Int64 // requests whose session's endpoint had no room
	ReportsBad   atomic.Int64 // load reports that could not be read
	FailOpen     atomic.Int64 // attempts at an ejected endpoint because no other was left
	Expired      atomic.Int64 // requests refused because their time was up when they came
	Hedges       atomic.Int64 // second attempts beside a slow first one
	HedgeWon     atomic.Int64 // those whose response came first

	Retries      atomic.Int64              // attempts after the first, stale connections apart
	Replaced     atomic.Int64              // attempts made again at once because a pooled connection was closed
	RetryRefused [NumRefusals]atomic.Int64 // by reason

	Ejections      atomic.Int64
	EjectionCapped atomic.Int64 // failures that would have ejected, but too many were out
}

// New makes a cluster without endpoints.
func New(cfg Config) *Cluster {
	if cfg.Load == nil {
		cfg.Load = endpoint.NewLoad(0, 0)
	}
	c := &Cluster{label: cfg.Label, picker: cfg.Picker, hashKey: cfg.HashKey, load: cfg.Load, start: cfg.Go}
	c.budget = budget{born: time.Now(), ratio: cfg.RetryBudget.Ratio, perSecond: int64(cfg.RetryBudget.MinPerSecond), repays: true}
	c.retries.max = int64(cfg.MaxRetries)
	c.ejector = newEjector(cfg.Ejection, cfg.OnHealth, &c.Stats)
	c.sticky = newSticky(cfg.Sticky, cfg.Label.Name)
	c.reports = cfg.LoadReports
	c.observer, _ = cfg.Picker.(observer)
	c.set.Store(endpoint.NewSet(nil))
	return c
}

// SetEndpoints replaces the endpoints. Requests under way finish with those
// that they have.
func (c *Cluster) SetEndpoints(set *endpoint.Set) {
	c.prepare(set)
	c.tallies(set)
	defer c.ejector.wake(time.Now()) // one that comes may be out
	if c.sticky != nil {
		c.sticky.prepare(set)
	}
	c.subsets.mu.Lock()
	defer c.subsets.mu.Unlock()
	c.set.Store(set)
	for key, known := range c.subsets.all {
		if s := known.Value(); s != nil {
			c.divide(s, set)
		} else {
			delete(c.subsets.all, key)
		}
	}
}

// Endpoints is the present set.
func (c *Cluster) Endpoints() *endpoint.Set { return c.set.Load() }

// Load is what the cluster has under way.
func (c *Cluster) Load() *endpoint.Load { return c.load }

// Policy is what a route asks of a cluster.
type Policy struct {
	Timeout  time.Duration // until the head of the response, all attempts; 0: no limit
	Retry    config.Retry
	Labels   map[string]string // only endpoints that have all of them
	Deadline *config.Deadline  // nil: clients do not say how long they wait
	Hedge    *config.Hedge     // nil: no second attempt beside the first
}

// ForRoute is the cluster as a route sees it.
func (c *Cluster) ForRoute(p Policy) stream.Service {
	return &service{
		cluster: c, timeout: p.Timeout, retry: compileRetry(p.Retry), deadline: compileDeadline(p.Deadline), hedge: newHedge(p.Hedge, time.Now()),
		subset: c.choose(p.Labels),
	}
}

type service struct {
	cluster  *Cluster
	timeout  time.Duration
	retry    retryPolicy
	deadline deadlinePolicy
	hedge    *hedge  // nil: none
	subset   *subset // nil: all endpoints
}

// Serve implements stream.Service.
func (s *service) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	c := s.cluster
	req.Exchange.Cluster = c.label
	now := time.Now()
	end, f := c.callEnd(req, now)
	if f != nil {
		_ = req.Body.Close()
		return nil, f
	}
	client, f := s.clientEnd(req, now)
	if f != nil {
		_ = req.Body.Close()
		return nil, f
	}
	x := exchange{service: s, ctx: ctx, req: req, body: req.Body, limit: "timeout"}
	if s.timeout > 0 {
		x.end = now.Add(s.timeout)
	}
	if !client.IsZero() && (x.end.IsZero() || client.Before(x.end)) {
		x.end, x.limit = client, s.deadline.limit
	}
	if !end.IsZero() {
		x.bound(end)
	}
	if c.gate != nil {
		return x.gated(now)
	}
	if !c.load.Enter() {
		x.call.release()
		return nil, c.full(req)
	}
	c.budget.request(now)
	return x.run(now)
}

// Guard gives the cluster more limits than those of its load. It is called
// before the first request; an error is a defect of the document.
func (c *Cluster) Guard(g Gates, log *slog.Logger) (err error) {
	c.gate, err = newGate(g, c.capacity, log.With("cluster", c.label.Name), time.Now())
	return err
}
