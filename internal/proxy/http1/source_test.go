package http1

import (
	"errors"
	"io"
	"net"
	"testing"
)

// TestSourceEnd: a peer that ends its half, as one side of a tunnel may do long
// before the other, does not keep a page.
func TestSourceEnd(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	var s source
	s.init(nc)
	if err := peer.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := s.fill(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if s.page != nil || s.buf != nil {
		t.Error("a page is held for a half that has ended")
	}
}
