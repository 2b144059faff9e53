// Package logline is the form of an access log line: the names of its fields,
// the template of the text format, the selection by status, and the escapes
// that keep one record on one line whatever a peer sent. The compiler of
// documents checks with it, the recorder writes with it.
package logline

// Field is one fact of an exchange.
type Field uint8

// The fields, in the order of a JSON line. Adding one: a constant here and its
// line in fields; the recorder's test fails until it has a value.
const (
	Time Field = iota
	ID
	Listener
	Route
	Cluster
	Endpoint
	Client
	Peer
	Method
	Scheme
	Host
	Path
	Query
	Protocol
	GRPCService
	GRPCMethod
	Status
	GRPCStatus
	Fault
	FaultOrigin
	FaultLimit
	FaultCause
	Attempts
	RetryRefused
	Reused
	UpstreamStatus
	BytesIn
	BytesOut
	Duration
	Proxy
	Upstream
	UpstreamHead
	TLSVersion
	ServerName
	Identity
	UserAgent
	Copy

	NumFields
)

// Form is how the value of a field is written in JSON.
type Form string

// The forms.
const (
	String  Form = "string"
	Integer Form = "integer"
	Millis  Form = "number" // milliseconds with three decimals
	Boolean Form = "boolean"
)

var fields = [NumFields]struct {
	name string
	form Form
	doc  string
}{
	Time:           {"time", String, "when the first byte of the request was there, RFC 3339 in UTC with milliseconds"},
	ID:             {"id", String, "request id, as in X-Request-Id"},
	Listener:       {"listener", String, "listener that accepted the connection"},
	Route:          {"route", String, "route that was taken"},
	Cluster:        {"cluster", String, "cluster that was asked"},
	Endpoint:       {"endpoint", String, "endpoint of the last attempt"},
	Client:         {"client", String, "address of the client by the trust rules of the listener"},
	Peer:           {"peer", String, "address and port at the other end of the connection"},
	Method:         {"method", String, "method"},
	Scheme:         {"scheme", String, "http or https: what the client used"},
	Host:           {"host", String, "host, lower case, without port; of a TCP connection the server name of its TLS hello"},
	Path:           {"path", String, "canonical path, as the client asked for it"},
	Query:          {"query", String, "query without `?`; values of redacted keys are `[redacted]`"},
	Protocol:       {"protocol", String, "version of HTTP of the request; TCP, UDP and framed for what is not HTTP"},
	GRPCService:    {"grpc_service", String, "service of a gRPC call, as the upstream was asked: package.Service"},
	GRPCMethod:     {"grpc_method", String, "method of a gRPC call"},
	Status:         {"status", Integer, "status sent downstream; 0 when nothing was sent; of a TCP connection or UDP session 200, or 0 when no upstream took it"},
	GRPCStatus:     {"grpc_status", String, "status of a gRPC call by name (UNAVAILABLE), or its number when it has none; absent when the call was cut"},
	Fault:          {"fault", String, "reason word: why no response existed or why a body broke off"},
	FaultOrigin:    {"fault_origin", String, "whose fault: local, downstream or upstream"},
	FaultLimit:     {"fault_limit", String, "name of the limit that fired"},
	FaultCause:     {"fault_cause", String, "error text, for faults of connecting to an endpoint only"},
	Attempts:       {"attempts", Integer, "attempts at endpoints"},
	RetryRefused:   {"retry_refused", String, "why a retry was not made"},
	Reused:         {"reused", Boolean, "the last attempt went over a pooled connection"},
	UpstreamStatus: {"upstream_status", Integer, "status of the upstream's response"},
	BytesIn:        {"bytes_in", Integer, "bytes of the request body, or from the client through a tunnel, connection or session"},
	BytesOut:       {"bytes_out", Integer, "bytes of the response body, or to the client"},
	Duration:       {"duration_ms", Millis, "from the first byte of the request to the last of the response; of a connection or session its life"},
	Proxy:          {"proxy_ms", Millis, "inside Weir: from the request head to the first attempt, and from the upstream's response head to ours"},
	Upstream:       {"upstream_ms", Millis, "in the upstream: from the first attempt to the end of its response body"},
	UpstreamHead:   {"upstream_head_ms", Millis, "from the first attempt to the upstream's response head"},
	TLSVersion:     {"tls_version", String, "version of TLS"},
	ServerName:     {"server_name", String, "server name of the TLS handshake, or of a hello that was passed on (SNI)"},
	Identity:       {"identity", String, "verified client certificate: SPIFFE id, else subject"},
	UserAgent:      {"user_agent", String, "User-Agent field"},
	Copy:           {"copy", String, "the line is of a copy that the filter mirror sent, and not of a client: answered, failed, timeout or ended"},
}

// String is the name of the field in JSON and in templates.
func (f Field) String() string { return fields[f].name }

// Form is how the value is written in JSON.
func (f Field) Form() Form { return fields[f].form }

// Doc says what the field holds.
func (f Field) Doc() string { return fields[f].doc }

// lookup finds a field by its name.
func lookup(name string) (Field, bool) {
	for f := range NumFields {
		if fields[f].name == name {
			return f, true
		}
	}
	return 0, false
}
