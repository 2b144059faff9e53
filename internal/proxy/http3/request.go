package http3

import (
	"strings"

	"github.com/weirproxy/weir/stream"
)

// standardMethods are those of RFC 9110 section 9 and PATCH. A method is
// case-sensitive; one of these in other case is refused, since a lenient
// upstream would take "get" for GET when the policy here did not.
var standardMethods = [...]string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}

// checkMethod checks and interns a method.
func checkMethod(s string) (string, error) {
	if !validToken(s) {
		return "", errMethod
	}
	for _, m := range standardMethods {
		if m == s {
			return m, nil
		}
		if stream.EqualFold(m, s) {
			return "", errMethod
		}
	}
	return s, nil
}

// readRequest turns the head of a request into req. On a fault req holds what
// was understood so far.
func readRequest(s *section, x *facts, req *stream.Request, limits *Limits) *stream.Fault {
	if err := x.read(s, &req.Header, requestPseudo); err != nil {
		return requestSide.bad(err)
	}
	p := &x.pseudo
	if p.has&hasMethod == 0 {
		return requestSide.bad(errPseudoAbsent)
	}
	method, err := checkMethod(p.method)
	if err != nil {
		return requestSide.bad(err)
	}
	req.Method = method
	if x.hosts > 1 || x.hosts == 1 && (x.host == "" || p.has&hasAuthority != 0 && !sameAuthority(x.host, p.authority)) {
		return requestSide.bad(errHost)
	}
	authority := p.authority
	if p.has&hasAuthority == 0 {
		authority = x.host
	}
	if authority == "" {
		return requestSide.bad(errHostMissing)
	}
	if f := readTarget(p, authority, req, limits); f != nil {
		return f
	}
	return requestFacts(x, req, limits)
}

// sameAuthority compares Host with :authority, as parsed.
func sameAuthority(a, b string) bool {
	if a == b {
		return true
	}
	hostA, portA, errA := stream.ParseAuthority(a)
	hostB, portB, errB := stream.ParseAuthority(b)
	return errA == nil && errB == nil && hostA == hostB && portA == portB
}

// readTarget reads the target in its three shapes: of a plain request, of a
// CONNECT (RFC 9114 section 4.4) and of an extended one (RFC 9220).
func readTarget(p *pseudo, authority string, req *stream.Request, limits *Limits) *stream.Fault {
	const whole = hasScheme | hasPath
	var f *stream.Fault
	if req.Method == "CONNECT" && p.has&hasProtocol == 0 {
		if p.has&whole != 0 || p.has&hasAuthority == 0 {
			return requestSide.bad(errPseudo)
		}
		req.Target, f = stream.ParseTarget("https", req.Method, authority, "")
		return f
	}
	switch {
	case p.has&whole != whole:
		return requestSide.bad(errPseudoAbsent)
	case p.scheme != "https":
		return requestSide.bad(errScheme)
	case p.path == "" || !is(p.path, targetByte) || p.path[0] != '/' && p.path != "*":
		return requestSide.bad(errTargetByte)
	case int64(len(p.path)) > limits.MaxURIBytes:
		return &stream.Fault{Kind: stream.RequestLineTooLong, Limit: "max_uri_bytes"}
	}
	if p.has&hasProtocol != 0 {
		name, version, versioned := strings.Cut(p.protocol, "/")
		if req.Method != "CONNECT" || !validToken(name) || versioned && !validToken(version) {
			return requestSide.bad(errProtocol)
		}
		req.Method, req.Upgrade = "GET", strings.ToLower(p.protocol)
	}
	req.Target, f = stream.ParseTarget("https", req.Method, p.path, authority)
	return f
}

// requestFacts fills in what the framing fields mean.
func requestFacts(x *facts, req *stream.Request, limits *Limits) *stream.Fault {
	req.Header.DelID(stream.EarlyData) // ours to write (RFC 8470 section 5.1)
	tunnel := req.Upgrade != "" || req.Method == "CONNECT"
	if tunnel {
		// The key of HTTP/1.1 means nothing here; that codec makes its own.
		req.Header.DelID(stream.SecWebSocketKey)
		req.Header.DelID(stream.SecWebSocketAccept)
		if x.length > 0 {
			return requestSide.bad(errLength)
		}
		return nil
	}
	req.Length = x.length
	if limit := limits.MaxBodyBytes; limit > 0 && x.length > limit {
		return &stream.Fault{Kind: stream.BodyTooLarge, Limit: "max_body_bytes"}
	}
	if x.expects > 0 {
		if x.expects > 1 || !stream.EqualFold(x.expect, "100-continue") {
			return &stream.Fault{Kind: stream.ExpectationUnknown, Cause: errExpectation}
		}
		req.ExpectContinue = x.length != 0
	}
	req.GRPC = stream.GRPCOf(req.Method, &req.Header)
	return nil
}
