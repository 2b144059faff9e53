package cluster

import (
	"strconv"
	"time"

	"github.com/weirproxy/weir/internal/grpcstatus"
	"github.com/weirproxy/weir/stream"
)

// says is what an attempt says of its endpoint.
type says uint8

const (
	silent says = iota // nothing
	good               // it does what it is for
	poor               // it answers, with an error that may be the request's
	bad                // it fails
)

// verdict is what an attempt says of its endpoint, and what it was that said so:
// a fault, a status of gRPC, or a status.
type verdict struct {
	says   says
	fault  *stream.Fault
	isGRPC bool
	status int
}

// reason is why it is not good, in words.
func (v verdict) reason() string {
	switch {
	case v.fault != nil:
		return v.fault.Kind.String()
	case v.isGRPC:
		return "gRPC status " + grpcstatus.Name(uint8(v.status))
	}
	return "status " + strconv.Itoa(v.status)
}

// blames tells whether a fault speaks against the endpoint. One of the client,
// or of Weir itself, never does; nor a time that was up before anything was
// sent.
func blames(f *stream.Fault) bool {
	switch f.Kind {
	case stream.NameUnresolved, stream.ConnectRefused, stream.ConnectTimeout, stream.ConnectFailed, stream.TLSFailed,
		stream.UpstreamClosed, stream.UpstreamReset, stream.UpstreamTooSlow:
		return true
	case stream.UpstreamTimeout:
		return f.Retry != stream.RetryUnsent
	}
	return false
}

// blamesStatus tells whether a status speaks against the endpoint.
func blamesStatus(status int) bool { return status == 502 || status == 503 || status == 504 }

// judge tells the endpoint how it did.
func (x *exchange) judge(resp *stream.Response, f *stream.Fault, now time.Time) {
	v := x.verdict(resp, f, now)
	if x.trial.Endpoint == x.ep {
		x.judgeTrial(v, now.Sub(x.began), now)
		return
	}
	switch v.says {
	case bad:
		x.cluster.ejector.failed(x.cluster.set.Load(), x.ep, now, v)
	case good, poor:
		x.ep.Succeeded()
	}
}

func (x *exchange) verdict(resp *stream.Response, f *stream.Fault, now time.Time) verdict {
	if f != nil {
		// What the client left no time for speaks against nobody.
		if x.ctx.Err() == nil && !x.call.over(now) && blames(f) && !stale(x.req, f) {
			return verdict{says: bad, fault: f}
		}
		return verdict{}
	}
	code, isEarly := early(x.req, resp)
	switch {
	case isEarly && code == grpcstatus.DeadlineExceeded && x.call != nil:
		return verdict{} // the client's deadline: it says nothing of the endpoint
	case isEarly && blamesGRPC(code):
		return verdict{says: bad, isGRPC: true, status: int(code)}
	case blamesStatus(resp.Status):
		return verdict{says: bad, status: resp.Status}
	case isEarly && errsGRPC(code):
		return verdict{says: poor, isGRPC: true, status: int(code)}
	case resp.Status >= 500:
		return verdict{says: poor, status: resp.Status}
	}
	return verdict{says: good}
}
