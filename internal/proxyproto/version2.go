package proxyproto

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"
)

// What the bytes behind the signature mean, section 2.2 of the specification.
const (
	fixed2        = len(signature2) + 4
	commandLocal  = 0x20 // with the version in the upper half
	commandProxy  = 0x21
	familyUnspec  = 0x00
	familyTCP4    = 0x11
	familyUDP4    = 0x12
	familyTCP6    = 0x21
	familyUDP6    = 0x22
	familyUnix    = 0x31
	familyUnixDgm = 0x32
	size4         = 4 + 4 + 2 + 2
	size6         = 16 + 16 + 2 + 2
	sizeUnix      = 108 + 108
	typeCRC32C    = 0x03
)

func parse2(b []byte) (h Header, n int, state State) {
	for i := len(signature2); i < min(len(b), fixed2); i++ {
		bad := false
		switch i - len(signature2) {
		case 0:
			bad = b[i] != commandLocal && b[i] != commandProxy
		case 1:
			bad = b[i-1] == commandProxy && !isFamily(b[i])
		}
		if bad {
			return Header{}, 0, Malformed
		}
	}
	if len(b) < fixed2 {
		return Header{}, 0, More
	}
	command, family := b[len(signature2)], b[len(signature2)+1]
	n = fixed2 + int(binary.BigEndian.Uint16(b[len(signature2)+2:]))
	if n > MaxBytes || command == commandProxy && n-fixed2 < sizeOf(family) {
		return Header{}, 0, Malformed
	}
	if len(b) < n {
		return Header{}, 0, More
	}
	h = Header{Version: 2}
	if command == commandLocal || family == familyUnspec {
		h.Local = true // whatever follows is not for us
		return h, n, Complete
	}
	if !extensions(b[:n], fixed2+sizeOf(family)) {
		return Header{}, 0, Malformed
	}
	h.addresses(family, b[fixed2:n])
	return h, n, Complete
}

func isFamily(family byte) bool { return family == familyUnspec || sizeOf(family) > 0 }

// sizeOf is the size of the addresses of a family; 0: it has none, or is not one.
func sizeOf(family byte) int {
	switch family {
	case familyTCP4, familyUDP4:
		return size4
	case familyTCP6, familyUDP6:
		return size6
	case familyUnix, familyUnixDgm:
		return sizeUnix
	}
	return 0
}

// addresses reads those of a block that is long enough for its family.
func (h *Header) addresses(family byte, block []byte) {
	var source, destination netip.Addr
	var ports []byte
	switch sizeOf(family) {
	case size4:
		source, destination = netip.AddrFrom4([4]byte(block)), netip.AddrFrom4([4]byte(block[4:]))
		ports = block[8:]
	case size6:
		source, destination = netip.AddrFrom16([16]byte(block)), netip.AddrFrom16([16]byte(block[16:]))
		ports = block[32:]
	default:
		h.Local = true
		return
	}
	h.Datagram = family&0x0f == 2
	h.Source = netip.AddrPortFrom(source.Unmap(), binary.BigEndian.Uint16(ports))
	h.Destination = netip.AddrPortFrom(destination.Unmap(), binary.BigEndian.Uint16(ports[2:]))
}

// extensions walks the type-length-value triples of a header from there to its
// end. Each must lie within it, and a checksum must be right.
func extensions(header []byte, at int) bool {
	checked := false
	for at < len(header) {
		if at+3 > len(header) {
			return false
		}
		kind, size := header[at], int(binary.BigEndian.Uint16(header[at+1:]))
		at += 3
		if size > len(header)-at {
			return false
		}
		if kind == typeCRC32C {
			if checked || size != 4 || !intact(header, at) {
				return false
			}
			checked = true
		}
		at += size
	}
	return true
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// intact tells whether the checksum at that place is that of the header with
// zeros in its place.
func intact(header []byte, at int) bool {
	sum := crc32.Update(0, castagnoli, header[:at])
	sum = crc32.Update(sum, castagnoli, zeros[:])
	sum = crc32.Update(sum, castagnoli, header[at+4:])
	return sum == binary.BigEndian.Uint32(header[at:])
}

var zeros [4]byte
