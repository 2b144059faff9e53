package mirror

import (
	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/stream"
)

// reason is why a request of the share is not copied.
type reason uint8

const (
	none reason = iota
	otherMethod
	upgrade
	connect
	grpcWeb
	marked
	bodyTooLarge
	bodyIncomplete
	unredactable
	overConcurrent
	overBytes
	noAnswer // a defect: a stage behind this filter panicked
	numReasons
)

var reasonNames = [numReasons]string{
	otherMethod: "method", upgrade: "upgrade", connect: "connect", grpcWeb: "grpc_web", marked: "marked",
	bodyTooLarge: "body_too_large", bodyIncomplete: "body_incomplete", unredactable: "unredactable",
	overConcurrent: "over_concurrent", overBytes: "over_bytes", noAnswer: "no_answer",
}

func (r reason) String() string { return reasonNames[r] }

// unfit is why the request itself cannot be copied. What a tunnel carries depends
// on the answers of the one upstream, so that a copy would not be one. The
// messages of a gRPC call are copied as they came, all of them at once. gRPC-Web
// is for a filter to translate, which stands in front of this one then.
func (s *service) unfit(req *stream.Request) reason {
	switch {
	case req.Method == "CONNECT":
		return connect
	case req.Upgrade != "":
		return upgrade
	case req.GRPC != stream.NotGRPC && req.GRPC != stream.GRPCCall:
		return grpcWeb
	case !s.copies(req.Method):
		return otherMethod
	case req.Header.Count(mark) > 0:
		return marked
	}
	return none
}

func (s *service) copies(method string) bool {
	for _, m := range s.methods {
		if m == method {
			return true
		}
	}
	return false
}

// outcome is what became of a copy that was sent.
type outcome uint8

const (
	answered outcome = iota
	failed
	timedOut
	ended // the route was built anew, or is gone
	numOutcomes
)

var outcomeNames = [numOutcomes]string{answered: "answered", failed: "failed", timedOut: "timeout", ended: "ended"}

// counts are the counters of a route.
type counts struct {
	copies   [numOutcomes]*filter.Counter
	uncopied [numReasons]*filter.Counter
}

func newCounts(to string, env filter.Env) counts {
	var c counts
	for o, name := range outcomeNames {
		c.copies[o] = env.Counter("weir_mirror_copies_total", "Copies that were sent to the shadow, by how it went.", "cluster", to, "outcome", name)
	}
	for r := none + 1; r < numReasons; r++ {
		c.uncopied[r] = env.Counter("weir_mirror_uncopied_total", "Requests of the share that were not copied, by reason.", "cluster", to, "reason", r.String())
	}
	return c
}
