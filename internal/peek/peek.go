// Package peek looks whether a quiet connection is still open, without reading
// from it and without waiting.
package peek

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// Quiet tells whether nc is open and has nothing to read. On an idle HTTP/1
// connection anything else means that it must not be used again: the peer
// closed it, or said something that nobody asked for. Of a TLS connection the
// socket underneath is looked at, where a close arrives as bytes.
//
// A connection that gives no access to its socket counts as quiet: nothing is
// known against it.
func Quiet(nc net.Conn) bool {
	for {
		wrapped, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		nc = wrapped.NetConn()
	}
	socket, ok := nc.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false // closed on our side
	}
	quiet := false
	err = raw.Read(func(fd uintptr) bool {
		quiet = errors.Is(Look(fd), syscall.EAGAIN)
		return true // never wait for readability
	})
	return err == nil && quiet
}

// Look looks at what a socket has to read and leaves it there: nil is
// something, syscall.EAGAIN nothing yet, io.EOF nothing any more.
func Look(fd uintptr) error {
	var one [1]byte
	for {
		n, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		switch {
		case err == syscall.EINTR:
			continue
		case err != nil:
			return err
		case n == 0:
			return io.EOF
		}
		return nil
	}
}
