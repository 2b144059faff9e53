package listener

import (
	"net"
	"syscall"
	"time"
)

// tcpConfig sets the keep-alive probes on the listening socket. Connections
// inherit them, which saves four system calls on each.
func tcpConfig() net.ListenConfig {
	return net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, rc syscall.RawConn) error {
		return control(rc, func(fd int) error {
			for _, option := range [...]struct{ level, name, value int }{
				{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
				{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, int(probeIdle / time.Second)},
				{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, int(probeInterval / time.Second)},
				{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, probeCount},
			} {
				if err := syscall.SetsockoptInt(fd, option.level, option.name, option.value); err != nil {
					return err
				}
			}
			return nil
		})
	}}
}

func control(rc syscall.RawConn, set func(fd int) error) error {
	var err error
	if outer := rc.Control(func(fd uintptr) { err = set(int(fd)) }); outer != nil {
		return outer
	}
	return err
}
