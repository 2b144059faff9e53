package proxyproto

import (
	"bytes"
	"net/netip"
	"strconv"
)

// maxLine is the longest line of version 1, its end included.
const maxLine = 107

// parse1 reads a line: PROXY, the family, two addresses and two ports, with one
// space between each; or PROXY UNKNOWN and anything.
func parse1(b []byte) (h Header, n int, state State) {
	line, n, state := line1(b)
	if state != Complete {
		return Header{}, 0, state
	}
	family, rest, more := bytes.Cut(line, space)
	is6 := false
	switch string(family) {
	case "UNKNOWN":
		return Header{Version: 1, Local: true}, n, Complete
	case "TCP4":
	case "TCP6":
		is6 = true
	default:
		return Header{}, 0, Malformed
	}
	source, rest, _ := bytes.Cut(rest, space)
	destination, rest, _ := bytes.Cut(rest, space)
	sourcePort, destinationPort, _ := bytes.Cut(rest, space)
	from, ok1 := endpoint1(source, sourcePort, is6)
	to, ok2 := endpoint1(destination, destinationPort, is6)
	if !more || !ok1 || !ok2 {
		return Header{}, 0, Malformed
	}
	return Header{Version: 1, Source: from, Destination: to}, n, Complete
}

var space = []byte{' '}

// line1 is what stands between the signature and the end of the line.
func line1(b []byte) (line []byte, n int, state State) {
	for i := len(signature1); i < len(b) && i < maxLine; i++ {
		switch c := b[i]; {
		case c == '\r' && i+1 == len(b) && i+1 < maxLine:
			return nil, 0, More
		case c == '\r' && i+1 < min(len(b), maxLine) && b[i+1] == '\n':
			return b[len(signature1):i], i + 2, Complete
		case c < ' ' || c >= 0x7f:
			return nil, 0, Malformed
		}
	}
	if len(b) >= maxLine {
		return nil, 0, Malformed
	}
	return nil, 0, More
}

func endpoint1(address, port []byte, is6 bool) (netip.AddrPort, bool) {
	addr, err := netip.ParseAddr(string(address))
	if err != nil || addr.Is6() != is6 || addr.Zone() != "" {
		return netip.AddrPort{}, false
	}
	number, err := strconv.ParseUint(string(port), 10, 16)
	if err != nil || len(port) > 1 && port[0] == '0' {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(number)), true
}
