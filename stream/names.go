package stream

// ID names a well-known header field, so that the request path compares a
// byte instead of a string.
type ID uint8

// The well-known names. Adding one: a constant here and its spelling in
// names; the lookup table is built from both.
const (
	Unknown ID = iota
	Accept
	AcceptEncoding
	AcceptLanguage
	AcceptRanges
	Age
	Allow
	AltSvc
	Authorization
	CacheControl
	CacheStatus
	Connection
	ContentEncoding
	ContentLanguage
	ContentLength
	ContentLocation
	ContentRange
	ContentType
	Cookie
	Date
	EarlyData
	ETag
	Expect
	Expires
	Forwarded
	Host
	HTTP2Settings
	IfMatch
	IfModifiedSince
	IfNoneMatch
	IfRange
	IfUnmodifiedSince
	KeepAlive
	LastModified
	Link
	Location
	OriginHeader
	Pragma
	ProxyAuthenticate
	ProxyAuthorization
	ProxyConnection
	ProxyStatus
	Range
	Referer
	RetryAfter
	SecWebSocketAccept
	SecWebSocketKey
	SecWebSocketProtocol
	SecWebSocketVersion
	Server
	ServerTiming
	SetCookie
	StrictTransportSecurity
	TE
	Traceparent
	Tracestate
	Trailer
	TransferEncoding
	Upgrade
	UserAgent
	Vary
	Via
	WWWAuthenticate
	XForwardedFor
	XForwardedHost
	XForwardedPort
	XForwardedProto
	XRealIP
	XRequestID
	numIDs
)

var names = [numIDs]string{
	Accept: "Accept", AcceptEncoding: "Accept-Encoding", AcceptLanguage: "Accept-Language",
	AcceptRanges: "Accept-Ranges", Age: "Age", Allow: "Allow", AltSvc: "Alt-Svc",
	Authorization: "Authorization", CacheControl: "Cache-Control", CacheStatus: "Cache-Status",
	Connection: "Connection", ContentEncoding: "Content-Encoding", ContentLanguage: "Content-Language",
	ContentLength: "Content-Length", ContentLocation: "Content-Location", ContentRange: "Content-Range",
	ContentType: "Content-Type", Cookie: "Cookie", Date: "Date", EarlyData: "Early-Data", ETag: "ETag",
	Expect: "Expect", Expires: "Expires", Forwarded: "Forwarded", Host: "Host",
	HTTP2Settings: "HTTP2-Settings", IfMatch: "If-Match", IfModifiedSince: "If-Modified-Since",
	IfNoneMatch: "If-None-Match", IfRange: "If-Range", IfUnmodifiedSince: "If-Unmodified-Since",
	KeepAlive: "Keep-Alive", LastModified: "Last-Modified", Link: "Link", Location: "Location",
	OriginHeader: "Origin", Pragma: "Pragma", ProxyAuthenticate: "Proxy-Authenticate",
	ProxyAuthorization: "Proxy-Authorization", ProxyConnection: "Proxy-Connection",
	ProxyStatus: "Proxy-Status", Range: "Range", Referer: "Referer", RetryAfter: "Retry-After",
	SecWebSocketAccept: "Sec-WebSocket-Accept", SecWebSocketKey: "Sec-WebSocket-Key",
	SecWebSocketProtocol: "Sec-WebSocket-Protocol", SecWebSocketVersion: "Sec-WebSocket-Version",
	Server: "Server", ServerTiming: "Server-Timing", SetCookie: "Set-Cookie",
	StrictTransportSecurity: "Strict-Transport-Security", TE: "TE", Traceparent: "traceparent",
	Tracestate: "tracestate", Trailer: "Trailer", TransferEncoding: "Transfer-Encoding",
	Upgrade: "Upgrade", UserAgent: "User-Agent", Vary: "Vary", Via: "Via",
	WWWAuthenticate: "WWW-Authenticate", XForwardedFor: "X-Forwarded-For",
	XForwardedHost: "X-Forwarded-Host", XForwardedPort: "X-Forwarded-Port",
	XForwardedProto: "X-Forwarded-Proto", XRealIP: "X-Real-IP", XRequestID: "X-Request-Id",
}

// NumIDs is one more than the last ID, for tables that codecs keep by ID.
const NumIDs = numIDs

// String is the canonical spelling of the name; "" for Unknown.
func (id ID) String() string { return names[id] }

// numSlots is a power of two, some eight times the number of names.
const numSlots = 512

// slots is an open-addressed table over hash: a name is found in one or two
// probes. It is built once and never written again.
var slots = func() (table [numSlots]ID) {
	for id := Unknown + 1; id < numIDs; id++ {
		at := hash(names[id])
		for table[at] != Unknown {
			at = (at + 1) % numSlots
		}
		table[at] = id
	}
	return table
}()

// hash mixes the length with three bytes, which tell nearly all well-known
// names apart; the comparison in Lookup decides.
func hash(name string) uint {
	n := uint(len(name))
	if n == 0 {
		return 0
	}
	first, mid, last := uint(lower(name[0])), uint(lower(name[n/2])), uint(lower(name[n-1]))
	return (n*31 + first*7 + mid*61 + last*17) % numSlots
}

// Lookup is the ID of a name in any case, or Unknown.
func Lookup(name string) ID {
	for at := hash(name); slots[at] != Unknown; at = (at + 1) % numSlots {
		if id := slots[at]; EqualFold(names[id], name) {
			return id
		}
	}
	return Unknown
}
