// Package unixsocket opens Unix sockets to listen on: with their mode from the
// first moment, in the place of what an ended process has left, and of nothing
// else. It never decides who may connect; the caller brings the mode.
package unixsocket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Listen opens a socket at path. To close it removes the file, unless another
// process has put its own there. Errors do not name the path.
func Listen(path string, mode fs.FileMode) (net.Listener, error) {
	if limit := len(syscall.RawSockaddrUnix{}.Path); len(path) >= limit {
		return nil, fmt.Errorf("the path has %d bytes, at most %d are possible", len(path), limit-1)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error { return restrict(raw, mode) }}
	ln, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("%w; check that its directory is there and may be written", err)
	}
	s := &socket{UnixListener: ln.(*net.UnixListener), path: path}
	s.SetUnlinkOnClose(false) // which would not look whose file it is
	if s.made, err = os.Lstat(path); err != nil {
		return nil, errors.Join(err, s.UnixListener.Close())
	}
	if err := os.Chmod(path, mode); err != nil { // where restrict cannot do it
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

type socket struct {
	*net.UnixListener
	path string
	made fs.FileInfo
	once sync.Once
}

// Close removes the file before it closes: a client then finds no socket
// instead of a dead one.
func (s *socket) Close() error {
	s.once.Do(func() {
		if now, err := os.Lstat(s.path); err == nil && os.SameFile(s.made, now) {
			_ = os.Remove(s.path) // what stays is stale to the next who listens
		}
	})
	return s.UnixListener.Close()
}

// answerTime is how long a process may take to accept on its own socket.
const answerTime = time.Second

// removeStale removes the file that a process left behind which ended without
// Close. It removes nothing but a socket on which nobody listens.
func removeStale(path string) error {
	found, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if found.Mode().Type() != fs.ModeSocket {
		return errors.New("a file that is not a socket is there; remove it or choose another path")
	}
	nc, err := net.DialTimeout("unix", path, answerTime)
	if err == nil {
		nc.Close()
		return errors.New("another process listens there; stop it or choose another path")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("a socket is there and it is not certain that nobody listens on it (%w); remove it if so", err)
	}
	if now, err := os.Lstat(path); err != nil || !os.SameFile(found, now) {
		return errors.New("another process is just now starting there")
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("the stale socket there cannot be removed: %w", err)
	}
	return nil
}
