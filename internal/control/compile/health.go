package compile

import (
	"strings"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/internal/statusset"
	"github.com/weirproxy/weir/stream"
)

// health checks how endpoints are asked, and reads what they are asked with.
func (c *compiler) health(spec *config.Cluster, r *config.Report) (password snapshot.Material) {
	h := spec.Health
	checkHealthTimes(h, r)
	checkHealthProtocol(spec, r)
	switch h.Type {
	case "http":
		checkHealthHTTP(h, r)
	case "grpc":
		replacementHost(h.Host, "host", r)
	}
	checkHealthLogin(h, r)
	if h.Password != nil {
		if content, ok := c.secret(h.Password, &spec.Origin, r, "password", "password"); ok {
			password = snapshot.NewMaterial(content)
		}
	}
	return password
}

func checkHealthTimes(h *config.HealthCheck, r *config.Report) {
	needed(r, "interval", h.Interval)
	needed(r, "timeout", h.Timeout)
	if h.Timeout > h.Interval {
		r.Warnf("timeout", "make it shorter than interval", "timeout (%s) is longer than interval (%s)", h.Timeout, h.Interval)
	}
	if h.EdgeInterval > h.Interval {
		r.Warnf("edge_interval", "make it shorter than interval", "edge_interval (%s) is longer than interval (%s): a change is noticed later than without it", h.EdgeInterval, h.Interval)
	}
	if h.IdleInterval > 0 && h.IdleInterval < h.Interval {
		r.Warnf("idle_interval", "make it longer than interval", "idle_interval (%s) is shorter than interval (%s): endpoints that nobody uses are asked most often", h.IdleInterval, h.Interval)
	}
}

func checkHealthHTTP(h *config.HealthCheck, r *config.Report) {
	for i, status := range h.Status {
		if !statusset.Valid(status) {
			r.Errorf(index("status", i), "write a code or a class: 200, 2xx", "%q is no status", status)
		}
	}
	path, _, _ := strings.Cut(h.Path, "?")
	if _, err := stream.CanonicalPath(path); err != nil || strings.ContainsAny(h.Path, "# \r\n\t") {
		r.Errorf("path", "write a path such as /health", "path %q cannot be asked for", h.Path)
	}
	replacementHost(h.Host, "host", r)
}

// checkHealthProtocol: a check asks in a way that the endpoints understand.
func checkHealthProtocol(spec *config.Cluster, r *config.Report) {
	h := spec.Health
	switch {
	case h.Type == "http" && spec.Protocol == "framed":
		r.Errorf("type", "write type: tcp", "endpoints that speak frames cannot be asked over HTTP")
	case h.Type == "grpc" && (spec.Protocol == "h3" || !mayMultiplex(spec)):
		r.Errorf("type", "write protocol: h2c on the cluster (with tls: h2), or another type",
			"health type grpc needs HTTP/2, and cluster %q speaks %s", spec.Name, spokenBy(spec))
	case (h.Type == "tcp" || h.Type == "tls") && spec.Protocol == "h3":
		r.Errorf("type", "write type: http", "nothing listens on TCP where HTTP/3 is spoken")
	case h.Type == "tls" && spec.TLS == nil:
		r.Errorf("type", "add tls: {} to the cluster, or write type: tcp", "health type tls makes a handshake, and cluster %q has no tls", spec.Name)
	case (h.Type == "redis" || h.Type == "postgres") && spec.Protocol != "auto":
		r.Errorf("type", "write protocol: auto on the cluster, or another type", "endpoints that speak %s do not answer health type %s", spokenBy(spec), h.Type)
	}
	if h.Service != "" && h.Type != "grpc" {
		r.Warnf("service", "write type: grpc, or remove it", "service has no effect with type %s", h.Type)
	}
}

// longestLogin bounds a user and a database: PostgreSQL takes 63 bytes.
const longestLogin = 255

// checkHealthLogin: who asks, and with what.
func checkHealthLogin(h *config.HealthCheck, r *config.Report) {
	for _, f := range []struct{ name, value string }{{"user", h.User}, {"database", h.Database}} {
		if len(f.value) > longestLogin || strings.ContainsFunc(f.value, func(c rune) bool { return c < ' ' || c == 0x7f }) {
			r.Errorf(f.name, "write a name", "%s has a control character, or more than %d bytes", f.name, longestLogin)
		}
	}
	switch redis, postgres := h.Type == "redis", h.Type == "postgres"; {
	case h.Password != nil && !redis:
		r.Warnf("password", "remove it", "password has no effect with type %s", h.Type)
	case redis && h.User != "" && h.Password == nil:
		r.Errorf("user", "add password: {file: PATH}, or remove user", "type redis logs in with user and password, and there is no password")
	case h.User != "" && !redis && !postgres:
		r.Warnf("user", "write type: redis or postgres, or remove it", "user has no effect with type %s", h.Type)
	}
	if h.Database != "" && h.Type != "postgres" {
		r.Warnf("database", "write type: postgres, or remove it", "database has no effect with type %s", h.Type)
	}
}

// checkEjection checks when endpoints are taken out for what they answered.
func checkEjection(e *config.Ejection, r *config.Report) {
	compares := e.SuccessRate != nil || e.FailureRate != nil || e.Latency != nil
	if e.Consecutive == 0 && !compares {
		return
	}
	needed(r, "base", e.Base)
	if e.Base > e.Max {
		r.Errorf("base", "make it shorter than max", "base (%s) is longer than max (%s)", e.Base, e.Max)
	}
	if compares {
		needed(r, "interval", e.Interval)
	}
	if s := e.SuccessRate; s != nil && s.Factor == 0 {
		r.Errorf("success_rate.factor", "write 1.9", "a factor of 0 takes out what is below the mean: half of all endpoints")
	}
	if f := e.FailureRate; f != nil && f.Above < 0.5 {
		r.Warnf("failure_rate.above", "write 0.85, or use success_rate, which compares with the others",
			"endpoints are taken out while they still answer more than every other request well")
	}
	if e.Latency != nil {
		checkLatencyOutlier(e.Latency, r.Below("latency"))
	}
}

func checkLatencyOutlier(l *config.LatencyOutlier, r *config.Report) {
	if l.Quantile == 0 {
		r.Errorf("quantile", "write 0.9", "a quantile of 0 is the fastest request, which says nothing")
	}
	if l.Factor < 1.5 {
		r.Warnf("factor", "write 2 or more", "a factor of %v takes out what differs by chance", l.Factor)
	}
}
