package peek

import (
	"net"
	"testing"
	"time"
)

// pair is a TCP connection from both sides.
func pair(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

type wrapper struct {
	net.Conn
	inner net.Conn
}

func (w wrapper) NetConn() net.Conn { return w.inner }

func TestQuiet(t *testing.T) {
	near, far := pair(t)
	if !Quiet(near) || !Quiet(wrapper{inner: near}) {
		t.Fatal("an open connection with nothing to read is quiet")
	}
	far.Write([]byte("HTTP/1.1 408 Request Timeout\r\n"))
	near.SetReadDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, 30)
	if n, err := near.Read(buf[:1]); n != 1 {
		t.Fatal(err)
	}
	if Quiet(near) || Quiet(wrapper{inner: near}) {
		t.Fatal("unasked bytes are not quiet")
	}
	if n, _ := near.Read(buf); n != 29 {
		t.Fatalf("the look took bytes away: %d left of 29", n)
	}
	if !Quiet(near) {
		t.Fatal("all was read: quiet again")
	}
	far.Close()
	if _, err := near.Read(buf); err == nil {
		t.Fatal("want the end")
	}
	if Quiet(near) {
		t.Fatal("closed by the peer, and quiet")
	}
	near.Close()
	if Quiet(near) {
		t.Fatal("closed by us, and quiet")
	}
}

func TestNoSocket(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if !Quiet(a) {
		t.Error("nothing is known against a pipe")
	}
}

func BenchmarkQuiet(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer near.Close()
	b.ReportAllocs()
	for b.Loop() {
		Quiet(near)
	}
}
