package engine

import (
	"context"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/weirproxy/weir/stream"
)

// TestConnectFault: whose fault it is that a connection could not be opened.
func TestConnectFault(t *testing.T) {
	system := func(errno syscall.Errno) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", errno)}
	}
	for err, want := range map[error]stream.Kind{
		system(syscall.ECONNREFUSED):  stream.ConnectRefused,
		system(syscall.ENOENT):        stream.ConnectRefused,
		system(syscall.ETIMEDOUT):     stream.ConnectTimeout,
		os.ErrDeadlineExceeded:        stream.ConnectTimeout,
		system(syscall.EHOSTUNREACH):  stream.ConnectFailed,
		system(syscall.EMFILE):        stream.Overloaded,
		system(syscall.ENFILE):        stream.Overloaded,
		system(syscall.EADDRNOTAVAIL): stream.Overloaded,
		fmt.Errorf("something else"):  stream.ConnectFailed,
	} {
		if f := connectFault(t.Context(), err); f.Kind != want || f.Retry != stream.RetryUnsent {
			t.Errorf("%v: %v, want %v", err, f.Kind, want)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if f := connectFault(gone, system(syscall.EMFILE)); f.Kind != stream.ClientGone {
		t.Errorf("a client that left: %v", f.Kind)
	}
}
