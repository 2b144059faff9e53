package config

// Listener is an address where clients connect.
type Listener struct {
	Origin `yaml:"-" json:"-"`

	// Name is unique among listeners.
	Name string `yaml:"name" json:"name" required:"true" format:"name"`
	// Address is host:port, :port, [ipv6]:port or unix:/path.
	Address string `yaml:"address" json:"address" required:"true"`
	// TLS, when present, ends TLS here.
	TLS *ListenerTLS `yaml:"tls" json:"tls,omitempty"`
	// Limits bound what one client or all of them may take.
	Limits ListenerLimits `yaml:"limits" json:"limits"`
	// Timeouts end connections whose peer makes no progress.
	Timeouts ListenerTimeouts `yaml:"timeouts" json:"timeouts"`
	// Forwarded says which forwarding headers are believed and written.
	Forwarded Forwarded `yaml:"forwarded" json:"forwarded"`
}

// ListenerTLS ends TLS on a listener.
type ListenerTLS struct {
	// Certificates are chosen by the name that the client asks for, exact
	// names before wildcards.
	Certificates []Certificate `yaml:"certificates" json:"certificates" required:"true"`
	// UnknownName says what a client gets that asks for another name, or for
	// none: default (the first certificate) or refuse.
	UnknownName string `yaml:"unknown_name" json:"unknown_name" enum:"default,refuse"`
	// MinVersion is 1.2 or 1.3.
	MinVersion string `yaml:"min_version" json:"min_version" enum:"1.2,1.3"`
	// ClientCertificate says whether clients show a certificate.
	ClientCertificate ClientCertificate `yaml:"client_certificate" json:"client_certificate"`
	// MaxHandshakes is how many handshakes may be under way at once.
	MaxHandshakes int `yaml:"max_handshakes" json:"max_handshakes" min:"1"`
}

// Certificate is a certificate chain with its key.
type Certificate struct {
	// Cert is the chain, PEM, leaf first.
	Cert Secret `yaml:"cert" json:"cert" required:"true"`
	// Key is the private key, PEM.
	Key Secret `yaml:"key" json:"key" required:"true"`
}

// ClientCertificate says whether clients show a certificate.
type ClientCertificate struct {
	// Mode is off, optional or require. With optional, a certificate that is
	// shown must still verify.
	Mode string `yaml:"mode" json:"mode" enum:"off,optional,require"`
	// CA is the bundle that client certificates must chain to, PEM.
	CA *Secret `yaml:"ca" json:"ca,omitempty"`
}

// ListenerLimits bound what clients may take.
type ListenerLimits struct {
	// MaxConnections is the largest number of open connections.
	MaxConnections int `yaml:"max_connections" json:"max_connections" min:"1"`
	// MaxConnectionsPerClient counts per client address (IPv6: per /64); 0: no
	// limit.
	MaxConnectionsPerClient int `yaml:"max_connections_per_client" json:"max_connections_per_client"`
	// MaxHeaderCount is the largest number of header fields of a request.
	MaxHeaderCount int `yaml:"max_header_count" json:"max_header_count" min:"1"`
	// MaxHeaderBytes is the largest size of a request head.
	MaxHeaderBytes Size `yaml:"max_header_bytes" json:"max_header_bytes" min:"1"`
	// MaxURIBytes is the largest size of a request target.
	MaxURIBytes Size `yaml:"max_uri_bytes" json:"max_uri_bytes" min:"1"`
	// MaxBodyBytes is the largest size of a request body; 0: no limit.
	MaxBodyBytes Size `yaml:"max_body_bytes" json:"max_body_bytes"`
	// MaxRequests is how many requests a connection may carry; 0: no limit.
	MaxRequests int `yaml:"max_requests" json:"max_requests"`
}

// ListenerTimeouts end connections whose peer makes no progress.
type ListenerTimeouts struct {
	// Handshake is the longest time for a TLS handshake.
	Handshake Duration `yaml:"handshake" json:"handshake"`
	// Idle is the longest wait for the next request.
	Idle Duration `yaml:"idle" json:"idle"`
	// Head is the longest time for a request head.
	Head Duration `yaml:"head" json:"head"`
	// BodyIdle is the longest time without a byte of a request body.
	BodyIdle Duration `yaml:"body_idle" json:"body_idle"`
	// WriteIdle is the longest time without a byte of a response taken.
	WriteIdle Duration `yaml:"write_idle" json:"write_idle"`
	// MinRate is the least average speed of a body, either way, in bytes per
	// second, checked after 10 s; 0: not checked.
	MinRate Size `yaml:"min_rate" json:"min_rate"`
	// TunnelIdle is the longest silence on an upgraded connection.
	TunnelIdle Duration `yaml:"tunnel_idle" json:"tunnel_idle"`
	// MaxAge is how long a connection may live before it is told to close, up
	// to a tenth more or less.
	MaxAge Duration `yaml:"max_age" json:"max_age"`
}

// Forwarded says which forwarding headers are believed and written.
type Forwarded struct {
	// Trust are the address ranges whose X-Forwarded-*, X-Real-IP and
	// X-Request-Id are believed, and Forwarded when rfc7239 is on. From everyone
	// else they are removed. The peers of a Unix socket have no address: they
	// are trusted when any range is.
	Trust []string `yaml:"trust" json:"trust"`
	// RFC7239 adds the Forwarded header to the X-Forwarded-* ones.
	RFC7239 bool `yaml:"rfc7239" json:"rfc7239"`
	// Via adds the Via header, with this name; empty: no Via.
	Via string `yaml:"via" json:"via"`
}
