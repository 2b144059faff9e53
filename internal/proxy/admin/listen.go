package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"sync"
	"syscall"

	"github.com/weirproxy/weir/internal/unixsocket"
)

const unixPrefix = "unix:"

// open opens the address of the admin pages.
func open(address string, remote bool) (net.Listener, error) {
	if path, ok := strings.CutPrefix(address, unixPrefix); ok {
		return openUnix(path)
	}
	if err := checkReach(address, remote); err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("admin pages on %s: %w; %s", address, err, advice(err))
	}
	return ln, nil
}

// checkReach refuses what other machines reach. The compiler has said so
// already; here it cannot be forgotten.
func checkReach(address string, remote bool) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("admin pages on %q: %w; write host:port, unix:/path or off", address, err)
	}
	if remote || isLoopback(host) {
		return nil
	}
	return fmt.Errorf("admin pages on %s: other machines reach this address and the pages have no login; use 127.0.0.1 or unix:/path, or set allow_remote", address)
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func advice(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "another process has it: choose another admin.address"
	case errors.Is(err, fs.ErrPermission):
		return "this user may not open it: choose another admin.address"
	}
	return "check admin.address"
}

// openUnix opens a socket that only its owner may connect to.
func openUnix(path string) (net.Listener, error) {
	if path == "" {
		return nil, errors.New("admin pages on unix: the path of the socket is missing; write unix:/path")
	}
	ln, err := unixsocket.Listen(path, 0o600)
	if err != nil {
		return nil, fmt.Errorf("admin pages on unix:%s: %w", path, err)
	}
	return ln, nil
}

// limitedListener accepts while a place is free.
type limitedListener struct {
	net.Listener
	places chan struct{}
	once   sync.Once
	closed chan struct{}
}

func limited(ln net.Listener, max int) net.Listener {
	return &limitedListener{Listener: ln, places: make(chan struct{}, max), closed: make(chan struct{})}
}

func (l *limitedListener) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &limitedConn{Conn: conn, leave: sync.OnceFunc(func() { <-l.places })}, nil
}

func (l *limitedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	leave func()
}

func (c *limitedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
