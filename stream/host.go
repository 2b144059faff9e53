package stream

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// maxHost is the longest name that DNS can hold, in text without the last dot.
const maxHost = 253

// The refusals of an authority, without a byte of the peer: they go to logs.
var (
	errHostEmpty   = errors.New("the host is empty")
	errHostLong    = errors.New("the host is longer than a DNS name can be")
	errHostByte    = errors.New("the host has a byte that is not a letter, a digit, \".\", \"-\" or \"_\"")
	errHostLabel   = errors.New("the host has an empty label")
	errHostNumber  = errors.New("the host ends in a number and is no IPv4 address")
	errHostIPv6    = errors.New("the brackets hold no IPv6 address")
	errHostZone    = errors.New("the IPv6 address has a zone")
	errPort        = errors.New("the port is no number from 0 to 65535")
	errHostBracket = errors.New("there is something between the IPv6 address and the port")
)

// ParseAuthority reads host[:port] as Host fields and absolute-form targets
// have it (RFC 9110 section 7.2) into the form that Target promises. Narrower
// than RFC 3986 on purpose: no userinfo, no percent-encoding, no sub-delims,
// no IPvFuture, because stages and upstreams read these in different ways.
func ParseAuthority(s string) (host, port string, err error) {
	if s != "" && s[0] == '[' {
		return splitIPv6(s)
	}
	host, port = s, ""
	if colon := strings.IndexByte(s, ':'); colon >= 0 {
		host, port = s[:colon], s[colon+1:]
	}
	if !isPort(port) {
		return "", "", errPort
	}
	host, err = canonicalName(host)
	return host, port, err
}

func splitIPv6(s string) (host, port string, err error) {
	end := strings.IndexByte(s, ']')
	if end < 0 {
		return "", "", errHostIPv6
	}
	host, rest := s[:end+1], s[end+1:]
	if rest != "" {
		if rest[0] != ':' {
			return "", "", errHostBracket
		}
		port = rest[1:]
	}
	if !isPort(port) {
		return "", "", errPort
	}
	addr, err := netip.ParseAddr(host[1:end])
	switch {
	case err != nil || !addr.Is6():
		return "", "", errHostIPv6
	case addr.Zone() != "":
		return "", "", errHostZone
	}
	// One address, one spelling (RFC 5952), and no copy of what has it already.
	var text [64]byte
	canonical := append(addr.AppendTo(append(text[:0], '[')), ']')
	if string(canonical) == host {
		return host, port, nil
	}
	return string(canonical), port, nil
}

// isPort accepts digits up to 65535, and nothing ("host:", RFC 3986 section 3.2.3).
func isPort(s string) bool {
	if s == "" || len(s) > 5 {
		return s == ""
	}
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

// canonicalName is a name or an IPv4 address in lower case, without the dot of
// the DNS root.
func canonicalName(s string) (string, error) {
	if n := len(s); n > 1 && s[n-1] == '.' {
		s = s[:n-1]
	}
	switch {
	case s == "":
		return "", errHostEmpty
	case len(s) > maxHost:
		return "", errHostLong
	}
	upper, label := false, 0 // label: where the last one starts
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		case 'A' <= c && c <= 'Z':
			upper = true
		case c == '.':
			if i == label {
				return "", errHostLabel
			}
			label = i + 1
		default:
			return "", errHostByte
		}
	}
	if label == len(s) {
		return "", errHostLabel
	}
	if looksLikeNumber(s[label:]) {
		// "127.1" and "0x7f.1" are names here and addresses elsewhere.
		if addr, err := netip.ParseAddr(s); err != nil || !addr.Is4() {
			return "", errHostNumber
		}
	}
	if upper {
		s = strings.ToLower(s)
	}
	return s, nil
}

// looksLikeNumber tells whether a resolver might take the last label of a name
// for a part of an IPv4 address (decimal, octal or 0x).
func looksLikeNumber(label string) bool {
	digits := label
	if len(label) > 1 && label[0] == '0' && lower(label[1]) == 'x' {
		digits = label[2:]
		for i := 0; i < len(digits); i++ {
			if unhex[digits[i]] == 255 {
				return false
			}
		}
		return true
	}
	for i := 0; i < len(digits); i++ {
		if digits[i] < '0' || digits[i] > '9' {
			return false
		}
	}
	return true
}
