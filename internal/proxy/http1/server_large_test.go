package http1

import (
	"bytes"
	"context"
	"io"
	"net"
	"strconv"
	"testing"

	"github.com/weirproxy/weir/stream"
)

// narrow is dial over a socket of the server that takes a few thousand bytes at
// a time.
func (e *edge) narrow() *peer {
	e.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		e.t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		e.t.Fatal(err)
	}
	server, err := ln.Accept()
	if err != nil {
		e.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	e.t.Cleanup(func() { client.Close(); cancel() })
	if err := server.(*net.TCPConn).SetWriteBuffer(8 << 10); err != nil {
		e.t.Fatal(err)
	}
	e.goes.run(func() { e.Serve(ctx, server, facts(server)) })
	return newPeer(e.t, client)
}

// TestLargeInMemory: content that lies in memory leaves from where it is, beside
// the head, whole and in order, however little the socket takes at a time; and
// the answer to the next request stands behind it.
func TestLargeInMemory(t *testing.T) {
	content := make([]byte, 3*writeOffer+17)
	for i := range content {
		content[i] = byte(i * 2654435761 >> 13)
	}
	for _, length := range []int{pageSize - 300, pageSize, writeOffer - 1, writeOffer, writeOffer + 1, len(content)} {
		t.Run(strconv.Itoa(length), func(t *testing.T) {
			e := newEdge(t, fixed(func(req *stream.Request) *stream.Response {
				if req.Target.Path == "/next" {
					return text(200, "next")
				}
				return &stream.Response{Status: 200, Length: int64(length), Body: stream.BytesBody(content[:length])}
			}))
			p := e.narrow()
			p.send(get + "\r\n")
			if first, fields := p.head(); first != "HTTP/1.1 200 OK" || lengthOf(fields) != length {
				t.Fatalf("%s, %q", first, fields)
			}
			got := make([]byte, length)
			if _, err := io.ReadFull(p.r, got); err != nil || !bytes.Equal(got, content[:length]) {
				t.Fatalf("the content is another, or breaks off: %v", err)
			}
			p.send("GET /next HTTP/1.1\r\nHost: h\r\n\r\n")
			if first, fields := p.head(); first != "HTTP/1.1 200 OK" || p.read(lengthOf(fields)) != "next" {
				t.Errorf("behind it stands %s", first)
			}
			if out := e.exchange(0).BytesOut; out != int64(length) {
				t.Errorf("%d bytes are counted, want %d", out, length)
			}
		})
	}
}
