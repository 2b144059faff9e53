package compile

import "github.com/weirproxy/weir/config"

// traffic is what a route is for, one bit each. A route never takes what is of
// another kind (proxy/route), so that routes of two kinds neither conflict nor
// shadow each other.
type traffic uint8

const (
	requests    traffic = 1 << iota // HTTP, and frames that became requests
	tunnels                         // CONNECT
	connections                     // TCP
	sessions                        // UDP
)

func trafficOf(spec *config.Route) traffic {
	switch {
	case spec.Protocol == "tcp":
		return connections
	case spec.Protocol == "udp":
		return sessions
	case spec.Connect != nil:
		return tunnels
	}
	return requests
}

func (t traffic) String() string {
	switch t {
	case connections:
		return "tcp connections"
	case sessions:
		return "udp sessions"
	case tunnels:
		return "CONNECT"
	}
	return "http requests"
}

// carried tells of what is carried without looking into it.
func (t traffic) carried() bool { return t == connections || t == sessions }

// part is something that may be written on a route.
type part struct {
	path    string
	written bool
	goes    traffic // with which kinds
}

func partsOf(spec *config.Route) []part {
	m := &spec.Match
	parts := []part{
		{"match.hosts", len(m.Hosts) > 0, requests | tunnels | connections},
		{"match.path", m.Path != config.PathMatch{}, requests},
		{"match.methods", len(m.Methods) > 0, requests},
		{"match.headers", len(m.Headers) > 0, requests | tunnels},
		{"match.query", len(m.Query) > 0, requests},
		{"match.cookies", len(m.Cookies) > 0, requests | tunnels},
		{"match.grpc", m.GRPC != nil, requests},
		{"match.alpn", len(m.ALPN) > 0, connections},
		{"match.ports", len(m.Ports) > 0, connections | sessions},
		{"client_certificate", spec.ClientCertificate == "require", requests | tunnels | connections},
		{"passthrough", spec.Passthrough, connections},
		{"early_data", spec.EarlyData, requests},
		{"connect", spec.Connect != nil, tunnels},
		{"deadline", spec.Deadline != nil, requests},
		{"hedge", spec.Hedge != nil, requests},
		{"canary", spec.Canary != nil, requests},
		{"filters", len(spec.Filters) > 0, requests | tunnels},
		{"rewrite", spec.Rewrite != nil, requests},
		{"redirect", spec.Redirect != nil, requests},
		{"respond", spec.Respond != nil, requests},
		{"split.key", spec.Split.Key != "" && spec.Split.Key != "client", requests | tunnels},
		{"split.issue", spec.Split.Issue != nil, requests},
	}
	for i := range spec.To {
		parts = append(parts, part{index("to", i) + ".match", spec.To[i].Match != nil, requests | tunnels})
	}
	return parts
}

// checkTraffic refuses what does not go with the kind of the route. It would
// have no effect, and a condition without effect makes a route wider than its
// author thinks.
func checkTraffic(spec *config.Route, r *config.Report) {
	kind := trafficOf(spec)
	why, fix := "", "remove it, or write protocol: tcp"
	switch {
	case kind.carried():
		why, fix = ", which are carried without looking into them", "remove it, or write protocol: http"
	case kind == tunnels:
		why, fix = ", which asks for a host and a port and for nothing else", "remove it"
	}
	for _, p := range partsOf(spec) {
		if p.written && p.goes&kind == 0 {
			r.Errorf(p.path, fix, "%s does not go with a route for %s%s", p.path, kind, why)
		}
	}
	if spec.Passthrough && spec.ClientCertificate == "require" {
		r.Errorf("client_certificate", "let the endpoint ask for it, or remove passthrough",
			"client_certificate cannot be required with passthrough: TLS ends at the endpoint, so that no certificate is seen here")
	}
}
