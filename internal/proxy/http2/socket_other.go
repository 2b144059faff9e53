//go:build !linux || !(amd64 || arm64)

package http2

import "syscall"

func receive(fd uintptr, p []byte) (int, error) { return syscall.Read(int(fd), p) }

func transmit(fd uintptr, p []byte) (int, error) { return syscall.Write(int(fd), p) }
