package cluster

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/backoff"
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
	RefusedBudget // too many retries in the cluster
	NumRefusals
)

var refusals = [NumRefusals]string{"method", "attempts", "body", "deadline", "no_endpoint", "budget"}

func (r Refusal) String() string { return refusals[r] }

// retryPolicy is config.Retry for the request path.
type retryPolicy struct {
	attempts int
	connect  bool
	reset    bool
	timeout  bool
	statuses [8]uint64 // one bit for each code from 100 to 599, counted from 100
	methods  []string
	perTry   time.Duration
	backoff  backoff.Exponential
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
			p.addStatus(on)
		}
	}
	return p
}

// addStatus adds a code ("503") or a class ("5xx").
func (p *retryPolicy) addStatus(text string) {
	from, to := 0, 0
	if class, found := strings.CutSuffix(text, "xx"); found {
		n, _ := strconv.Atoi(class)
		from, to = n*100, n*100+99
	} else {
		from, _ = strconv.Atoi(text)
		to = from
	}
	for code := from; code <= to; code++ {
		if 100 <= code && code <= 599 {
			p.statuses[(code-100)/64] |= 1 << ((code - 100) % 64)
		}
	}
}

// onStatus tells whether a response with that status is to be retried.
func (p *retryPolicy) onStatus(status int) bool {
	return 100 <= status && status <= 599 && p.statuses[(status-100)/64]>>((status-100)%64)&1 == 1
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

// mayRepeat tells whether a request may be sent again, given what is known of
// the first time.
func (p *retryPolicy) mayRepeat(known stream.Retry, method string) bool {
	return known == stream.RetryUnsent || known == stream.RetryIdempotent && slices.Contains(p.methods, method)
}
