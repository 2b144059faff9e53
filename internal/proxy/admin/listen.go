package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
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

// openUnix opens a socket that only its owner may connect to. The mode is set
// before the file exists: bind takes it from the socket (Linux); the chmod
// behind it is for systems where it does not.
func openUnix(path string) (net.Listener, error) {
	if path == "" {
		return nil, errors.New("admin pages on unix: the path of the socket is missing; write unix:/path")
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	own := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), 0o600) })
	}}
	ln, err := own.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("admin pages on unix:%s: %w; %s", path, err, advice(err))
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("admin pages on unix:%s: %w", path, err), ln.Close())
	}
	return ln, nil
}

// staleAfter is how long a process may take to accept on its own socket.
const staleAfter = time.Second

// removeStale removes a socket that no process serves any more.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("admin pages on unix:%s: %w", path, err)
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return fmt.Errorf("admin pages on unix:%s: there is a file that is not a socket; remove it or choose another admin.address", path)
	}
	conn, err := net.DialTimeout("unix", path, staleAfter)
	if err == nil {
		_ = conn.Close() // only its opening told something
		return fmt.Errorf("admin pages on unix:%s: another process serves it; choose another admin.address", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("admin pages on unix:%s: %w", path, err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("admin pages on unix:%s: the socket of an earlier process is in the way: %w", path, err)
	}
	return nil
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
