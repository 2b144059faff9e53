package compile

import (
	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/breaker"
	"github.com/weirproxy/weir/internal/requestkey"
)

// checkGates looks at the limits of a cluster beyond its numbers.
func checkGates(spec *config.Cluster, r *config.Report) {
	checkLimits(&spec.Limits, r.Below("limits"))
	if spec.Breaker != nil {
		checkBreaker(spec.Breaker, r.Below("breaker"))
	}
	if spec.Admission != nil {
		checkAdmission(spec.Admission, r.Below("admission"))
	}
	if spec.Adaptive != nil {
		checkAdaptive(spec, r.Below("adaptive"))
	}
	if spec.Queue != nil {
		needed(r, "queue.timeout", spec.Queue.Timeout)
	}
	if spec.Fair != nil {
		if _, err := requestkey.Parse(spec.Fair.Key); err != nil {
			r.Errorf("fair.key", "write client, header:NAME, cookie:NAME, query:NAME or claim:NAME", "fair: %v", err)
		}
	}
}

// checkLimits looks at limits that are never reached.
func checkLimits(l *config.ClusterLimits, r *config.Report) {
	if l.MaxRetries > l.MaxRequests {
		r.Warnf("max_retries", "make it smaller than max_requests", "max_retries (%d) is larger than max_requests (%d), and is never reached", l.MaxRetries, l.MaxRequests)
	}
	each := l.Endpoint
	if each == nil {
		return
	}
	r = r.Below("endpoint")
	if each.MaxRequests > l.MaxRequests {
		r.Warnf("max_requests", "make it smaller than limits.max_requests", "max_requests (%d) of each endpoint is larger than that of the cluster (%d), and is never reached", each.MaxRequests, l.MaxRequests)
	}
	if each.MaxConnections > l.MaxConnections {
		r.Warnf("max_connections", "make it smaller than limits.max_connections", "max_connections (%d) of each endpoint is larger than that of the cluster (%d), and is never reached", each.MaxConnections, l.MaxConnections)
	}
	if *each == (config.EndpointLimits{}) {
		r.Warnf("", "write for example max_requests: 100, or remove it", "endpoint limits nothing")
	}
}

func checkBreaker(b *config.Breaker, r *config.Report) {
	if _, err := breaker.Parse(b.When); err != nil {
		r.Errorf("when", "write for example error_ratio > 0.5", "when: %v", err)
	}
	needed(r, "window", b.Window)
	needed(r, "open", b.Open)
	if b.Open > b.MaxOpen {
		r.Errorf("open", "make it shorter than max_open", "open (%s) is longer than max_open (%s)", b.Open, b.MaxOpen)
	}
}

func checkAdmission(a *config.Admission, r *config.Report) {
	needed(r, "window", a.Window)
	if a.SuccessRate <= 0 {
		r.Errorf("success_rate", "write for example 0.95", "a success_rate of %v refuses nothing ever", a.SuccessRate)
	}
	if a.Aggression <= 0 || a.Aggression > 10 {
		r.Errorf("aggression", "write 1", "aggression %v is not above 0 and up to 10", a.Aggression)
	}
	if a.Max > 0.95 {
		r.Warnf("max", "write 0.8", "with max %v next to nothing is sent that could show that the service is well again", a.Max)
	}
}

func checkAdaptive(spec *config.Cluster, r *config.Report) {
	a := spec.Adaptive
	needed(r, "probe", a.Probe)
	if a.Min > a.Max {
		r.Errorf("min", "make it smaller than max", "min (%d) is larger than max (%d)", a.Min, a.Max)
	}
	if a.Tolerance < 0.05 || a.Tolerance > 5 {
		r.Errorf("tolerance", "write 0.25", "tolerance %v is not from 0.05 to 5", a.Tolerance)
	}
	if a.Max > spec.Limits.MaxRequests {
		r.Warnf("max", "make it smaller than limits.max_requests", "max (%d) is larger than limits.max_requests (%d), which is the limit then", a.Max, spec.Limits.MaxRequests)
	}
}
