package peek

import "golang.org/x/sys/unix"

// Ended tells whether the peer has ended or reset its side, whatever is still
// there to read. Of a TLS connection that is what Look cannot tell: the goodbye
// of TLS is bytes.
func Ended(fd uintptr) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n == 1 && fds[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
}
