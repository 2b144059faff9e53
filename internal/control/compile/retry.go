package compile

import (
	"slices"
	"strings"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/grpcstatus"
	"github.com/weirproxy/weir/internal/statusset"
)

// safeToRepeat are the idempotent methods (RFC 9110 section 9.2.2).
func safeToRepeat(method string) bool {
	return slices.Contains([]string{"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"}, method)
}

func checkRetry(spec *config.Route, r *config.Report) {
	retry := &spec.Retry
	unusual(r, "attempts", retry.Attempts, 5)
	unusual(r, "max_body", retry.MaxBody, 16<<20)
	checkRetryOn(retry.On, trafficOf(spec), r)
	if retry.Attempts <= 1 {
		return
	}
	methods(retry.Methods, "methods", r)
	for i, method := range retry.Methods {
		if method == "CONNECT" {
			r.Errorf(index("methods", i), "remove it", "a tunnel is opened again only when nothing of it was sent")
		} else if method == strings.ToUpper(method) && !safeToRepeat(method) {
			r.Warnf(index("methods", i), "keep it only if the service recognises repeated requests",
				"%s may be carried out twice: an attempt whose answer got lost is sent again", method)
		}
	}
	if at := slices.Index(retry.On, "timeout"); at >= 0 && retry.PerTry == 0 {
		r.Warnf(index("on", at), "add per_try: a time shorter than timeout", "timeout never applies: it is about per_try, which has no limit")
	}
	if retry.PerTry > 0 && spec.Timeout > 0 && retry.PerTry > spec.Timeout {
		r.Warnf("per_try", "make it shorter than timeout", "per_try (%s) is longer than timeout (%s), which ends all attempts", retry.PerTry, spec.Timeout)
	}
	if retry.BackoffBase > retry.BackoffMax {
		r.Warnf("backoff_base", "make it shorter than backoff_max", "backoff_base (%s) is longer than backoff_max (%s)", retry.BackoffBase, retry.BackoffMax)
	}
}

func checkRetryOn(reasons []string, kind traffic, r *config.Report) {
	known := []string{"connect", "reset", "timeout"}
	for i, on := range reasons {
		grpc := strings.HasPrefix(on, grpcstatus.Prefix)
		_, isCode := grpcstatus.Parse(on)
		switch {
		case slices.Contains(known, on):
		case kind != requests && (isCode || statusset.Valid(on)):
			r.Errorf(index("on", i), "write connect, reset or timeout", "%q is no reason to retry %s, which have no status", on, actionNouns[kind])
		case isCode:
		case grpc:
			r.Errorf(index("on", i), suggestOr(on, grpcstatus.Words(), "write for example grpc:unavailable"), "%q is no error of gRPC", on)
		case !statusset.Valid(on):
			r.Errorf(index("on", i), suggestOr(on, known, "write connect, reset, timeout, a status (503), a class (5xx) or one of gRPC (grpc:unavailable)"), "%q is no reason to retry", on)
		case on[0] < '4':
			r.Warnf(index("on", i), "remove it", "%s is no failure", on)
		}
	}
}

// suggestOr is the name that was probably meant, or fix when none is near.
func suggestOr(text string, names []string, fix string) string {
	if guess := config.Suggest(text, names); guess != "" {
		return guess
	}
	return fix
}
