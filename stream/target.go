package stream

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
	Path   string // canonical; "*" for OPTIONS *
	Query  string // without "?", checked, bytes as sent; "" when there is none
	// HasQuery tells "/a?" from "/a".
	HasQuery bool
}
