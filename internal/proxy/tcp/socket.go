package tcp

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

// writeNow is one write to a non-blocking socket.
func writeNow(fd uintptr, p []byte) (int, error) {
	for {
		n, err := transmit(fd, p)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return 0, err
		}
		return n, nil
	}
}
