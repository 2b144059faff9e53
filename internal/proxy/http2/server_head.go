package http2

import (
	"errors"
	"strings"

	"github.com/weirproxy/weir/stream"
)

// What makes a request malformed (RFC 9113 section 8.1.1): the stream is reset.
var (
	errField         = errors.New("a field has a name or a value that HTTP/2 does not allow")
	errPseudoOrder   = errors.New("a pseudo-header field stands behind a regular one, twice, or is none of a request")
	errPseudoMissing = errors.New(":method, :scheme or :path is missing")
	errConnectPseudo = errors.New("CONNECT with :scheme or :path, or without :authority")
	errProtocol      = errors.New(":protocol without CONNECT, or no token")
	errConnection    = errors.New("a field that belongs to a connection of HTTP/1")
	errTE            = errors.New("TE with another value than trailers")
	errLength        = errors.New("Content-Length is no plain number, or stands twice")
	errLengthContent = errors.New("the content has another length than Content-Length says")
)

// What is refused with an answer.
var (
	errMethod      = errors.New("the method is no token")
	errMethodCase  = errors.New("the method is a standard one in other letter case")
	errScheme      = errors.New(":scheme is neither http nor https")
	errPath        = errors.New(":path does not begin with a slash")
	errHost        = errors.New(":authority and Host are missing, stand twice or name different hosts")
	errExpectation = errors.New("the expectation is not 100-continue")
)

var standardMethods = [...]string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}

// method checks and interns a method. It is case-sensitive; a standard one in
// other case is refused, since a lenient upstream would take "get" for GET when
// the policy here did not.
func method(s string) (string, error) {
	if !validToken(s) {
		return "", errMethod
	}
	for _, m := range standardMethods {
		if m == s {
			return m, nil
		}
		if stream.EqualFold(m, s) {
			return "", errMethodCase
		}
	}
	return s, nil
}

// requestHead gathers what the fields that the codec owns say.
type requestHead struct {
	method, scheme, authority, path, protocol string
	pseudos                                   uint8 // a bit for each that came
	hosts                                     int
	host                                      string
	length                                    int64 // of Content-Length; -1 without one
	expect                                    string
	expects                                   int
	announced                                 string // of the first Trailer field
	cookies                                   int    // crumbs
	cookieBytes                               int
}

// addedFields is how many fields the stages behind the codec usually add; with
// room for them the list is not copied once more.
const addedFields = 8

// read takes the fields of a head: those that are owned into h, the others into
// header. An error makes the request malformed.
func (h *requestHead) read(fields []headField, header *stream.Header) error {
	*h = requestHead{length: -1}
	header.Grow(len(fields) + addedFields)
	regular := false
	for i := range fields {
		f := &fields[i]
		if !f.sound {
			return errField
		}
		if f.pseudo != notPseudo {
			if regular || !h.takePseudo(f) {
				return errPseudoOrder
			}
			continue
		}
		regular = true
		if err := h.takeField(f, header); err != nil {
			return err
		}
	}
	if h.cookies > 1 {
		h.joinCookies(fields, header)
	}
	return h.check()
}

func (h *requestHead) takePseudo(f *headField) bool {
	switch f.pseudo {
	case pseudoMethod:
		h.method = f.value
	case pseudoScheme:
		h.scheme = f.value
	case pseudoAuthority:
		h.authority = f.value
	case pseudoPath:
		h.path = f.value
	case pseudoProtocol:
		h.protocol = f.value
	default:
		return false
	}
	bit := uint8(1) << f.pseudo
	twice := h.pseudos&bit != 0
	h.pseudos |= bit
	return !twice
}

func (h *requestHead) takeField(f *headField, header *stream.Header) error {
	switch f.id {
	case stream.Connection, stream.ProxyConnection, stream.KeepAlive, stream.TransferEncoding, stream.Upgrade:
		return errConnection
	case stream.TE:
		if !stream.EqualFold(f.value, "trailers") {
			return errTE
		}
		return nil
	case stream.HTTP2Settings:
		return nil
	case stream.Trailer:
		if h.announced == "" {
			h.announced = f.value
		}
		return nil
	case stream.Host:
		h.hosts++
		h.host = f.value
		return nil
	case stream.Expect:
		h.expects++
		h.expect = f.value
		return nil
	case stream.ContentLength:
		n, ok := parseLength(f.value)
		if !ok || h.length >= 0 {
			return errLength
		}
		h.length = n
		return nil
	case stream.Cookie:
		h.cookies++
		h.cookieBytes += len(f.value) + len("; ")
		if h.cookies > 1 {
			return nil // joined in the place of the first
		}
	}
	header.Append(stream.Field{Name: f.name, Value: f.value, ID: f.id})
	return nil
}

