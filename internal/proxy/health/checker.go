package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/internal/statusset"
)

// Dial connects to an endpoint, in TLS when the cluster speaks it. ctx bounds
// it, and only it.
type Dial func(ctx context.Context, e *endpoint.Endpoint) (net.Conn, error)

// Config says whom to check, and how.
type Config struct {
	// Spec has every default filled in.
	Spec config.HealthCheck
	// Dial is what types http, tcp, tls and redis go by, Call what type grpc does,
	// and type http when it is not nil: the endpoints then speak no HTTP/1.
	Dial Dial
	Call Call
	// Plain connects without TLS, for type postgres, which asks for TLS on the
	// connection; Secure then begins it, or is nil. It closes nc when it fails.
	Plain  Dial
	Secure func(ctx context.Context, nc net.Conn, e *endpoint.Endpoint) (net.Conn, error)
	// Password is what type redis logs in with; empty: it does not.
	Password snapshot.Material
	// OnChange is called on the goroutine of Run for every change of a verdict
	// (an endpoint begins as fit). It must not block.
	OnChange func(endpoint.Event)
	// OnGood is called there, too, for every check that succeeds at an endpoint that
	// is fit by the checks and ejected. recovered: it ends a time in which it was
	// unfit. May be nil.
	OnGood func(ep *endpoint.Endpoint, recovered bool, now time.Time)
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
	plain    Dial
	secure   func(ctx context.Context, nc net.Conn, e *endpoint.Endpoint) (net.Conn, error)
	call     Call
	password snapshot.Material
	onChange func(endpoint.Event)
	onGood   func(ep *endpoint.Endpoint, recovered bool, now time.Time)
	set      atomic.Pointer[endpoint.Set]
	changed  chan struct{} // holds a token when set was stored
}

// New makes a checker. It does nothing before Run.
func New(cfg Config) (*Checker, error) {
	c := &Checker{
		spec: cfg.Spec, dial: cfg.Dial, plain: cfg.Plain, secure: cfg.Secure, call: cfg.Call, password: cfg.Password,
		onChange: cfg.OnChange, onGood: cfg.OnGood, changed: make(chan struct{}, 1),
	}
	c.spec.Healthy, c.spec.Unhealthy = max(c.spec.Healthy, 1), max(c.spec.Unhealthy, 1)
	if c.spec.Interval <= 0 || c.spec.Timeout <= 0 {
		return nil, errors.New("health: interval and timeout must be longer than 0")
	}
	if err := c.prepare(); err != nil {
		return nil, err
	}
	return c, nil
}

// prepare checks what the type goes by.
func (c *Checker) prepare() error {
	switch c.spec.Type {
	case "tcp", "tls", "redis":
		return nil
	case "postgres":
		if strings.ContainsRune(c.spec.User+c.spec.Database, 0) {
			return errors.New("health: user and database hold no NUL")
		}
		return nil
	case "grpc":
		return checkGRPC(c.call, c.spec.Service, c.spec.Host)
	case "http":
		return c.prepareHTTP()
	}
	return fmt.Errorf("health: type %q is none of http, tcp, tls, grpc, redis and postgres", c.spec.Type)
}

func (c *Checker) prepareHTTP() (err error) {
	if len(c.spec.Status) == 0 {
		c.spec.Status = []string{"2xx"}
	}
	if c.accepted, err = statusset.Parse(c.spec.Status); err != nil {
		return fmt.Errorf("health: %w", err)
	}
	return checkTarget(c.spec.Path, c.spec.Host)
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
		now := time.Now()
		r.look(now)
		if next, any := r.startDue(now); any {
			timer.Reset(time.Until(r.sooner(next)))
		}
	}
}
