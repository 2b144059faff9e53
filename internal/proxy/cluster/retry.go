package cluster

import (
	"slices"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/backoff"
	"github.com/weirproxy/weir/internal/grpcstatus"
	"github.com/weirproxy/weir/internal/statusset"
	"github.com/weirproxy/weir/stream"
)

// Refusal is why an attempt that failed in a way that is to be retried was not
// followed by another.
type Refusal uint8

// The refusals, in the order in which they are checked.
const (
	RefusedMethod   Refusal = iota // the upstream may have acted, and the method may not be sent twice
	RefusedAttempts                // all attempts were made
	RefusedBody                    // too much of the body was sent to have been kept
	RefusedDeadline                // no time left
	RefusedNoEndpoint
	RefusedBudget     // too many retries in the cluster
	RefusedHop        // another proxy on the way retries
	RefusedRetryAfter // the endpoint asks for a longer wait than is waited for
	RefusedFull       // every endpoint is at a limit of its own
	RefusedMaxRetries // as many retries are under way as may be
	NumRefusals
)

var refusals = [NumRefusals]string{"method", "attempts", "body", "deadline", "no_endpoint", "budget", "hop", "retry_after", "full", "max_retries"}

func (r Refusal) String() string { return refusals[r] }

// retryPolicy is config.Retry for the request path.
type retryPolicy struct {
	attempts int
	connect  bool
	reset    bool
	timeout  bool
	statuses statusset.Set
	grpc     grpcstatus.Set
	methods  []string
	perTry   time.Duration
	backoff  backoff.Exponential
	longest  time.Duration // Retry-After that is waited for
	maxBody  int
}

// compileRetry prepares a policy; what cannot be read is left out, the compile
// stage has refused it.
func compileRetry(r config.Retry) retryPolicy {
	p := retryPolicy{
		attempts: max(r.Attempts, 1),
		methods:  r.Methods,
		perTry:   time.Duration(r.PerTry),
		backoff:  backoff.Exponential{Base: time.Duration(r.BackoffBase), Max: time.Duration(r.BackoffMax)},
		longest:  time.Duration(r.RetryAfterMax),
		maxBody:  int(r.MaxBody),
	}
	for _, on := range r.On {
		switch on {
		case "connect":
			p.connect = true
		case "reset":
			p.reset = true
		case "timeout":
			p.timeout = true
		default:
			if !p.grpc.Add(on) {
				_ = p.statuses.Add(on)
			}
		}
	}
	return p
}

// onFault tells whether a fault is to be retried.
func (p *retryPolicy) onFault(f *stream.Fault) bool {
	if f.Retry == stream.RetryNever {
		return false
	}
	switch f.Kind {
	case stream.NameUnresolved, stream.ConnectRefused, stream.ConnectTimeout, stream.ConnectFailed, stream.TLSFailed:
		return p.connect
	case stream.UpstreamClosed, stream.UpstreamReset:
		return p.reset
	case stream.UpstreamTimeout, stream.UpstreamTooSlow:
		return p.timeout
	}
	return false
}

// onResponse tells whether a response is to be retried, and what is known then.
//
// A gRPC status that the document lists permits another attempt although the
// method is POST: every gRPC call is, so that the method says nothing, and a
// Trailers-Only response has passed no message on. Who lists a status that an
// upstream gives after it has acted asks for it to act twice.
func (p *retryPolicy) onResponse(req *stream.Request, resp *stream.Response) (known stream.Retry, wanted bool) {
	if resp == nil {
		return stream.RetryNever, false
	}
	if code, ok := early(req, resp); ok && p.grpc.Has(code) {
		return stream.RetryUnsent, true
	}
	return stream.RetryIdempotent, p.statuses.Has(resp.Status)
}

// mayRepeat tells whether a request may be sent again, given what is known of
// the first time.
func (p *retryPolicy) mayRepeat(known stream.Retry, method string) bool {
	return known == stream.RetryUnsent || known == stream.RetryIdempotent && slices.Contains(p.methods, method)
}
