package entry

import (
	"net/netip"
	"strings"

	"github.com/weirproxy/weir/stream"
)

// recent keeps the last elements of Forwarded fields, in order. An element
// that names no address is the zero Addr.
type recent struct {
	addrs [maxHops]netip.Addr
	n     int
}

func (r *recent) add(addr netip.Addr) {
	if r.n == maxHops {
		copy(r.addrs[:], r.addrs[1:])
		r.n--
	}
	r.addrs[r.n] = addr
	r.n++
}

// addField takes the elements of one field. Where its syntax is broken, what
// stands before is unknown and what stands behind cannot be told apart.
func (r *recent) addField(value string) {
	for rest := strings.Trim(value, " \t"); rest != ""; {
		addr, after, ok := element(rest)
		if !ok {
			r.n = 0
			r.add(netip.Addr{})
			return
		}
		r.add(addr)
		rest = after
	}
}

// element reads one forwarded-element (RFC 7239 section 4) and returns what
// stands behind its comma. The address is zero when "for" is absent or is no
// address ("unknown", "_hidden").
func element(s string) (addr netip.Addr, rest string, ok bool) {
	seen := false
	for {
		s = strings.TrimLeft(s, " \t;")
		switch {
		case s == "":
			return addr, "", true
		case s[0] == ',':
			return addr, strings.TrimLeft(s[1:], " \t,"), true
		}
		name, value, after, ok := pair(s)
		if !ok {
			return netip.Addr{}, "", false
		}
		if stream.EqualFold(name, "for") {
			if seen {
				return netip.Addr{}, "", false
			}
			seen = true
			addr, _ = parseHop(value)
		}
		s = strings.TrimLeft(after, " \t")
		if s != "" && s[0] != ';' && s[0] != ',' {
			return netip.Addr{}, "", false
		}
	}
}

// pair reads token "=" (token / quoted-string). The value of a quoted-string
// that holds a backslash is not decoded: no address needs one, so it is none.
func pair(s string) (name, value, rest string, ok bool) {
	n := tokenLen(s)
	if n == 0 || n == len(s) || s[n] != '=' {
		return "", "", "", false
	}
	name, s = s[:n], s[n+1:]
	if s == "" || s[0] != '"' {
		n = tokenLen(s)
		// "for=1.2.3.4:80" and "for=[::1]" are not allowed but seen.
		for n < len(s) && strings.IndexByte(":[]", s[n]) >= 0 {
			n += 1 + tokenLen(s[n+1:])
		}
		return name, s[:n], s[n:], n > 0
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return name, s[1:i], s[i+1:], true
		}
	}
	return "", "", "", false
}

// tokenLen is the length of the token at the start of s (RFC 9110 section 5.6.2).
func tokenLen(s string) int {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return i
		}
	}
	return len(s)
}

// appendForwarded writes the way as Forwarded elements, the client first, who
// is the one that used host and proto.
func appendForwarded(dst []byte, f *facts, host, port, proto string) []byte {
	dst = append(dst, "for="...)
	if f.n == 0 {
		dst = append(dst, "unknown"...)
	} else {
		dst = appendNode(dst, f.client())
	}
	if host != "" {
		dst = append(dst, ";host="...)
		dst = appendHost(dst, host, port)
	}
	dst = append(dst, ";proto="...)
	dst = append(dst, proto...)
	for i := f.n - 2; i >= 0; i-- {
		dst = append(dst, ", for="...)
		dst = appendNode(dst, f.hops[i])
	}
	return dst
}

// appendNode quotes IPv6 addresses, as RFC 7239 section 6 wants it.
func appendNode(dst []byte, addr netip.Addr) []byte {
	if addr.Is4() {
		return addr.AppendTo(dst)
	}
	dst = append(dst, `"[`...)
	dst = addr.AppendTo(dst)
	return append(dst, `]"`...)
}

// appendHost quotes a host that is no token. It holds neither quote nor
// backslash: it has passed stream.ParseAuthority.
func appendHost(dst []byte, host, port string) []byte {
	quoted := port != "" || host[0] == '['
	if quoted {
		dst = append(dst, '"')
	}
	dst = append(dst, host...)
	if port != "" {
		dst = append(dst, ':')
		dst = append(dst, port...)
	}
	if quoted {
		dst = append(dst, '"')
	}
	return dst
}
