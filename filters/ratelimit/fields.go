package ratelimit

import "github.com/weirproxy/weir/stream"

// addFields adds what the service wants to see in a header. What belongs to the
// framing of a message or is Weir's own is left out: the service decides about
// limits, not about who the client is.
func addFields(h *stream.Header, list []entry) {
	for _, e := range list {
		if mayAdd(e) {
			h.Add(e.key, e.value)
		}
	}
}

func mayAdd(e entry) bool {
	switch stream.Lookup(e.key) {
	case stream.Connection, stream.ContentLength, stream.Host, stream.KeepAlive, stream.ProxyConnection, stream.TE, stream.Trailer,
		stream.TransferEncoding, stream.Upgrade, stream.HTTP2Settings, stream.Expect:
		return false
	}
	return stream.IsToken(e.key) && isValue(e.value) && !stream.Owned(e.key)
}

// isValue is field-value of RFC 9110 section 5.5, without blanks around it.
func isValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return s == "" || s[0] != ' ' && s[0] != '\t' && s[len(s)-1] != ' ' && s[len(s)-1] != '\t'
}
