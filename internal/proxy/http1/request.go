package http1

import (
	"errors"
	"strings"

	"github.com/weirproxy/weir/stream"
)

// The refusals of a request head, without a byte of the peer.
var (
	errRequestLine = errors.New("the request line is not method, target and version with one space between")
	errMethod      = errors.New("the method is no token")
	errMethodCase  = errors.New("the method is a standard one in other letter case")
	errTargetByte  = errors.New("the request target has a byte that is no visible ASCII character")
	errHostMissing = errors.New("there is no Host field, or it is empty")
	errHostTwice   = errors.New("the Host field stands more than once")
	errVersion     = errors.New("the version is neither HTTP/1.1 nor HTTP/1.0")
	errExpectation = errors.New("the expectation is not 100-continue")
	errConnectBody = errors.New("CONNECT with content, which is also the first bytes of the tunnel")
)

// standardMethods are those of RFC 9110 section 9 and PATCH. A method is
// case-sensitive; one of these in other case is refused, since a lenient
// upstream would take "get" for GET when the policy here did not.
var standardMethods = [...]string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}

// method checks and interns a method.
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

// version reads HTTP-version (RFC 9112 section 2.3).
func version(s string) (stream.Proto, *stream.Fault) {
	switch {
	case s == "HTTP/1.1":
		return stream.HTTP11, nil
	case s == "HTTP/1.0":
		return stream.HTTP10, nil
	case len(s) == len("HTTP/1.1") && s[:5] == "HTTP/" && isDigit(s[5]) && s[6] == '.' && isDigit(s[7]):
		return 0, &stream.Fault{Kind: stream.VersionUnsupported, Cause: errVersion}
	}
	return 0, requestSide.bad(errVersion)
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// requestReader turns the head of a request into a stream.Request.
type requestReader struct {
	scan scanner
	m    meter
	fr   framing
}

// parse reads head, whose lines scan has found, into req. On a fault req holds
// what was understood so far.
func (r *requestReader) parse(head string, req *stream.Request, scheme string) *stream.Fault {
	raw, f := r.parseLine(r.scan.line(head, 0), req)
	if f != nil {
		return f
	}
	req.Header.Grow(len(r.scan.ends) - 1 + addedFields)
	if err := r.fr.read(&r.scan, head, &req.Header, req.Proto); err != nil {
		return requestSide.bad(err)
	}
	if err := r.fr.checkOptions(); err != nil {
		return requestSide.bad(err)
	}
	r.fr.dropOptions(&req.Header)
	if err := r.host(req.Proto); err != nil {
		return requestSide.bad(err)
	}
	if req.Target, f = stream.ParseTarget(scheme, req.Method, raw, r.fr.host); f != nil {
		return f
	}
	return r.facts(req)
}

// parseLine reads the request line (RFC 9112 section 3).
func (r *requestReader) parseLine(line string, req *stream.Request) (raw string, f *stream.Fault) {
	first, last := strings.IndexByte(line, ' '), strings.LastIndexByte(line, ' ')
	if first <= 0 || first == last {
		return "", requestSide.bad(errRequestLine)
	}
	m, err := method(line[:first])
	if err != nil {
		return "", requestSide.bad(err)
	}
	req.Method = m
	raw = line[first+1 : last]
	if raw == "" || !is(raw, targetByte) {
		return "", requestSide.bad(errTargetByte)
	}
	if int64(len(raw)) > r.m.limits.MaxURIBytes {
		return "", &stream.Fault{Kind: stream.RequestLineTooLong, Limit: "max_uri_bytes"}
	}
	if req.Proto, f = version(line[last+1:]); f != nil {
		req.Proto = stream.HTTP11 // what the refusal is written in
		return "", f
	}
	return raw, nil
}

// host checks RFC 9112 section 3.2: exactly one Host in 1.1, at most one in 1.0.
func (r *requestReader) host(proto stream.Proto) error {
	switch {
	case r.fr.hosts > 1:
		return errHostTwice
	case proto == stream.HTTP11 && r.fr.host == "", r.fr.hosts == 1 && r.fr.host == "":
		return errHostMissing
	}
	return nil
}

// facts fills in what the owned fields mean.
func (r *requestReader) facts(req *stream.Request) *stream.Fault {
	fr := &r.fr
	switch {
	case fr.chunked:
		req.Length = -1
	case fr.length > 0:
		req.Length = fr.length
	default:
		req.Length = 0
	}
	if req.Method == "CONNECT" { // RFC 9110 section 9.3.6
		if req.Length != 0 {
			return requestSide.bad(errConnectBody)
		}
		return nil // nothing else that is asked for in passing
	}
	if limit := r.m.limits.MaxBodyBytes; limit > 0 && req.Length > limit {
		return &stream.Fault{Kind: stream.BodyTooLarge, Limit: "max_body_bytes"}
	}
	if req.Proto == stream.HTTP10 {
		return nil // no Expect (RFC 9110 section 10.1.1) and no Upgrade (7.8) in 1.0
	}
	if fr.expects > 0 {
		if fr.expects > 1 || !stream.EqualFold(fr.expect, "100-continue") {
			return &stream.Fault{Kind: stream.ExpectationUnknown, Cause: errExpectation}
		}
		req.ExpectContinue = req.Length != 0
	}
	// A request with content does not switch protocols: the bytes behind it
	// would be content to one reader and the new protocol to another. h2c is
	// never switched to (CVE-2022-41721).
	if fr.upgrade && fr.upgrades == 1 && req.Length == 0 &&
		validProtocol(fr.protocol) && !stream.EqualFold(fr.protocol, "h2c") {
		req.Upgrade = strings.ToLower(fr.protocol)
	}
	if req.Upgrade == websocket {
		return checkWebSocket(req)
	}
	return nil
}

// validProtocol accepts protocol-name ["/" protocol-version] (RFC 9110 section 7.8).
func validProtocol(s string) bool {
	name, version, versioned := strings.Cut(s, "/")
	return validToken(name) && (!versioned || validToken(version))
}

// addedFields is how many fields the stages behind the codec usually add; with
// room for them the list is not copied once more.
const addedFields = 8
