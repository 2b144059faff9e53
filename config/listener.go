package config

// Listener is an address where clients connect.
type Listener struct {
	Origin `yaml:"-" json:"-"`

	// Name is unique among listeners.
	Name string `yaml:"name" json:"name" required:"true" format:"name"`
	// Address is host:port, :port, [ipv6]:port or unix:/path.
	Address string `yaml:"address" json:"address" required:"true"`
	// Protocol is http; tcp or udp, which carry bytes without looking into them;
	// framed, which takes each frame for a request; or detect, which tells TLS
	// and HTTP from the rest and carries the rest as TCP.
	Protocol string `yaml:"protocol" json:"protocol" enum:"http,tcp,udp,framed,detect"`
	// TLS, when present, ends TLS here.
	TLS *ListenerTLS `yaml:"tls" json:"tls,omitempty"`
	// HTTP2 is spoken by ALPN under TLS, and to clients that begin with it in
	// the clear.
	HTTP2 ListenerHTTP2 `yaml:"http2" json:"http2"`
	// HTTP3, when present, is spoken on the UDP port of the same number and
	// advertised to the clients of the TCP port. It needs tls.
	HTTP3 *ListenerHTTP3 `yaml:"http3" json:"http3,omitempty"`
	// ProxyProtocol, when present, takes the address of the client from a PROXY
	// protocol header (version 1 or 2).
	ProxyProtocol *ProxyProtocol `yaml:"proxy_protocol" json:"proxy_protocol,omitempty"`
	// Framed says what a frame is, and which request is made of it. For protocol
	// framed only.
	Framed *ListenerFramed `yaml:"framed" json:"framed,omitempty"`
	// Limits bound what one client or all of them may take.
	Limits ListenerLimits `yaml:"limits" json:"limits"`
	// Timeouts end connections whose peer makes no progress.
	Timeouts ListenerTimeouts `yaml:"timeouts" json:"timeouts"`
	// Forwarded says which forwarding headers are believed and written.
	Forwarded Forwarded `yaml:"forwarded" json:"forwarded"`
}

// ListenerHTTP2 says how HTTP/2 is spoken with clients.
type ListenerHTTP2 struct {
	// Enabled is false for a listener that speaks HTTP/1.1 only.
	Enabled bool `yaml:"enabled" json:"enabled"`
	// MaxStreams is how many requests of one connection may be under way.
	MaxStreams int `yaml:"max_streams" json:"max_streams" min:"1" max:"10000"`
	// StreamWindow is how much of one request body is taken before the upstream
	// has taken it.
	StreamWindow Size `yaml:"stream_window" json:"stream_window" min:"65535" max:"2147483647"`
	// ConnectionWindow is the same for all requests of a connection together.
	ConnectionWindow Size `yaml:"connection_window" json:"connection_window" min:"65535" max:"2147483647"`
	// MaxAbuse is how many points a connection may collect for what costs us
	// much and a client nothing (resets, empty frames, pings, ...); they decay
	// by a tenth of this each second. A connection over it is closed.
	MaxAbuse int `yaml:"max_abuse" json:"max_abuse" min:"100"`
}

// ListenerHTTP3 says how HTTP/3 is spoken with clients.
type ListenerHTTP3 struct {
	// MaxStreams is how many requests of one connection may be under way.
	MaxStreams int `yaml:"max_streams" json:"max_streams" min:"1" max:"10000"`
	// Advertise is how long clients may remember that HTTP/3 is spoken here
	// (Alt-Svc); 0: not advertised.
	Advertise Duration `yaml:"advertise" json:"advertise"`
	// EarlyData takes requests before the handshake is complete (0-RTT), for
	// routes with early_data: true; others answer 425.
	EarlyData bool `yaml:"early_data" json:"early_data"`
	// MaxAbuse is how many points a connection may collect for what costs us
	// much and a client nothing (requests given up, unknown frames and streams,
	// ...); they decay by a twentieth of this each second. A connection over it is
	// closed.
	MaxAbuse int `yaml:"max_abuse" json:"max_abuse" min:"100"`
}

// ProxyProtocol says whose PROXY protocol headers are read.
type ProxyProtocol struct {
	// From are the address ranges of the load balancers. A connection from there
	// must begin with a header; from elsewhere it must not.
	From []string `yaml:"from" json:"from" required:"true"`
	// Others is what connections from elsewhere get: refuse (closed at once) or
	// direct (served as themselves).
	Others string `yaml:"others" json:"others" enum:"refuse,direct"`
}

// ListenerFramed makes requests of frames.
type ListenerFramed struct {
	// Framing says where a frame ends.
	Framing Framing `yaml:"framing" json:"framing"`
	// Method of the requests.
	Method string `yaml:"method" json:"method"`
	// Host of the requests, for routes that match one.
	Host string `yaml:"host" json:"host,omitempty"`
	// Path of the requests.
	Path string `yaml:"path" json:"path"`
	// ContentType of the requests.
	ContentType string `yaml:"content_type" json:"content_type"`
	// Error is the frame that answers a request that failed: {status} is its
	// status, {reason} its reason word. Empty: the connection is closed.
	Error string `yaml:"error" json:"error,omitempty"`
}

// Framing says where a frame ends.
type Framing struct {
	// Type is line (up to a delimiter) or length (a number of bytes first).
	Type string `yaml:"type" json:"type" enum:"line,length"`
	// Delimiter ends a line; it is no part of the content.
	Delimiter string `yaml:"delimiter" json:"delimiter"`
	// LengthBytes is the size of the number.
	LengthBytes int `yaml:"length_bytes" json:"length_bytes" enum:"1,2,4,8"`
	// ByteOrder of the number is big or little.
	ByteOrder string `yaml:"byte_order" json:"byte_order" enum:"big,little"`
	// Inclusive: the number counts its own bytes.
	Inclusive bool `yaml:"inclusive" json:"inclusive,omitempty"`
	// Max is the largest content of a frame.
	Max Size `yaml:"max" json:"max" min:"1" max:"1073741824"`
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
	// TunnelIdle is the longest silence on an upgraded connection, a CONNECT
	// tunnel or a TCP connection.
	TunnelIdle Duration `yaml:"tunnel_idle" json:"tunnel_idle"`
	// TunnelMax is the longest duration of these; 0: no limit.
	TunnelMax Duration `yaml:"tunnel_max" json:"tunnel_max"`
	// SessionIdle is the longest silence of a UDP session.
	SessionIdle Duration `yaml:"session_idle" json:"session_idle"`
	// Hello is the longest time for what comes before the protocol itself: a
	// PROXY protocol header, or a TLS hello that is read to be passed on.
	Hello Duration `yaml:"hello" json:"hello"`
	// Detect is how long protocol detect waits for a client to begin. One that
	// does not is taken for a client of a protocol in which the server speaks
	// first.
	Detect Duration `yaml:"detect" json:"detect"`
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
