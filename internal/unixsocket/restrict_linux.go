package unixsocket

import (
	"io/fs"
	"syscall"
)

// restrict gives the socket its mode before the bind, so that there is no
// moment in which others may connect.
func restrict(raw syscall.RawConn, mode fs.FileMode) error {
	var err error
	if outer := raw.Control(func(fd uintptr) { err = syscall.Fchmod(int(fd), uint32(mode)) }); outer != nil {
		return outer
	}
	return err
}
