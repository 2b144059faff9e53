//go:build !linux

package unixsocket

import (
	"io/fs"
	"syscall"
)

// restrict has no way to set the mode before the bind here.
func restrict(syscall.RawConn, fs.FileMode) error { return nil }
