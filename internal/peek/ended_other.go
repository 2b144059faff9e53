//go:build !linux

package peek

import (
	"errors"
	"syscall"
)

// Ended tells whether the peer has ended or reset its side, if nothing is left
// to read: there is no portable way to ask beyond that.
func Ended(fd uintptr) bool {
	err := Look(fd)
	return err != nil && !errors.Is(err, syscall.EAGAIN)
}
