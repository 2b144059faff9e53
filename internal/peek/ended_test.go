package peek

import (
	"net"
	"runtime"
	"testing"
)

func ended(t *testing.T, nc net.Conn) (is bool) {
	t.Helper()
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { is = Ended(fd) }); err != nil {
		t.Fatal(err)
	}
	return is
}

func TestEnded(t *testing.T) {
	near, far := pair(t)
	if ended(t, near) {
		t.Fatal("an open connection has not ended")
	}
	if _, err := far.Write([]byte("goodbye")); err != nil {
		t.Fatal(err)
	}
	if ended(t, near) {
		t.Fatal("bytes to read are no end")
	}
	if err := far.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1)
	if _, err := near.Read(buf); err != nil { // the end comes behind the bytes: with the first, it need not be there
		t.Fatal(err)
	}
	if runtime.GOOS == "linux" {
		for !ended(t, near) { // on its way through the loopback device
			runtime.Gosched()
		}
	}
}
