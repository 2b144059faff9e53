package transcode

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/stream"
)

const (
	askTimeout   = 10 * time.Second // for all that the upstream is asked at a time
	waitForFirst = 5 * time.Second  // how long a request waits for the first schema
	refreshAfter = 5 * time.Minute  // a schema in use is asked for again
	minBackOff   = time.Second
	maxBackOff   = time.Minute
)

// reflected is a schema that the upstream is asked for: when the first request
// needs it, then again when it is old, while the old one stays in use.
type reflected struct {
	next    stream.Service
	run     func(func()) // starts a goroutine
	options options
	current atomic.Pointer[dated]

	mu       sync.Mutex
	asking   chan struct{} // closed when the answer is there; nil: nobody asks
	failures int           // in a row
	notUntil time.Time     // after a failure
}

type dated struct {
	schema *schema
	at     time.Time
}

func newReflected(next stream.Service, run func(func()), o options) *reflected {
	return &reflected{next: next, run: run, options: o}
}

func (r *reflected) schema(ctx context.Context, req *stream.Request) (*schema, *stream.Response) {
	have := r.current.Load()
	if have != nil && time.Since(have.at) < refreshAfter {
		return have.schema, nil
	}
	done, retry := r.ask(req)
	if have != nil {
		return have.schema, nil
	}
	if done != nil {
		r.wait(ctx, done)
		if have = r.current.Load(); have != nil {
			return have.schema, nil
		}
		retry = r.retryAfter()
	}
	return nil, unavailable(retry)
}

func (r *reflected) wait(ctx context.Context, done <-chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, waitForFirst)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// ask sees to it that somebody asks. After a failure nobody does for a while;
// done is nil then, and retry how long that is.
func (r *reflected) ask(req *stream.Request) (done <-chan struct{}, retry time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asking != nil {
		return r.asking, 0
	}
	if left := time.Until(r.notUntil); left > 0 {
		return nil, left
	}
	asking := make(chan struct{})
	r.asking = asking
	q := question{next: r.next, request: reflectionRequest(req), options: r.options}
	r.run(func() {
		var answer *schema
		defer func() { r.answered(answer, asking) }() // also when this panics
		// Not the context of the request: others wait for the answer too.
		ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
		defer cancel()
		var err error
		if answer, err = q.schema(ctx); err != nil {
			slog.Warn("transcode: the upstream does not describe its services", "route", q.request.Exchange.Route.Name, "error", err)
		}
	})
	return asking, 0
}

func (r *reflected) answered(answer *schema, asking chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if answer != nil {
		r.failures, r.notUntil = 0, time.Time{}
		r.current.Store(&dated{answer, time.Now()})
	} else {
		r.notUntil = time.Now().Add(min(maxBackOff, minBackOff<<min(r.failures, 10)))
		r.failures++
	}
	r.asking = nil
	close(asking)
}

func (r *reflected) retryAfter() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Until(r.notUntil)
}

// unavailable: the request cannot be read without the schema.
func unavailable(retry time.Duration) *stream.Response {
	resp := errorResponse(nil, status{code: codeUnavailable, message: "the description of the service is not available"})
	resp.Header.AddID(stream.RetryAfter, seconds(retry))
	return resp
}

// reflectionRequest is what is kept of a request to ask in its place: whom it
// is for, not what it carries.
func reflectionRequest(req *stream.Request) *stream.Request {
	conn := *req.Conn
	own := &stream.Request{
		Method: "POST", Proto: stream.HTTP2, Conn: &conn, Client: req.Client, ID: req.ID, GRPC: stream.GRPCCall,
		Target: stream.Target{Scheme: req.Target.Scheme, Host: req.Target.Host, Port: req.Target.Port},
	}
	own.Exchange.Route = req.Exchange.Route
	return own
}
