package listener

import (
	"context"
	"fmt"
	"net"
)

// packetBuffer is how much may wait for the one reader of a socket. The system
// gives less where net.core.rmem_max says so.
const packetBuffer = 4 << 20

// OpenPacket binds the UDP address of cfg, of which the limits and numbers do
// not count here.
func OpenPacket(cfg Config) (*net.UDPConn, error) {
	if cfg.Network == "unix" {
		return nil, fmt.Errorf("listener %s: %s is the path of a socket; UDP needs host:port", cfg.Name, cfg.Address)
	}
	pc, err := new(net.ListenConfig).ListenPacket(context.Background(), "udp", cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("listener %s: %w", cfg.Name, explain(err, cfg.Address))
	}
	udp := pc.(*net.UDPConn) // of network udp there is no other
	_ = udp.SetReadBuffer(packetBuffer)
	return udp, nil
}
