//go:build linux && (amd64 || arm64)

package http1

import (
	"syscall"
	"unsafe"
)

// receive is recvfrom(2) without the notice to the scheduler that a system
// call may block: the socket is non-blocking and MSG_DONTWAIT says so again.
// Against syscall.Read that is a fifth of the cost of a read that finds
// nothing, of which there are two in every exchange.
func receive(fd uintptr, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd,
		uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), syscall.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// transmit is sendto(2) in the same way. What would block is said to, and a
// write on a connection that the peer has reset raises no signal. Besides its
// cost, the notice lets the scheduler give the processor of a write that takes
// long (on loopback the receiver's half runs inside of it) to another thread,
// and the exchange then queues for one again.
func transmit(fd uintptr, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, fd,
		uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// transmitBoth is sendmsg(2) in the same way: a head and the body behind it
// leave in one call, and the body is not copied to stand there.
func transmitBoth(fd uintptr, p, q []byte) (int, error) {
	parts := [2]syscall.Iovec{{Base: &p[0], Len: uint64(len(p))}, {Base: &q[0], Len: uint64(len(q))}}
	message := syscall.Msghdr{Iov: &parts[0], Iovlen: uint64(len(parts))}
	n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDMSG, fd,
		uintptr(unsafe.Pointer(&message)), syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
