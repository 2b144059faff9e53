// Package geotest writes small databases of addresses (.mmdb) for tests, of
// made-up data.
package geotest

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// Net is what a database says of a network.
type Net struct {
	Prefix             string
	Country, Continent string
	ASN                uint32
}

// node of the tree: what stands to the left (0) and to the right (1).
type node struct {
	child [2]*node
	data  *int // offset in the data section
}

// Write makes a database of a type ("Test-Country", "Test-ASN") for IPv6 and
// IPv4, in records of 24 bits. Networks must not lie within each other.
func Write(kind string, nets ...Net) []byte {
	var data []byte
	root := &node{}
	for _, n := range nets {
		at := len(data)
		data = appendRecord(data, n)
		root.insert(netip.MustParsePrefix(n.Prefix), &at)
	}
	nodes := root.number(nil)
	var tree []byte
	for _, n := range nodes {
		for _, child := range n.child {
			value := len(nodes) // nothing is known
			switch {
			case child != nil && child.data != nil:
				value = len(nodes) + 16 + *child.data
			case child != nil:
				value = slices.Index(nodes, child)
			}
			tree = append(tree, byte(value>>16), byte(value>>8), byte(value))
		}
	}
	out := append(tree, make([]byte, 16)...)
	out = append(append(out, data...), "\xab\xcd\xefMaxMind.com"...)
	return appendMetadata(out, kind, len(nodes))
}

func (n *node) insert(p netip.Prefix, data *int) {
	bits, addr := p.Bits(), p.Addr().As16()
	if p.Addr().Is4() { // IPv4 stands at ::/96
		four := p.Addr().As4()
		bits, addr = bits+96, [16]byte{12: four[0], 13: four[1], 14: four[2], 15: four[3]}
	}
	for i := range bits {
		bit := addr[i/8] >> (7 - i%8) & 1
		if n.child[bit] == nil {
			n.child[bit] = &node{}
		}
		n = n.child[bit]
	}
	n.data = data
}

func (n *node) number(list []*node) []*node {
	list = append(list, n)
	for _, child := range n.child {
		if child != nil && child.data == nil {
			list = child.number(list)
		}
	}
	return list
}

func appendRecord(dst []byte, n Net) []byte {
	if n.ASN != 0 {
		dst = appendText(appendMap(dst, 1), "autonomous_system_number")
		return appendUint32(dst, n.ASN)
	}
	dst = appendText(appendMap(dst, 2), "country")
	dst = appendText(appendText(appendMap(dst, 1), "iso_code"), n.Country)
	dst = appendText(dst, "continent")
	return appendText(appendText(appendMap(dst, 1), "code"), n.Continent)
}

func appendMetadata(dst []byte, kind string, nodes int) []byte {
	dst = appendMap(dst, 6)
	for _, m := range []struct {
		name  string
		value int
	}{{"binary_format_major_version", 2}, {"build_epoch", 1_700_000_000}, {"ip_version", 6}, {"node_count", nodes}, {"record_size", 24}} {
		dst = appendUint32(appendText(dst, m.name), uint32(m.value)) //nolint:gosec // a test is small
	}
	return appendText(appendText(dst, "database_type"), kind)
}

// Control bytes: the type in three bits, the size in five.
func appendMap(dst []byte, pairs int) []byte { return append(dst, 7<<5|byte(pairs)) }

func appendUint32(dst []byte, n uint32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, 6<<5|4), n)
}

func appendText(dst []byte, s string) []byte {
	if len(s) < 29 {
		dst = append(dst, 2<<5|byte(len(s)))
	} else {
		dst = append(dst, 2<<5|29, byte(len(s)-29))
	}
	return append(dst, s...)
}
