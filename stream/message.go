package stream

import (
	"net/netip"
	"time"
)

// Proto is the version of HTTP that a message came with; or, for what is not
// HTTP, the transport.
type Proto uint8

// The versions.
const (
	HTTP10 Proto = iota + 1
	HTTP11
	HTTP2
	HTTP3
	// TCP is a connection, UDP a session (the datagrams between two addresses),
	// carried without looking into it. Such a Request has no method, no header
	// and NoBody (that of UDP has the first datagram, so that it can be sent to
	// another endpoint); Target.Host is the server name of its TLS hello, or "". Its
	// Response has status 200 and a Duplex body. On a Duplex of UDP each Read
	// and each Write is one datagram.
	TCP
	UDP
	// Framed is a message of a protocol of frames (proxy/framed).
	Framed
)

var protoNames = [...]string{"", "HTTP/1.0", "HTTP/1.1", "HTTP/2", "HTTP/3", "TCP", "UDP", "framed"}

func (p Proto) String() string { return protoNames[p] }

// Request is one request as every stage sees it. Stages may change Header and
// the fields that are theirs; Target is a value that is replaced whole (a
// rewrite) and never re-parsed.
type Request struct {
	Method string
	Target Target
	Proto  Proto
	Header Header

	// Body is never nil; NoBody when there is none.
	Body Body
	// Length of the body in bytes; 0 none, -1 known only at its end.
	Length int64
	// Upgrade is the one protocol the client asks to switch to, in lower case
	// ("websocket"), or "". An extended CONNECT (RFC 8441, RFC 9220) has the
	// method GET here, as the upgrade that it stands for. Method CONNECT with no
	// Upgrade is a plain CONNECT: Target has host and port and no path.
	Upgrade string
	// ExpectContinue: the client waits for 100 (Continue) before it sends the
	// body. The first Read of Body sends it.
	ExpectContinue bool

	// Conn holds the facts of the connection that the request came on. Not nil.
	Conn *Conn
	// Client is the address of the client by the trust rules of the listener:
	// the peer's, or one that a trusted peer vouches for. The zero Addr for a
	// Unix socket.
	Client netip.Addr
	// Caller is what else is known of who sent the request; nil: nothing, or
	// nothing that anybody has asked for.
	Caller *Caller
	// ID identifies the exchange in logs, traces and X-Request-Id.
	ID string

	// Early: the request came as early data (RFC 8446 section 2.3), which can be
	// replayed.
	Early bool
	// GRPC says whether the request is a gRPC call. The codec sets it.
	GRPC GRPC
	// Tunnel bounds a tunnel or session that the request becomes. The route
	// stage sets it; zero parts: as the listener has it.
	Tunnel TunnelLimits

	// Interim, when not nil, sends a 1xx response (never 101) downstream.
	Interim func(status int, header *Header) error

	// Deadline is when the attempt under way ends (the zero time: never). The
	// cluster stage sets it before each attempt; the client half of a codec
	// obeys it until the head of the response is there.
	Deadline time.Time
	// Fresh: the attempt under way must not use a pooled connection, because one
	// of this endpoint turned out closed. Set by the cluster stage.
	Fresh bool

	// Exchange is what happened: each stage writes its own facts, the recorder
	// reads them when the exchange is over.
	Exchange Exchange
}

// TunnelLimits bound a tunnel or session.
type TunnelLimits struct {
	Idle time.Duration // longest silence
	Max  time.Duration // longest duration
}

// Response is one final response; or one with a Duplex body: 101 to an
// upgrade, 200 to CONNECT, TCP and UDP.
type Response struct {
	Status int
	Header Header
	// Body is never nil.
	Body Body
	// Length of the body in bytes; -1 known only at its end. For an answer to
	// HEAD and for 304, where Body is empty, the length that the message
	// declares, or -1 when it declares none.
	Length int64
}

// Conn holds the facts of a downstream connection. It does not change after
// the handshake, and requests share it.
type Conn struct {
	ID       uint64
	Listener string
	Remote   netip.AddrPort // zero for a Unix socket
	Local    netip.AddrPort // zero for a Unix socket
	Accepted time.Time
	TLS      *TLS // nil on a connection in the clear
	// Peer is the other end of the socket when Remote and Local were taken from
	// a PROXY protocol header; else zero.
	Peer netip.AddrPort
	// Hello is what the client asked for in a TLS hello that was read and
	// passed on; nil when there was none.
	Hello *Hello
	// Places finds where clients are; nil: nobody knows.
	Places Locator
}

// Hello is what a TLS client asks for.
type Hello struct {
	ServerName string   // lower case, without trailing dot; "" if absent
	ALPN       []string // as offered
}

// TLS holds the facts of a finished handshake.
type TLS struct {
	Version    uint16 // tls.VersionTLS12, ...
	Suite      uint16
	ServerName string // SNI in lower case, without trailing dot; "" if absent
	ALPN       string
	Resumed    bool
	Client     *Identity // nil when the client showed no certificate
}

// Identity is who the client is by its verified certificate.
type Identity struct {
	Subject     string // RFC 2253 form
	DNSNames    []string
	URIs        []string
	Emails      []string
	IPs         []netip.Addr
	SPIFFE      string // the one spiffe:// URI, or ""
	Fingerprint string // SHA-256 over the DER form, lower-case hex
	NotAfter    time.Time
}

// Exchange gathers the facts of one request and its answer. Writers: codec
// (times, bytes), route (Route), cluster (Cluster, Endpoint, Attempts,
// upstream times), answer (Fault, Status of an answer). Times are zero when
// the step did not happen.
type Exchange struct {
	Start     time.Time // first byte of the request head was there
	HeadRead  time.Time // request head complete
	HeadSent  time.Time // response head written downstream
	End       time.Time // last byte written, or the exchange given up
	Status    int       // as sent downstream; 0 when nothing was sent
	BytesIn   int64     // body bytes read from downstream
	BytesOut  int64     // body bytes written downstream
	HeadersIn int       // bytes of the request head
	Fault     *Fault    // why no response existed, or why the body broke off

	// Received is the target as the client sent it. The first stage that
	// replaces Request.Target sets it; zero: Request.Target is it.
	Received Target

	Route   Label
	Cluster Label

	Endpoint       string    // "10.0.0.1:8080" of the last attempt
	Attempts       int       // 0 when no upstream was asked
	Reused         bool      // the last attempt went over a pooled connection
	RetryRefused   string    // why a retry was not made ("budget", "body", ...), or ""
	UpstreamStart  time.Time // first attempt begins
	AttemptStart   time.Time // last attempt begins
	UpstreamHead   time.Time // response head of the last attempt is there
	UpstreamEnd    time.Time // response body of the upstream is read
	UpstreamStatus int       // 0 when no upstream answered
	Draining       bool      // the connection was told to close
	// GRPCStatus is the status of a gRPC call plus one, so that zero is none.
	// The codec sets it from trailer or header (SetGRPCStatus).
	GRPCStatus uint8
	// Copy is what became of it if it is no request of a client but a copy of one,
	// in a word; "": it is none.
	Copy string
	// Content is the body of the upstream's response, from the cluster stage.
	// Whoever recovers from a panic closes it: the stage that held it is gone.
	Content Body
}

// Label is a name that stands in metrics: the name itself and its handle, the
// number that the recorder gave it when the generation was built. The zero
// Label means "none".
type Label struct {
	Name   string
	Handle uint32
}
