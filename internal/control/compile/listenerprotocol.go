package compile

import (
	"net/netip"
	"reflect"

	"github.com/weirproxy/weir/config"
)

// checkListenerProtocol refuses what the protocol of a listener has no use for,
// and what would open a way around something else.
func checkListenerProtocol(spec *config.Listener, p place, r *config.Report) {
	checkFramedListener(spec, r)
	checkListenerHTTP2(spec, r)
	if spec.HTTP3 != nil {
		checkListenerHTTP3(spec, p, r)
	}
	if spec.Protocol == "udp" {
		checkUDPListener(spec, p, r)
	}
	if spec.Protocol == "tcp" || spec.Protocol == "udp" {
		if !reflect.DeepEqual(spec.Forwarded, config.Default[config.Forwarded]()) {
			r.Warnf("forwarded", "remove it", "forwarded has no effect with protocol %s, which has no headers", spec.Protocol)
		}
	}
}

func checkUDPListener(spec *config.Listener, p place, r *config.Report) {
	if p.network == "unix" {
		r.Errorf("address", "write host:port", "protocol udp cannot listen on a Unix socket: clients there have no address to answer to")
	}
	if spec.TLS != nil {
		r.Errorf("tls", "remove it", "tls does not go with protocol udp: TLS runs over connections")
	}
	if spec.ProxyProtocol != nil {
		r.Errorf("proxy_protocol", "remove it", "proxy_protocol does not go with protocol udp: the header stands at the start of a connection")
	}
}

func checkListenerHTTP2(spec *config.Listener, r *config.Report) {
	if spec.Protocol != "http" && spec.Protocol != "detect" {
		if spec.HTTP2 != config.Default[config.ListenerHTTP2]() {
			r.Warnf("http2", "remove it", "http2 has no effect with protocol %s", spec.Protocol)
		}
		return
	}
	checkWindows(spec.HTTP2.StreamWindow, spec.HTTP2.ConnectionWindow, r)
}

// checkWindows: the window of the connection counts for every stream.
func checkWindows(stream, connection config.Size, r *config.Report) {
	if connection < stream {
		r.Warnf("http2.connection_window", "make it larger than stream_window",
			"connection_window (%s) is smaller than stream_window (%s), which is never used up", connection, stream)
	}
}

func checkListenerHTTP3(spec *config.Listener, p place, r *config.Report) {
	switch {
	case spec.Protocol != "http":
		r.Errorf("http3", "remove it, or write protocol: http", "http3 does not go with protocol %s", spec.Protocol)
		return
	case spec.TLS == nil:
		r.Errorf("http3", "add tls, or remove http3", "HTTP/3 has no form without TLS")
	}
	if p.network == "unix" {
		r.Errorf("http3", "write an address with a port, or remove http3", "HTTP/3 runs over UDP, and %q is a Unix socket", spec.Address)
	}
	if spec.ProxyProtocol != nil {
		r.Errorf("http3", "make two listeners", "http3 does not go with proxy_protocol: clients of HTTP/3 bring no header, so that the ranges under from would be passed by")
	}
}

// checkProxyProtocol returns the ranges whose header is required.
func checkProxyProtocol(spec *config.ProxyProtocol, r *config.Report) []netip.Prefix {
	if len(spec.From) == 0 {
		r.Errorf("from", "write the ranges of your load balancers", "proxy_protocol.from is empty")
	}
	for i, text := range spec.From {
		if prefix, ok := parsePrefix(text); ok && prefix.Bits() == 0 {
			r.Warnf(index("from", i), "write the ranges of your own load balancers",
				"%s takes a header from every client: anyone can then choose the address that routes, limits and logs see", text)
		}
	}
	return prefixes(r, "from", spec.From)
}
