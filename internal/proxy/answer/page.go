package answer

import (
	"html"
	"strconv"

	"github.com/weirproxy/weir/internal/grpcstatus"
	"github.com/weirproxy/weir/stream"
)

// meaning is what a kind of fault means to a client.
type meaning struct {
	status int
	error  string // RFC 9209 section 2.3
	text   string // one sentence, without anything of the inside
}

var meanings = [stream.NumKinds]meaning{
	stream.Internal: {500, "proxy_internal_error", "The proxy failed on this request."},

	stream.RequestMalformed:   {400, "http_request_error", "The request breaks the rules of HTTP or can be read in more than one way."},
	stream.RequestLineTooLong: {414, "http_request_error", "The request line is too long."},
	stream.HeadersTooLarge:    {431, "http_request_error", "The header fields of the request are too large."},
	stream.TooManyHeaders:     {431, "http_request_error", "The request has too many header fields."},
	stream.BodyTooLarge:       {413, "http_request_error", "The content of the request is too large."},
	stream.VersionUnsupported: {505, "http_request_error", "This version of HTTP is not spoken here."},
	stream.MethodUnsupported:  {501, "http_request_error", "This method is not served here."},
	stream.ExpectationUnknown: {417, "http_request_error", "The expectation of the request is unknown."},
	stream.UpgradeRefused:     {400, "http_request_error", "The connection cannot be upgraded by this request."},
	stream.HeadTimeout:        {408, "http_request_error", "The request did not arrive in time."},
	stream.BodyTimeout:        {408, "http_request_error", "The content of the request did not arrive in time."},
	stream.ClientGone:         {400, "http_request_error", "The request is not complete."},
	stream.ClientTooSlow:      {408, "http_request_error", "The content of the request arrives too slowly."},
	stream.Misdirected:        {421, "http_request_denied", "This connection does not serve the host of the request."},

	stream.TooEarly:           {425, "http_request_denied", "The request must not be sent as early data."},
	stream.AbusiveClient:      {429, "http_request_denied", "The connection asks for too much work."},
	stream.ContentUnsupported: {415, "http_request_error", "The content of the request is not encoded as it says, or not in a way that is understood here."},
	stream.ProxyHeaderBad:     {400, "http_request_error", "The connection does not begin as it must."},

	stream.NoRoute:         {404, "destination_not_found", "Nothing is served under this host and path."},
	stream.NoCluster:       {503, "proxy_configuration_error", "The service is not set up."},
	stream.NoEndpoint:      {503, "destination_unavailable", "The service is not available."},
	stream.ClusterFull:     {503, "connection_limit_reached", "The service is busy."},
	stream.RequestTimeout:  {504, "http_response_timeout", "The service did not answer in time."},
	stream.Overloaded:      {503, "proxy_internal_response", "The proxy is busy."},
	stream.Draining:        {503, "proxy_internal_response", "The proxy is about to stop."},
	stream.Unauthenticated: {401, "http_request_denied", "The request needs credentials."},
	stream.Unverifiable:    {503, "proxy_internal_response", "Credentials cannot be verified at the moment."},
	stream.Forbidden:       {403, "http_request_denied", "The request is not allowed."},
	stream.RateLimited:     {429, "http_request_denied", "There were too many requests."},
	stream.LoopDetected:    {502, "proxy_loop_detected", "The request went round in circles."},
	stream.FaultInjected:   {503, "proxy_internal_response", "The failure is made on purpose, as a test."},

	stream.NameUnresolved:    {502, "dns_error", "The service could not be found."},
	stream.ConnectRefused:    {502, "connection_refused", "The service refused the connection."},
	stream.ConnectTimeout:    {504, "connection_timeout", "The service could not be reached in time."},
	stream.ConnectFailed:     {502, "destination_unavailable", "The service could not be reached."},
	stream.TLSFailed:         {502, "tls_protocol_error", "No secure connection to the service could be made."},
	stream.UpstreamClosed:    {502, "connection_terminated", "The service closed the connection before it answered."},
	stream.UpstreamReset:     {502, "connection_terminated", "The service broke off the connection before it answered."},
	stream.UpstreamTimeout:   {504, "http_response_timeout", "The service did not answer in time."},
	stream.UpstreamTooSlow:   {504, "connection_read_timeout", "The service answers too slowly."},
	stream.ResponseMalformed: {502, "http_protocol_error", "The answer of the service breaks the rules of HTTP."},
	stream.ResponseTooLarge:  {502, "http_response_header_section_size", "The answer of the service is too large."},
	stream.ResponseTruncated: {502, "http_response_incomplete", "The answer of the service is incomplete."},
}

// phrases name the statuses above (RFC 9110 section 15, RFC 6585).
var phrases = map[int]string{
	400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 408: "Request Timeout",
	413: "Content Too Large", 414: "URI Too Long", 417: "Expectation Failed", 415: "Unsupported Media Type", 421: "Misdirected Request", 425: "Too Early",
	429: "Too Many Requests", 431: "Request Header Fields Too Large", 500: "Internal Server Error",
	501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout",
	505: "HTTP Version Not Supported",
}

// The formats of a body.
const (
	plain = iota
	asJSON
	asHTML
	numFormats
)

var contentTypes = [numFormats]string{
	plain: "text/plain; charset=utf-8", asJSON: "application/json", asHTML: "text/html; charset=utf-8",
}

// page is the answer to one kind of fault, ready but for the limit and the id.
type page struct {
	status      int
	proxyStatus string
	grpcMessage string // percent-encoded
	heads       [numFormats]string
}

// What stands around the limit and the id, by format.
var frames = [numFormats]struct{ limit, limitEnd, id, idEnd, end string }{
	plain:  {"Limit: ", "\n", "Request id: ", "\n", ""},
	asJSON: {`,"limit":"`, `"`, `,"request_id":"`, `"`, "}\n"},
	asHTML: {"<p>Limit: <code>", "</code></p>\n", "<p>Request id: <code>", "</code></p>\n", ""},
}

func newPage(kind stream.Kind) page {
	m := meanings[kind]
	title := strconv.Itoa(m.status) + " " + phrases[m.status]
	return page{
		status: m.status,
		// Kinds and errors are words, so neither needs the escapes of a string
		// or token of RFC 8941; a test holds them to that.
		proxyStatus: `weir; error=` + m.error + `; details="` + kind.String() + `"`,
		grpcMessage: string(grpcstatus.AppendMessage(nil, m.text)),
		heads: [numFormats]string{
			plain: title + "\n" + m.text + "\n",
			asJSON: `{"status":` + strconv.Itoa(m.status) + `,"reason":"` + kind.String() +
				`","message":` + strconv.Quote(m.text),
			asHTML: "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>" + title + "</title>\n" +
				"<h1>" + title + "</h1>\n<p>" + html.EscapeString(m.text) + "</p>\n",
		},
	}
}

// body is the content. limit and id are shown if they are plain words, which
// no format has to escape; they always are, unless a stage is broken.
func (p *page) body(format int, limit, id string) []byte {
	frame := &frames[format]
	out := make([]byte, 0, len(p.heads[format])+len(limit)+len(id)+80)
	out = append(out, p.heads[format]...)
	if isWord(limit) {
		out = append(append(append(out, frame.limit...), limit...), frame.limitEnd...)
	}
	if isWord(id) {
		out = append(append(append(out, frame.id...), id...), frame.idEnd...)
	}
	return append(out, frame.end...)
}

func isWord(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return s != ""
}
