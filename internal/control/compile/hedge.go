package compile

import (
	"strings"

	"github.com/weirproxy/weir/config"
)

// checkDeadline looks at the header that says how long a client waits.
func checkDeadline(spec *config.Route, r *config.Report) {
	d := spec.Deadline
	if d == nil {
		return
	}
	checkToken(r, "header", "header name", d.Header)
	if strings.EqualFold(d.Header, "grpc-timeout") {
		r.Errorf("header", "write another name", "grpc-timeout is obeyed anyway, and is not written in milliseconds")
	}
	if spec.Timeout > 0 && d.Least >= spec.Timeout {
		r.Errorf("least", "make it shorter than timeout", "least (%s) is not shorter than timeout (%s): every request would be refused", d.Least, spec.Timeout)
	}
}

// checkHedge looks at second attempts beside the first.
func checkHedge(spec *config.Route, r *config.Report) {
	h := spec.Hedge
	if h == nil {
		return
	}
	if h.Quantile < 0.5 || h.Quantile >= 1 {
		r.Errorf("quantile", "write for example 0.95", "quantile %v is not from 0.5 to below 1: at most half of the requests may count as slow", h.Quantile)
	}
	needed(r, "least", h.Least)
	if h.Share > 0.2 {
		r.Warnf("share", "write 0.05", "a share of %v lets second attempts add so much to the load of a service that is slow because of its load", h.Share)
	}
	methods(h.Methods, "methods", r)
	for i, method := range h.Methods {
		if method == strings.ToUpper(method) && !safeToRepeat(method) {
			r.Errorf(index("methods", i), "remove it", "%s would be carried out twice, at the same time", method)
		}
	}
}