// joinCookies makes one field of the crumbs (RFC 9113 section 8.2.3).
func (h *requestHead) joinCookies(fields []headField, header *stream.Header) {
	var joined strings.Builder
	joined.Grow(h.cookieBytes)
	for i := range fields {
		if f := &fields[i]; f.id == stream.Cookie {
			if joined.Len() > 0 {
				joined.WriteString("; ")
			}
			joined.WriteString(f.value)
		}
	}
	header.SetID(stream.Cookie, joined.String())
}

func (h *requestHead) has(p pseudo) bool { return h.pseudos&(1<<p) != 0 }

// check judges which pseudo-header fields are there (RFC 9113 section 8.3.1 and
// 8.5, RFC 8441 section 4).
func (h *requestHead) check() error {
	connect := h.method == "CONNECT"
	switch {
	case !h.has(pseudoMethod):
		return errPseudoMissing
	case h.has(pseudoProtocol) && (!connect || !validToken(h.protocol)):
		return errProtocol
	case connect && !h.has(pseudoProtocol):
		if h.has(pseudoScheme) || h.has(pseudoPath) || h.authority == "" {
			return errConnectPseudo
		}
		return nil
	case !h.has(pseudoScheme) || h.path == "":
		return errPseudoMissing
	}
	return nil
}

// facts fills in what the head means. On a fault req holds what was understood
// so far.
func (h *requestHead) facts(req *stream.Request, scheme string, limits *Limits, ended bool) *stream.Fault {
	var err error
	if req.Method, err = method(h.method); err != nil {
		return requestSide.bad(err)
	}
	if f := h.target(req, scheme, limits); f != nil {
		return f
	}
	if !ended && !h.has(pseudoProtocol) && req.Method != "CONNECT" {
		req.Length = h.length
	}
	if f := limits.body(&requestSide, req.Length); f != nil {
		return f
	}
	if h.expects > 0 {
		if h.expects > 1 || !stream.EqualFold(h.expect, "100-continue") {
			return &stream.Fault{Kind: stream.ExpectationUnknown, Cause: errExpectation}
		}
		req.ExpectContinue = req.Length != 0
	}
	req.GRPC = stream.GRPCOf(req.Method, &req.Header)
	return nil
}

// target reads :authority, :path and what stands for them.
func (h *requestHead) target(req *stream.Request, scheme string, limits *Limits) (f *stream.Fault) {
	host, err := h.hostName()
	if err != nil {
		return requestSide.bad(err)
	}
	if req.Method == "CONNECT" && h.protocol == "" {
		req.Target, f = stream.ParseTarget(scheme, "CONNECT", h.authority, h.authority)
		return f
	}
	if int64(len(h.path)) > limits.MaxURIBytes {
		return &stream.Fault{Kind: stream.RequestLineTooLong, Limit: "max_uri_bytes"}
	}
	switch {
	// What the client calls it does not matter: a trusted hop in front of us may
	// have ended TLS. Something else than HTTP does.
	case !stream.EqualFold(h.scheme, "https") && !stream.EqualFold(h.scheme, "http"):
		return requestSide.bad(errScheme)
	case h.path[0] != '/' && h.path != "*" || !is(h.path, targetByte):
		return requestSide.bad(errPath)
	}
	if h.protocol != "" { // the upgrade that it stands for
		req.Method, req.Upgrade = "GET", strings.ToLower(h.protocol)
	}
	req.Target, f = stream.ParseTarget(scheme, req.Method, h.path, host)
	return f
}

// hostName is the authority of the request. A client that sends Host besides
// :authority must say the same in both (RFC 9113 section 8.3.1).
func (h *requestHead) hostName() (string, error) {
	switch {
	case h.hosts > 1 || h.hosts == 1 && h.host == "":
		return "", errHost
	case h.authority == "":
		if h.host == "" {
			return "", errHost
		}
		return h.host, nil
	case h.hosts == 1 && !stream.EqualFold(h.host, h.authority):
		return "", errHost
	}
	return h.authority, nil
}
