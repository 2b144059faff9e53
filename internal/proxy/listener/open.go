package listener

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"
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

func open(network, address string) (ln net.Listener, unlink func(), err error) {
	switch network {
	case "tcp":
		ln, err = openTCP(address)
		return ln, func() {}, err
	case "unix":
		return openUnix(address)
	}
	return nil, nil, fmt.Errorf("network %q is neither tcp nor unix", network)
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

func openUnix(path string) (net.Listener, func(), error) {
	if limit := len(syscall.RawSockaddrUnix{}.Path); len(path) >= limit {
		return nil, nil, fmt.Errorf("cannot listen on unix:%s: the path has %d bytes, at most %d are possible", path, len(path), limit-1)
	}
	if err := removeStale(path); err != nil {
		return nil, nil, err
	}
	lc := net.ListenConfig{Control: restrictUnix}
	ln, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot listen on unix:%s: %w", path, err)
	}
	unlink, err := own(ln, path)
	if err != nil {
		ln.Close()
		return nil, nil, fmt.Errorf("cannot listen on unix:%s: %w", path, err)
	}
	return ln, unlink, nil
}

// own sets the mode of the file and returns what removes it: only while it is
// the file made here, not one that another process has put in its place.
func own(ln net.Listener, path string) (unlink func(), err error) {
	if unix, ok := ln.(*net.UnixListener); ok {
		unix.SetUnlinkOnClose(false)
	}
	mine, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	unlink = func() {
		if now, err := os.Lstat(path); err == nil && os.SameFile(mine, now) {
			_ = os.Remove(path) // what stays is removed as stale by the next start
		}
	}
	if err := os.Chmod(path, socketMode); err != nil {
		unlink()
		return nil, err
	}
	return unlink, nil
}

// removeStale removes the file that a process left behind which ended without
// a Stop. It removes nothing but a socket on which nobody listens.
func removeStale(path string) error {
	found, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot listen on unix:%s: %w", path, err)
	}
	if found.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("cannot listen on unix:%s: a file that is not a socket is there; remove it or choose another path", path)
	}
	nc, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		nc.Close()
		return fmt.Errorf("cannot listen on unix:%s: another process listens there; stop it or choose another path", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("cannot listen on unix:%s: a socket is there and it is not certain that nobody listens on it (%w); remove it if so", path, err)
	}
	if now, err := os.Lstat(path); err != nil || !os.SameFile(found, now) {
		return fmt.Errorf("cannot listen on unix:%s: another process is just now starting there", path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("cannot remove the stale socket unix:%s: %w", path, err)
	}
	return nil
}
