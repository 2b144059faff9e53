package compile

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/snapshot"
)

// maxUnixPath is what fits into sockaddr_un on Linux, without the final NUL.
const maxUnixPath = 107

// place is an address to listen on or to connect to.
type place struct {
	network string     // tcp or unix
	host    string     // as written, without brackets; the path of a Unix socket
	addr    netip.Addr // when host is an address
	port    uint16
}

// String is what net.Listen and net.Dial take.
func (p place) String() string {
	if p.network == "unix" {
		return p.host
	}
	return net.JoinHostPort(p.host, strconv.Itoa(int(p.port)))
}

// parseListen reads an address to listen on: host:port, :port, [ipv6]:port or
// unix:/path. A name is refused, since check must not resolve it and it may
// mean several addresses; localhost is the exception.
func parseListen(text string) (place, error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		return parseUnix(path)
	}
	p, err := parseHostPort(text)
	if err != nil {
		return place{}, err
	}
	if p.host != "" && !p.addr.IsValid() && p.host != "localhost" {
		return place{}, fmt.Errorf("%q is a name; listening needs an address of this machine", p.host)
	}
	return p, nil
}

// parseDial reads the address of an endpoint: host:port or unix:/path.
func parseDial(text string) (place, error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		return parseUnix(path)
	}
	p, err := parseHostPort(text)
	switch {
	case err != nil:
		return place{}, err
	case p.host == "":
		return place{}, errors.New("the host is missing")
	case p.port == 0:
		return place{}, errors.New("port 0 cannot be connected to")
	case p.addr.IsUnspecified():
		return place{}, fmt.Errorf("%s stands for every address; an endpoint is one", p.host)
	case !p.addr.IsValid():
		return p, checkName(p.host)
	}
	return p, nil
}

func parseUnix(path string) (place, error) {
	switch {
	case !strings.HasPrefix(path, "/"):
		return place{}, errors.New("the path of a Unix socket starts with /")
	case strings.HasSuffix(path, "/"):
		return place{}, errors.New("the path of a Unix socket names a file, not a directory")
	case len(path) > maxUnixPath:
		return place{}, fmt.Errorf("the path of a Unix socket has %d bytes, more than %d", len(path), maxUnixPath)
	case strings.ContainsRune(path, 0):
		return place{}, errors.New("the path of a Unix socket holds a NUL byte")
	}
	return place{network: "unix", host: path}, nil
}

func parseHostPort(text string) (place, error) {
	if strings.Contains(text, "://") {
		return place{}, errors.New("an address has no scheme")
	}
	host, digits, err := net.SplitHostPort(text)
	if err != nil {
		return place{}, splitFailure(text)
	}
	port, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return place{}, fmt.Errorf("port %q is not a number from 0 to 65535", digits)
	}
	p := place{network: "tcp", host: strings.ToLower(host), port: uint16(port)}
	if addr, err := netip.ParseAddr(host); err == nil {
		p.addr, p.host = addr.Unmap(), addr.Unmap().String()
	} else if strings.Contains(host, ":") {
		return place{}, fmt.Errorf("%q is no IPv6 address", host)
	}
	return p, nil
}

// splitFailure says in words what net.SplitHostPort found wrong.
func splitFailure(text string) error {
	switch {
	case text == "":
		return errors.New("it is empty")
	case strings.HasPrefix(text, "/"):
		return errors.New("a Unix socket is written unix:/path")
	case strings.Count(text, ":") > 1 && !strings.HasPrefix(text, "["):
		return errors.New("an IPv6 address stands in brackets: [::1]:8080")
	case !strings.Contains(text, ":") || strings.HasSuffix(text, "]"):
		return errors.New("the port is missing")
	}
	return errors.New("it is not host:port")
}

// checkName refuses what cannot be a DNS name. It resolves nothing.
func checkName(name string) error {
	name = strings.TrimSuffix(name, ".")
	if name == "" {
		return errors.New("the name is empty")
	}
	if len(name) > 253 {
		return errors.New("the name has more than 253 bytes")
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if err := checkLabel(label); err != nil {
			return err
		}
	}
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" {
		return errors.New("it is neither an IPv4 address nor a name")
	}
	return nil
}

