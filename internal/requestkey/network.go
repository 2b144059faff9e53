package requestkey

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/weirproxy/weir/stream"
)

// wholeAddress is what client says without lengths.
var wholeAddress = [2]uint8{32, 128}

// usualIPv6 is the network that one subscriber of IPv6 has at least: whoever
// owns it may take any of its addresses.
const usualIPv6 = 64

// parseNetwork reads the lengths behind "client/".
func parseNetwork(text, lengths string) (Key, error) {
	k := Key{source: client, bits: [2]uint8{0, usualIPv6}}
	first, second, both := strings.Cut(lengths, "/")
	if !k.length(0, first) || both && !k.length(1, second) {
		return Key{}, fmt.Errorf("key %q: write client/BITS, with 1 to 32 bits of IPv4, or client/BITS/BITS, with 1 to 128 bits of IPv6 behind them", text)
	}
	return k, nil
}

// length takes the length of one family.
func (k *Key) length(family int, text string) bool {
	n, err := strconv.ParseUint(text, 10, 8)
	if err != nil || n == 0 || n > uint64(wholeAddress[family]) || text[0] == '0' || text[0] == '+' {
		return false
	}
	k.bits[family] = uint8(n)
	return true
}

// network is the key as the document writes it.
func (k Key) network() string {
	switch {
	case k.bits == wholeAddress:
		return "client"
	case k.bits[1] == usualIPv6:
		return "client/" + strconv.Itoa(int(k.bits[0]))
	}
	return "client/" + strconv.Itoa(int(k.bits[0])) + "/" + strconv.Itoa(int(k.bits[1]))
}

// address is that of the client, or the first of its network.
func (k Key) address(req *stream.Request) netip.Addr {
	addr := Client(req)
	if k.bits == wholeAddress {
		return addr
	}
	bits := k.bits[1]
	if addr.Is4() {
		bits = k.bits[0]
	}
	network, err := addr.Prefix(int(bits))
	if err != nil { // the lengths have been checked
		return addr
	}
	return network.Addr()
}
