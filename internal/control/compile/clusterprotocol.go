package compile

import (
	"strings"

	"github.com/weirproxy/weir/config"
)

// checkClusterProtocol refuses protocols that cannot be spoken the way that the
// cluster is written.
func checkClusterProtocol(spec *config.Cluster, r *config.Report) {
	switch tls := spec.TLS != nil; spec.Protocol {
	case "h2":
		if !tls {
			r.Errorf("protocol", "add tls: {}, or write protocol: h2c", "h2 is HTTP/2 under TLS, and cluster %q has no tls", spec.Name)
		}
	case "h2c":
		if tls {
			r.Errorf("protocol", "write protocol: h2, or remove tls", "h2c is HTTP/2 in the clear, and cluster %q has tls", spec.Name)
		}
	case "h3":
		checkClusterHTTP3(spec, r)
	}
	switch framed := spec.Protocol == "framed"; {
	case framed && spec.Framing == nil:
		r.Errorf("protocol", "add framing: {type: line}", "protocol framed needs framing, which says what a frame is")
	case !framed && spec.Framing != nil:
		r.Errorf("framing", "write protocol: framed, or remove it", "framing does not go with protocol %s", spec.Protocol)
	case framed:
		checkFraming(spec.Framing, r.Below("framing"))
	}
	checkClusterHTTP2(spec, r)
}

func checkClusterHTTP3(spec *config.Cluster, r *config.Report) {
	if spec.TLS == nil {
		r.Errorf("protocol", "add tls: {}", "HTTP/3 has no form without TLS, and cluster %q has no tls", spec.Name)
	}
	for i, endpoint := range spec.Endpoints {
		if strings.HasPrefix(endpoint.Address, "unix:") {
			r.Errorf(index("endpoints", i), "write host:port, or another protocol", "HTTP/3 runs over UDP, and %q is a Unix socket", endpoint.Address)
		}
	}
	if spec.ProxyProtocol != "off" {
		r.Errorf("proxy_protocol", "remove it, or write protocol: h2", "proxy_protocol does not go with h3: the header stands at the start of a TCP connection")
	}
}

// mayMultiplex tells whether HTTP/2 or HTTP/3 may be spoken, in which requests
// share a connection.
func mayMultiplex(spec *config.Cluster) bool {
	switch spec.Protocol {
	case "h2", "h2c", "h3":
		return true
	case "auto":
		return spec.TLS != nil
	}
	return false
}

// checkClusterHTTP2: HTTP/3 goes by the same numbers, but for the pings.
func checkClusterHTTP2(spec *config.Cluster, r *config.Report) {
	if !mayMultiplex(spec) {
		if spec.HTTP2 != config.Default[config.ClusterHTTP2]() {
			r.Warnf("http2", "remove it, or write protocol: h2 or h2c", "http2 has no effect: HTTP/2 is not spoken to cluster %q", spec.Name)
		}
		return
	}
	checkWindows(spec.HTTP2.StreamWindow, spec.HTTP2.ConnectionWindow, r)
	if spec.Protocol != "h3" && spec.HTTP2.PingInterval > 0 {
		needed(r, "http2.ping_timeout", spec.HTTP2.PingTimeout)
	}
}

// spokenBy says in words what is spoken to the endpoints.
func spokenBy(spec *config.Cluster) string {
	switch {
	case spec.Protocol != "auto":
		return spec.Protocol
	case spec.TLS != nil:
		return "what its endpoints choose"
	}
	return "HTTP/1.1 (auto without tls)"
}