// checkLabel accepts letters, digits, - and _ (which names in use have,
// whatever RFC 1123 says).
func checkLabel(label string) error {
	switch {
	case label == "":
		return errors.New("a part between two dots is empty")
	case len(label) > 63:
		return fmt.Errorf("the part %q has more than 63 bytes", label)
	case label[0] == '-' || label[len(label)-1] == '-':
		return fmt.Errorf("the part %q starts or ends with -", label)
	}
	for i := 0; i < len(label); i++ {
		switch c := label[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		case c >= 0x80:
			return errors.New("names outside of ASCII are written in their xn-- form")
		default:
			return fmt.Errorf("the byte %q cannot stand in a name", c)
		}
	}
	return nil
}

// overlaps tells whether both cannot be listened on at once. An address of all
// interfaces takes those of each; that of IPv6 takes IPv4 too.
func (p place) overlaps(other place) bool {
	if p.network != other.network {
		return false
	}
	if p.network == "unix" {
		return p.host == other.host
	}
	if p.port != other.port || p.port == 0 { // port 0: the system chooses a free one
		return false
	}
	return p.takes(other) || other.takes(p)
}

func (p place) takes(other place) bool {
	switch {
	case p.host == "" || p.addr == netip.IPv6Unspecified():
		return true
	case p.addr == netip.IPv4Unspecified():
		return other.addr.Is4() || other.host == "localhost"
	case p.host == "localhost":
		return other.host == "localhost" || other.addr.IsLoopback()
	}
	return p.addr.IsValid() && p.addr == other.addr
}

// checkAddresses refuses listeners whose address is taken. What runs already
// (held) comes first, then the order of the document.
func (c *compiler) checkAddresses() {
	taken := c.adminPlace()
	add := func(name string) bool {
		l := c.listeners.chosen[name]
		own := taker{"listener " + name, l.Spec.At("address"), placeOf(l), transportsOf(&l.Spec)}
		for _, other := range taken {
			if both := own.over & other.over; both != 0 && own.place.overlaps(other.place) {
				c.listeners.report(c, name).Errorf("address", "choose another port or address",
					"address %q is taken by %s%s%s", l.Spec.Address, other.name, at(other.pos), onUDP(both))
				return false
			}
		}
		taken = append(taken, own)
		return true
	}
	fresh := c.listeners.fresh()
	for _, name := range c.listeners.names() {
		if c.listeners.held[name] && !add(name) {
			c.listeners.refuse(name)
		}
	}
	for _, name := range fresh {
		if add(name) {
			continue
		}
		c.listeners.hold(name)
		if c.listeners.held[name] && !add(name) { // its old address was given away as well
			c.listeners.refuse(name)
		}
	}
	c.keepListening(add)
}

// keepListening holds listeners that the documents removed, as long as one that
// they added has errors: it may be the same under a new name, and its port
// would be closed.
func (c *compiler) keepListening(add func(name string) bool) {
	if len(c.listeners.refused) == 0 {
		return
	}
	cause := slices.Sorted(maps.Keys(c.listeners.refused))[0]
	for _, name := range slices.Sorted(maps.Keys(c.listeners.previous)) {
		if c.listeners.chosen[name] != nil || c.listeners.refused[name] {
			continue
		}
		if c.listeners.hold(name); !add(name) {
			c.listeners.refuse(name)
			continue
		}
		c.listeners.because[name] = "listener " + cause
	}
}

// taker is who listens where.
type taker struct {
	name  string
	pos   config.Pos
	place place
	over  transports
}

// onUDP tells, in a message, that only the UDP ports are the same.
func onUDP(both transports) string {
	if both == overUDP {
		return ", on UDP"
	}
	return ""
}

// transports are what an address is listened on by: the ports of TCP and those
// of UDP are apart.
type transports uint8

const (
	overTCP transports = 1 << iota // and Unix sockets
	overUDP
)

func transportsOf(spec *config.Listener) transports {
	switch {
	case spec.Protocol == "udp":
		return overUDP
	case spec.HTTP3 != nil:
		return overTCP | overUDP
	}
	return overTCP
}

func (c *compiler) adminPlace() []taker {
	p, err := parseListen(c.general.admin.Address)
	if err != nil { // off, or refused already
		return nil
	}
	return []taker{{"admin", config.Pos{}, p, overTCP}}
}

func placeOf(l *snapshot.Listener) place {
	p, _ := parseListen(l.Spec.Address) // has passed before
	return p
}

// at is where the other one stands, for messages.
func at(pos config.Pos) string {
	if pos.Line == 0 {
		return ""
	}
	return " (" + pos.String() + ")"
}
