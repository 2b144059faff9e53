package egress

import "net/netip"

// block is a range of addresses with the reason not to connect to it.
type block struct {
	prefix netip.Prefix
	why    string
	never  bool // not with allow_private either: it is no address of a host
}

func blockOf(prefix, why string, never bool) block {
	return block{netip.MustParsePrefix(prefix), why, never}
}

// blocks are what the registries of special-purpose addresses (RFC 6890) do not
// call globally reachable, and what stands for such an address in other clothes.
var blocks = [...]block{
	blockOf("0.0.0.0/8", "an address of this network", true),
	blockOf("10.0.0.0/8", "a private address", false),
	blockOf("100.64.0.0/10", "an address of a carrier's own network", false),
	blockOf("127.0.0.0/8", "a loopback address", false),
	blockOf("169.254.0.0/16", "a link-local address", false), // 169.254.169.254: metadata of clouds
	blockOf("172.16.0.0/12", "a private address", false),
	blockOf("192.0.0.0/24", "an address of a protocol assignment", false),
	blockOf("192.0.2.0/24", "an address for documentation", false),
	blockOf("192.88.99.0/24", "an address of a 6to4 relay", true),
	blockOf("192.168.0.0/16", "a private address", false),
	blockOf("198.18.0.0/15", "an address for benchmarks", false),
	blockOf("198.51.100.0/24", "an address for documentation", false),
	blockOf("203.0.113.0/24", "an address for documentation", false),
	blockOf("224.0.0.0/4", "a multicast address", true),
	blockOf("255.255.255.255/32", "the broadcast address", true),
	blockOf("240.0.0.0/4", "a reserved address", true),

	blockOf("::/128", "the unspecified address", true),
	blockOf("::1/128", "a loopback address", false),
	blockOf("64:ff9b:1::/48", "an address of a local translator", false),
	blockOf("100::/64", "a discard-only address", true),
	blockOf("2001::/23", "an address of a protocol assignment", false), // Teredo, ORCHID, ...
	blockOf("2001:db8::/32", "an address for documentation", false),
	blockOf("3fff::/20", "an address for documentation", false),
	blockOf("5f00::/16", "an address of segment routing", false),
	blockOf("fc00::/7", "a private address", false),
	blockOf("fe80::/10", "a link-local address", false),
	blockOf("fec0::/10", "a site-local address", false),
	blockOf("ff00::/8", "a multicast address", true),
}

// clothes are forms of IPv6 with an IPv4 address inside, at this byte.
var clothes = [...]struct {
	prefix netip.Prefix
	at     int
	invert bool
}{
	{netip.MustParsePrefix("::ffff:0:0/96"), 12, false},   // IPv4-mapped, RFC 4291 section 2.5.5.2
	{netip.MustParsePrefix("::ffff:0:0:0/96"), 12, false}, // IPv4-translated, RFC 2765
	{netip.MustParsePrefix("::/96"), 12, false},           // IPv4-compatible, RFC 4291 section 2.5.5.1
	{netip.MustParsePrefix("64:ff9b::/96"), 12, false},    // NAT64, RFC 6052
	{netip.MustParsePrefix("2002::/16"), 2, false},        // 6to4, RFC 3056
	{netip.MustParsePrefix("2001::/32"), 12, true},        // Teredo, RFC 4380: the client
	{netip.MustParsePrefix("2001::/32"), 4, false},        // and the server
}

// Refusal is why a connection to a must not be opened, in words that go behind
// "which is"; "" when it may.
func Refusal(a netip.Addr, allowPrivate bool) string {
	if !a.IsValid() {
		return "no address"
	}
	zone := a.Zone() != ""
	a = a.WithZone("").Unmap()
	for i := range blocks {
		if b := &blocks[i]; b.prefix.Contains(a) && (b.never || !allowPrivate) {
			return b.why
		}
	}
	if a.Is4() {
		return ""
	}
	if zone && !allowPrivate {
		return "an address of one link"
	}
	for i := range clothes {
		c := &clothes[i]
		if !c.prefix.Contains(a) || a == netip.IPv6Loopback() {
			continue
		}
		inner := embedded(a, c.at, c.invert)
		if why := Refusal(inner, allowPrivate); why != "" {
			return why + " inside of an IPv6 address"
		}
	}
	return ""
}

// embedded is the IPv4 address at a byte of a.
func embedded(a netip.Addr, at int, invert bool) netip.Addr {
	b := a.As16()
	inner := [4]byte(b[at : at+4])
	if invert {
		for i := range inner {
			inner[i] ^= 0xff
		}
	}
	return netip.AddrFrom4(inner)
}
