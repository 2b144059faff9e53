package compile

import (
	"net/netip"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

func (c *compiler) listener(spec *config.Listener, r *config.Report) *snapshot.Listener {
	l := &snapshot.Listener{Spec: *spec}
	p, err := parseListen(spec.Address)
	if err != nil {
		r.Errorf("address", "write host:port, :port, [ipv6]:port or unix:/path", "address %q: %v", spec.Address, err)
	}
	l.Network, l.Address = p.network, p.String()
	checkListenerLimits(&spec.Limits, r.Below("limits"))
	checkListenerTimeouts(&spec.Timeouts, r.Below("timeouts"))
	l.Trust = checkForwarded(&spec.Forwarded, r.Below("forwarded"))
	checkListenerProtocol(spec, p, r)
	if spec.ProxyProtocol != nil {
		l.ProxyFrom = checkProxyProtocol(spec.ProxyProtocol, r.Below("proxy_protocol"))
	}
	if spec.TLS != nil {
		l.TLS = c.listenerTLS(spec, r.Below("tls"))
	}
	return l
}

func checkListenerLimits(limits *config.ListenerLimits, r *config.Report) {
	atLeast(r, "max_header_bytes", limits.MaxHeaderBytes, 512)
	atLeast(r, "max_uri_bytes", limits.MaxURIBytes, 64)
	unusual(r, "max_header_count", limits.MaxHeaderCount, 1000)
	unusual(r, "max_header_bytes", limits.MaxHeaderBytes, 1<<20)
	if limits.MaxURIBytes > limits.MaxHeaderBytes {
		r.Warnf("max_uri_bytes", "make it smaller than max_header_bytes",
			"max_uri_bytes is larger than max_header_bytes, which counts the request line too")
	}
	if limits.MaxConnectionsPerClient > limits.MaxConnections {
		r.Warnf("max_connections_per_client", "make it smaller than max_connections",
			"one client may take all %d connections", limits.MaxConnections)
	}
}

func checkListenerTimeouts(t *config.ListenerTimeouts, r *config.Report) {
	needed(r, "handshake", t.Handshake)
	needed(r, "idle", t.Idle)
	needed(r, "head", t.Head)
	needed(r, "body_idle", t.BodyIdle)
	needed(r, "write_idle", t.WriteIdle)
	needed(r, "tunnel_idle", t.TunnelIdle)
	needed(r, "session_idle", t.SessionIdle)
	needed(r, "hello", t.Hello)
	needed(r, "detect", t.Detect)
}

// checkForwarded returns the ranges that are trusted.
func checkForwarded(f *config.Forwarded, r *config.Report) (trust []netip.Prefix) {
	if f.Via != "" && !stream.IsToken(f.Via) {
		r.Errorf("via", "write letters, digits and -", "%q cannot be the name in a Via header", f.Via)
	}
	trust = prefixes(r, "trust", f.Trust)
	for i, text := range f.Trust {
		if prefix, ok := parsePrefix(text); ok && prefix.Bits() == 0 {
			r.Warnf(index("trust", i), "write the ranges of your own load balancers",
				"%s trusts every client: anyone can then choose the address that routes, limits and logs see", text)
		}
	}
	return trust
}

func (c *compiler) listenerTLS(spec *config.Listener, r *config.Report) *snapshot.ListenerTLS {
	t := &snapshot.ListenerTLS{}
	if len(spec.TLS.Certificates) == 0 {
		r.Errorf("certificates", "add - {cert: {file: PATH}, key: {file: PATH}}", "tls has no certificate")
	}
	last := c.lastKeyPairs(spec.Name)
	for i := range spec.TLS.Certificates {
		path := index("certificates", i)
		pair := c.keyPair(&spec.TLS.Certificates[i], &spec.Origin, r.Below(path), role{
			server: true, pos: spec.At("tls." + path), running: last,
		})
		t.Certificates = append(t.Certificates, pair)
	}
	warnAboutRepeatedNames(t.Certificates, r)
	client := &spec.TLS.ClientCertificate
	switch {
	case client.Mode == "off" && client.CA != nil:
		r.Warnf("client_certificate.ca", "write mode: require or optional, or remove it", "the client CA is not used with mode off")
	case client.Mode != "off" && client.CA == nil:
		r.Errorf("client_certificate", "add ca: {file: PATH}", "client certificates cannot be verified without a CA bundle")
	case client.Mode != "off":
		t.ClientCA = c.bundle(client.CA, &spec.Origin, r, "client_certificate.ca")
	}
	return t
}

// lastKeyPairs are the certificates that the listener shows now.
func (c *compiler) lastKeyPairs(name string) []snapshot.KeyPair {
	if l := c.listeners.previous[name]; l != nil && l.TLS != nil {
		return l.TLS.Certificates
	}
	return nil
}
