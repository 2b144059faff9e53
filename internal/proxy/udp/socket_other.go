//go:build !linux

package udp

import (
	"net"
	"net/netip"
)

// marks are not there: replies leave from the address that the system chooses.
type marks struct{ in [0]byte }

func (*marks) enabled() bool                          { return false }
func (*marks) enable(*net.UDPConn) error              { return nil }
func (*marks) parse(int) (to netip.Addr, mark []byte) { return netip.Addr{}, nil }
