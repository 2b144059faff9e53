package stream

import (
	"errors"
	"strings"
)

// Target is the request target, decoded and normalised once at the edge and
// never again (threats.md section 4). Routing, authorisation, cache and limit
// keys, logs and the upstream all read this one value. It is immutable; a
// rewrite makes a new one.
//
// Path is canonical: it starts with "/", has no "." or ".." segment and no
// empty segment but a last one, every byte outside unreserved, sub-delims,
// ":" and "@" (RFC 3986 section 3.3) is percent-encoded in upper case, and
// nothing else is. Two paths name the same segments if and only if they are
// the same string; matching, keys and the wire use it as it is.
type Target struct {
	Scheme string // "http" or "https": what the client used
	Host   string // lower case, no port, no trailing dot; IPv6 in brackets; "" if absent (1.0)
	Port   string // digits as the client sent them, or ""
	Path   string // canonical; "*" for OPTIONS *; "" for CONNECT
	Query  string // without "?", checked, bytes as sent; "" when there is none
	// HasQuery tells "/a?" from "/a".
	HasQuery bool
}

// ParseTarget makes a Target of the second word of a request line and the
// value of the Host field ("" when there was none; that 1.1 needs one is the
// codec's to check). scheme is that of the connection; in absolute-form the
// target must say the same (or any, when scheme is ""), since a client on a
// connection in the clear must not pass for one on TLS.
//
// For a plain CONNECT raw is host:port, which HTTP/2 and HTTP/3 have in
// :authority; hostField, if there is one, must say the same.
//
// What is canonical already, the usual case, is not copied: the parts are then
// substrings of raw and hostField.
func ParseTarget(scheme, method, raw, hostField string) (Target, *Fault) {
	if method == "TRACE" { // the echo of a request shows the client what was added to it (RFC 9110 section 9.3.8)
		return Target{}, Faultf(MethodUnsupported, RetryNever, "TRACE is not served here")
	}
	t := Target{Scheme: scheme}
	if hostField != "" {
		var err error
		if t.Host, t.Port, err = ParseAuthority(hostField); err != nil {
			return Target{}, Faultf(RequestMalformed, RetryNever, "Host field: %w", err)
		}
	}
	switch {
	case raw == "":
		return Target{}, Faultf(RequestMalformed, RetryNever, "request target is empty")
	case method == "CONNECT":
		return t.withTunnel(raw, hostField)
	case raw[0] == '/': // origin-form, RFC 9112 section 3.2.1
		return t.withReference(raw)
	case raw == "*": // asterisk-form, RFC 9112 section 3.2.4
		if method != "OPTIONS" {
			return Target{}, Faultf(RequestMalformed, RetryNever, `request target "*" goes with OPTIONS only`)
		}
		t.Path = "*"
		return t, nil
	}
	rest, f := t.takeAuthority(raw, hostField)
	if f != nil {
		return Target{}, f
	}
	if rest == "" && method == "OPTIONS" { // RFC 9112 section 3.2.4, last paragraphs
		t.Path = "*"
		return t, nil
	}
	return t.withReference(rest)
}

var (
	errTunnelHost = errors.New("the target of CONNECT and the Host field name different hosts or ports")
	errTunnelPort = errors.New("the target of CONNECT has no port, or one that is no number from 1 to 65535")
)

// withTunnel reads the authority-form (RFC 9112 section 3.2.3, RFC 9113 section
// 8.5). There is no default port, and one port has one spelling: what may be
// asked for is decided by it.
func (t Target) withTunnel(raw, hostField string) (Target, *Fault) {
	host, port, err := ParseAuthority(raw)
	switch {
	case err != nil:
		return Target{}, Faultf(RequestMalformed, RetryNever, "target of CONNECT: %w", err)
	case port == "" || port[0] == '0':
		return Target{}, &Fault{Kind: RequestMalformed, Cause: errTunnelPort}
	case hostField != "" && (host != t.Host || port != t.Port):
		return Target{}, &Fault{Kind: RequestMalformed, Cause: errTunnelHost}
	}
	t.Host, t.Port = host, port
	return t, nil
}

// takeAuthority reads scheme and authority of an absolute-form (RFC 9112
// section 3.2.2) and returns the path and query behind them.
func (t *Target) takeAuthority(raw, hostField string) (rest string, f *Fault) {
	scheme, rest, ok := cutScheme(raw)
	if !ok {
		return "", Faultf(RequestMalformed, RetryNever, "request target is neither a path nor an http or https URI")
	}
	if t.Scheme == "" {
		t.Scheme = scheme
	}
	if scheme != t.Scheme {
		return "", Faultf(RequestMalformed, RetryNever,
			"request target says %s on a connection that is %s", scheme, t.Scheme)
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	host, port, err := ParseAuthority(rest[:end])
	if err != nil {
		return "", Faultf(RequestMalformed, RetryNever, "authority of the request target: %w", err)
	}
	if hostField != "" && (host != t.Host || port != t.Port) {
		return "", Faultf(RequestMalformed, RetryNever, "request target and Host field name different hosts")
	}
	t.Host, t.Port = host, port
	return rest[end:], nil
}

func cutScheme(raw string) (scheme, rest string, ok bool) {
	switch {
	case len(raw) >= len("http://") && EqualFold(raw[:len("http://")], "http://"):
		return "http", raw[len("http://"):], true
	case len(raw) >= len("https://") && EqualFold(raw[:len("https://")], "https://"):
		return "https", raw[len("https://"):], true
	}
	return "", "", false
}

// withReference fills in path and query; raw starts behind the authority.
func (t Target) withReference(raw string) (Target, *Fault) {
	path := raw
	if q := strings.IndexByte(raw, '?'); q >= 0 {
		path, t.Query, t.HasQuery = raw[:q], raw[q+1:], true
		if f := checkQuery(t.Query); f != nil {
			return Target{}, f
		}
	}
	if path == "" { // "http://host?query"
		path = "/"
	}
	var err error
	if t.Path, err = CanonicalPath(path); err != nil {
		return Target{}, &Fault{Kind: RequestMalformed, Cause: err}
	}
	return t, nil
}

// Authority is host or host:port, the value of the Host field upstream.
func (t Target) Authority() string {
	if t.Port == "" {
		return t.Host
	}
	return t.Host + ":" + t.Port
}

// AppendAuthority appends what Authority returns.
func (t Target) AppendAuthority(dst []byte) []byte {
	dst = append(dst, t.Host...)
	if t.Port != "" {
		dst = append(dst, ':')
		dst = append(dst, t.Port...)
	}
	return dst
}

// AppendURI appends path and query: the origin-form (or "*") of a request line.
func (t Target) AppendURI(dst []byte) []byte {
	dst = append(dst, t.Path...)
	if t.HasQuery {
		dst = append(dst, '?')
		dst = append(dst, t.Query...)
	}
	return dst
}

// RequestURI is what AppendURI appends, as a string.
func (t Target) RequestURI() string {
	if !t.HasQuery {
		return t.Path
	}
	return t.Path + "?" + t.Query
}

// WithPath is the target with another path, which is canonical already
// (CanonicalPath, or made of parts of canonical paths by whole segments).
func (t Target) WithPath(canonical string) Target {
	t.Path = canonical
	return t
}
