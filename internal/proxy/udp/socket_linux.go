package udp

import (
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// marks are the control messages that say which of our addresses a datagram
// was sent to, and from which one a reply leaves: ip(7) IP_PKTINFO, ipv6(7)
// IPV6_PKTINFO. A socket for both families has the second for both.
type marks struct {
	level int // 0: not enabled
	in    [128]byte
}

func (m *marks) enabled() bool { return m.level != 0 }

func (m *marks) enable(pc *net.UDPConn) error {
	raw, err := pc.SyscallConn()
	if err != nil {
		return err
	}
	level := 0
	outer := raw.Control(func(fd uintptr) {
		var domain int
		if domain, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil {
			return
		}
		option := unix.IP_PKTINFO
		if level = unix.IPPROTO_IP; domain == unix.AF_INET6 {
			level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
		}
		err = unix.SetsockoptInt(int(fd), level, option, 1)
	})
	if outer != nil {
		err = outer
	}
	if err != nil {
		return fmt.Errorf("the system does not say which address datagrams are sent to: %w; listen on one address instead of all", err)
	}
	if m.level = level; level == unix.IPPROTO_IP {
		m.level = ip4
	}
	return nil
}

// ip4 stands for IPPROTO_IP, which is 0.
const ip4 = -1

// parse reads the messages that came with a datagram. mark lies in m.
func (m *marks) parse(size int) (to netip.Addr, mark []byte) {
	rest := m.in[:size]
	for len(rest) >= unix.CmsgLen(0) {
		head, data, behind, err := unix.ParseOneSocketControlMessage(rest)
		if err != nil {
			break
		}
		message := rest[:len(rest)-len(behind)]
		rest = behind
		switch {
		case head.Level == unix.IPPROTO_IP && head.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			// Interface, the address to answer from, the address in the header.
			to = netip.AddrFrom4([4]byte(data[8:12]))
			copy(data[4:8], data[8:12])
			clear(data[:4]) // whichever interface leads to the client
			return to, message
		case head.Level == unix.IPPROTO_IPV6 && head.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			to = netip.AddrFrom16([16]byte(data)).Unmap()
			if !to.IsLinkLocalUnicast() { // which is of one interface only
				clear(data[16:20])
			}
			return to, message
		}
	}
	return netip.Addr{}, nil
}
