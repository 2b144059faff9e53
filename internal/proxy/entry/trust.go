package entry

import (
	"net/netip"
	"strings"

	"github.com/weirproxy/weir/stream"
)

// maxHops is how far back the way of a request is followed. A longer way, or a
// forged one, counts as untrusted beyond it.
const maxHops = 16

// facts are what is known of a request before its fields are rewritten. The
// strings are parts of fields of a trusted peer, checked, or "".
type facts struct {
	trusted bool
	// hops are the addresses on the way, the nearest first. All but the last
	// are trusted, so the last is the client. None for a Unix socket that
	// nobody vouches beyond.
	hops  [maxHops]netip.Addr
	n     int
	proto string
	host  string
	hostN string // port of host
	port  string
	id    string
}

// client is the zero Addr when it is not known.
func (f *facts) client() netip.Addr {
	if f.n == 0 {
		return netip.Addr{}
	}
	return f.hops[f.n-1]
}

// read finds out who sent the request and what is to be believed of it.
func (e *Stage) read(req *stream.Request, f *facts) {
	f.trusted = len(e.cfg.Trust) > 0
	if remote := req.Conn.Remote; remote.IsValid() {
		peer := remote.Addr().Unmap().WithZone("")
		f.hops[0], f.n = peer, 1
		f.trusted = f.trusted && e.trusts(peer)
	}
	if !f.trusted {
		return
	}
	h := &req.Header
	if _, ok := h.GetID(stream.XForwardedFor); ok {
		e.followList(h, f)
	} else if e.cfg.RFC7239 {
		e.followForwarded(h, f)
	}
	if v := single(h, stream.XForwardedProto); stream.EqualFold(v, "https") {
		f.proto = "https"
	} else if stream.EqualFold(v, "http") {
		f.proto = "http"
	}
	if v := single(h, stream.XForwardedHost); v != "" {
		if host, port, err := stream.ParseAuthority(v); err == nil {
			f.host, f.hostN = host, port
		}
	}
	if v := single(h, stream.XForwardedPort); isPort(v) {
		f.port = v
	}
	if v := single(h, stream.XRequestID); isID(v) {
		f.id = v
	}
}

// single is the value of a field that stands once and is no list; "" else. Of
// two values nobody can say which the trusted peer has checked.
func single(h *stream.Header, id stream.ID) string {
	value, found := "", false
	for _, f := range h.Fields() {
		if f.ID != id {
			continue
		}
		if found || strings.IndexByte(f.Value, ',') >= 0 {
			return ""
		}
		value, found = f.Value, true
	}
	return value
}

func isPort(s string) bool {
	if s == "" || len(s) > 5 {
		return false
	}
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
		n = 10*n + int(s[i]-'0')
	}
	return 0 < n && n <= 65535
}

// isID keeps ids out of logs and headers that could be anything but an id.
func isID(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

func (e *Stage) trusts(addr netip.Addr) bool {
	for _, p := range e.cfg.Trust {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// unmapPrefix makes ::ffff:10.0.0.0/104 the 10.0.0.0/8 that it means (the
// class of Go CVE-2024-24790): addresses are compared unmapped.
func unmapPrefix(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

// hop takes the next address of the way, "" included; it returns whether the
// way goes on behind it.
func (e *Stage) hop(f *facts, addr netip.Addr, ok bool) (more bool) {
	if !ok || f.n == maxHops {
		return false
	}
	f.hops[f.n] = addr
	f.n++
	return e.trusts(addr)
}

// followList follows X-Forwarded-For from the right: each entry was written by
// the hop on its right. What is no address ends the way.
func (e *Stage) followList(h *stream.Header, f *facts) {
	fields := h.Fields()
	for i := len(fields) - 1; i >= 0; i-- {
		if fields[i].ID != stream.XForwardedFor {
			continue
		}
		for rest, more := fields[i].Value, true; more; {
			entry := rest
			comma := strings.LastIndexByte(rest, ',')
			if more = comma >= 0; more {
				rest, entry = rest[:comma], rest[comma+1:]
			}
			entry = strings.Trim(entry, " \t")
			if entry == "" { // RFC 9110 section 5.6.1.2
				continue
			}
			addr, ok := parseHop(entry)
			if !e.hop(f, addr, ok) {
				return
			}
		}
	}
}

// followForwarded does the same for Forwarded (RFC 7239).
func (e *Stage) followForwarded(h *stream.Header, f *facts) {
	var last recent
	for _, field := range h.Fields() {
		if field.ID == stream.Forwarded {
			last.addField(field.Value)
		}
	}
	for i := last.n - 1; i >= 0; i-- {
		if !e.hop(f, last.addrs[i], last.addrs[i].IsValid()) {
			return
		}
	}
}

// parseHop reads an address with or without port as it stands in both fields.
// Zones are refused: they name an interface of another machine.
func parseHop(s string) (addr netip.Addr, ok bool) {
	switch colon := strings.IndexByte(s, ':'); {
	case s == "":
		return netip.Addr{}, false
	case s[0] == '[':
		end := strings.IndexByte(s, ']')
		if end < 0 || end+1 < len(s) && (s[end+1] != ':' || !isPort(s[end+2:])) {
			return netip.Addr{}, false
		}
		if s = s[1:end]; strings.IndexByte(s, ':') < 0 {
			return netip.Addr{}, false
		}
	case colon >= 0 && strings.LastIndexByte(s, ':') == colon:
		if !isPort(s[colon+1:]) {
			return netip.Addr{}, false
		}
		s = s[:colon]
	}
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, false
	}
	return addr.Unmap(), true
}
