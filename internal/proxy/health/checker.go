package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/internal/statusset"
)

// Dial connects to an endpoint, in TLS when the cluster speaks it. ctx bounds
// it, and only it.
type Dial func(ctx context.Context, e *endpoint.Endpoint) (net.Conn, error)

// Change is a new verdict about an endpoint.
type Change struct {
	Endpoint *endpoint.Endpoint
	Fit      bool
	Reason   string // what the deciding check said
}

// Config says whom to check, and how.
type Config struct {
	// Spec has every default filled in.
	Spec config.HealthCheck
	// Dial is what types http and tcp go by, Call what type grpc does, and type
	// http when it is not nil: the endpoints then speak no HTTP/1.
	Dial Dial
	Call Call
	// OnChange is called on the goroutine of Run for every change of a verdict
	// (an endpoint begins as fit). It must not block.
	OnChange func(Change)
}

// Stats are the counters of a Checker.
type Stats struct {
	Good    atomic.Int64 // checks
	Bad     atomic.Int64 // checks
	Unable  atomic.Int64 // checks that could not be made for want of something here
	Changes atomic.Int64 // of a verdict
	Late    atomic.Int64 // checks that waited because too many were under way
	Panics  atomic.Int64 // checks that panicked; they count as bad
}

// Checker checks the endpoints of one cluster.
type Checker struct {
	Stats Stats

	spec     config.HealthCheck
	accepted statusset.Set
	dial     Dial
	call     Call
	onChange func(Change)
	set      atomic.Pointer[endpoint.Set]
	changed  chan struct{} // holds a token when set was stored
}

// New makes a checker. It does nothing before Run.
func New(cfg Config) (*Checker, error) {
	c := &Checker{spec: cfg.Spec, dial: cfg.Dial, call: cfg.Call, onChange: cfg.OnChange, changed: make(chan struct{}, 1)}
	c.spec.Healthy, c.spec.Unhealthy = max(c.spec.Healthy, 1), max(c.spec.Unhealthy, 1)
	if c.spec.Interval <= 0 || c.spec.Timeout <= 0 {
		return nil, errors.New("health: interval and timeout must be longer than 0")
	}
	switch c.spec.Type {
	case "tcp":
		return c, nil
	case "grpc":
		if err := checkGRPC(c.call, c.spec.Service, c.spec.Host); err != nil {
			return nil, err
		}
		return c, nil
	case "http":
	default:
		return nil, fmt.Errorf("health: type %q is none of http, tcp and grpc", c.spec.Type)
	}
	if len(c.spec.Status) == 0 {
		c.spec.Status = []string{"2xx"}
	}
	var err error
	if c.accepted, err = statusset.Parse(c.spec.Status); err != nil {
		return nil, fmt.Errorf("health: %w", err)
	}
	if err := checkTarget(c.spec.Path, c.spec.Host); err != nil {
		return nil, err
	}
	return c, nil
}

// Update replaces the endpoints. Those that are new are checked at once; those
// that stay keep their turn.
func (c *Checker) Update(set *endpoint.Set) {
	c.set.Store(set)
	select {
	case c.changed <- struct{}{}:
	default: // a token is there already
	}
}

// Run checks until ctx ends, and returns when the last check has ended, too.
func (c *Checker) Run(ctx context.Context) {
	r := &round{c: c, known: map[*endpoint.Endpoint]*memory{}, results: make(chan result)}
	var checks sync.WaitGroup
	defer checks.Wait()
	// Derived, so that checks end before the wait when Run ends by a panic.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.start = func(m *memory) {
		checks.Go(func() {
			res := result{memory: m, err: c.check(ctx, m.endpoint)}
			if ctx.Err() != nil {
				return // the end of Run says nothing about the endpoint
			}
			select {
			case r.results <- res:
			case <-ctx.Done():
			}
		})
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.changed:
			r.adopt(c.set.Load(), time.Now())
		case res := <-r.results:
			r.judge(res, time.Now())
		case <-timer.C:
		}
		if next, any := r.startDue(time.Now()); any {
			timer.Reset(time.Until(next))
		}
	}
}
