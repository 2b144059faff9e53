package proxyproto

import (
	"encoding/binary"
	"net/netip"
	"strconv"
)

// Append appends the header of a TCP connection from source to destination, in
// version 1 or 2. local: the connection is the proxy's own (a health check).
// Addresses that are not valid, those of a Unix socket, say, are left out.
func Append(dst []byte, version int, source, destination netip.AddrPort, local bool) []byte {
	from, to := source.Addr().Unmap().WithZone(""), destination.Addr().Unmap().WithZone("")
	known := from.IsValid() && to.IsValid() && !local
	is4 := from.Is4() && to.Is4()
	if known && !is4 { // of two families both become IPv6
		from, to = netip.AddrFrom16(from.As16()), netip.AddrFrom16(to.As16())
	}
	if version == 1 {
		return append1(dst, from, to, source.Port(), destination.Port(), known)
	}
	dst = append(dst, signature2...)
	switch {
	case !known: // for whom, nobody needs to know: the receiver goes by the connection
		return append(dst, commandLocal, familyUnspec, 0, 0)
	case is4:
		dst = append(dst, commandProxy, familyTCP4, 0, size4)
	default:
		dst = append(dst, commandProxy, familyTCP6, 0, size6)
	}
	dst = append(append(dst, from.AsSlice()...), to.AsSlice()...)
	dst = binary.BigEndian.AppendUint16(dst, source.Port())
	return binary.BigEndian.AppendUint16(dst, destination.Port())
}

func append1(dst []byte, from, to netip.Addr, fromPort, toPort uint16, known bool) []byte {
	switch {
	case !known:
		return append(dst, "PROXY UNKNOWN\r\n"...)
	case from.Is4():
		dst = append(dst, "PROXY TCP4 "...)
	default:
		dst = append(dst, "PROXY TCP6 "...)
	}
	dst = append(from.AppendTo(dst), ' ')
	dst = append(to.AppendTo(dst), ' ')
	dst = append(strconv.AppendUint(dst, uint64(fromPort), 10), ' ')
	dst = strconv.AppendUint(dst, uint64(toPort), 10)
	return append(dst, "\r\n"...)
}
