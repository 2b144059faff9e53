package udp

import (
	"net"
	"net/netip"
)

// downstream is the socket that clients send to. Bound to no address in
// particular, it takes datagrams to all of the machine's, and each session
// answers from the one that its client has written to: any other would be
// another service to the client.
type downstream struct {
	pc    *net.UDPConn
	local netip.AddrPort
	marks marks // only if local is no address in particular
}

func newDownstream(pc *net.UDPConn) (*downstream, error) {
	d := &downstream{pc: pc, local: addrPort(pc.LocalAddr())}
	if d.local.Addr().IsUnspecified() {
		if err := d.marks.enable(pc); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// tuple is what a session is known by: the address of the client, as the
// socket gives it, and ours. With the port and the socket it is a 4-tuple.
type tuple struct {
	from netip.AddrPort
	to   netip.Addr
}

// read reads a datagram. mark is what a reply is to be sent with; it is valid
// until the next read.
func (d *downstream) read(buf []byte) (n int, who tuple, mark []byte, err error) {
	if !d.marks.enabled() {
		n, who.from, err = d.pc.ReadFromUDPAddrPort(buf)
		who.to = d.local.Addr()
		return n, who, nil, err
	}
	n, size, _, from, err := d.pc.ReadMsgUDPAddrPort(buf, d.marks.in[:])
	if err != nil {
		return 0, tuple{}, nil, err
	}
	to, mark := d.marks.parse(size)
	if !to.IsValid() {
		to = d.local.Addr()
	}
	return n, tuple{from, to}, mark, nil
}

// write sends a reply.
func (d *downstream) write(b, mark []byte, to netip.AddrPort) error {
	if len(mark) == 0 {
		_, err := d.pc.WriteToUDPAddrPort(b, to)
		return err
	}
	_, _, err := d.pc.WriteMsgUDPAddrPort(b, mark, to)
	return err
}

// addrPort is the address of a socket, an IPv4 one on a socket for both
// families in its plain form.
func addrPort(a net.Addr) netip.AddrPort {
	u, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := u.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
