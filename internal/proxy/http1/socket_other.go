//go:build !linux || !(amd64 || arm64)

package http1

import "syscall"

func receive(fd uintptr, p []byte) (int, error) { return syscall.Read(int(fd), p) }

func transmit(fd uintptr, p []byte) (int, error) { return syscall.Write(int(fd), p) }

// transmitBoth writes the first part only; the second is next.
func transmitBoth(fd uintptr, p, _ []byte) (int, error) { return transmit(fd, p) }
