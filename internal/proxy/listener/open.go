package listener

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"
	"time"

	"github.com/weirproxy/weir/internal/unixsocket"
)

// TCP keep-alive probes find peers that vanished without a word while a tunnel
// or a slow body is silent.
const (
	probeIdle     = 30 * time.Second
	probeInterval = 15 * time.Second
	probeCount    = 4
)

// socketMode lets the owner and the group of the process connect.
const socketMode fs.FileMode = 0o660

func open(network, address string) (net.Listener, error) {
	switch network {
	case "tcp":
		return openTCP(address)
	case "unix":
		return openUnix(address)
	}
	return nil, fmt.Errorf("network %q is neither tcp nor unix", network)
}

// openTCP leaves TCP_NODELAY to the net package, which sets it on every
// connection.
func openTCP(address string) (net.Listener, error) {
	lc := tcpConfig()
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, explain(err, address)
	}
	return ln, nil
}

func explain(err error, address string) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("cannot listen on %s: another process, or another listener, has that address; stop it or choose another port", address)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("cannot listen on %s: not permitted; choose a port above 1023 or grant CAP_NET_BIND_SERVICE", address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("cannot listen on %s: this machine does not have that address", address)
	}
	return fmt.Errorf("cannot listen on %s: %w", address, err)
}

func openUnix(path string) (net.Listener, error) {
	ln, err := unixsocket.Listen(path, socketMode)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on unix:%s: %w", path, err)
	}
	return ln, nil
}
