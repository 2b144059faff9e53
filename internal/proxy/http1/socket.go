package http1

import (
	"errors"
	"io"
	"syscall"
)

// readNow is one read of a non-blocking socket; its end is io.EOF, and
// syscall.EAGAIN says that nothing is there.
func readNow(fd uintptr, p []byte) (int, error) {
	for {
		n, err := receive(fd, p)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// writeNow is one write of p, and of q behind it, to a non-blocking socket.
func writeNow(fd uintptr, p, q []byte) (int, error) {
	for {
		var (
			n   int
			err error
		)
		switch {
		case len(q) == 0:
			n, err = transmit(fd, p)
		case len(p) == 0:
			n, err = transmit(fd, q)
		default:
			n, err = transmitBoth(fd, p, q)
		}
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return 0, err
		}
		return n, nil
	}
}
