//go:build !race

package engine_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"testing"
)

const webSocket = "GET /items HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// accepting takes upgrades and holds the connections without a goroutine for
// each, so that what the test measures is the proxy's.
func accepting(t *testing.T) (address string, end func()) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		var held []net.Conn
		defer func() {
			for _, nc := range held {
				nc.Close()
			}
		}()
		page := make([]byte, 4096)
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			held = append(held, nc)
			if _, err := nc.Read(page); err != nil {
				continue
			}
			_, _ = nc.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
				"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"))
		}
	}()
	return ln.Addr().String(), func() { ln.Close() }
}

// TestQuietTunnelsHaveSmallStacks: a quiet tunnel has two goroutines, and what
// lies on their stacks while they wait must leave them room to shrink to 4 and
// 2 KiB. One frame more in the depth below may double that.
func TestQuietTunnelsHaveSmallStacks(t *testing.T) {
	upstream, end := accepting(t)
	defer end()
	e := start(t, compiled(t, fmt.Sprintf(document, "off", "hi", upstream), nil))
	const tunnels = 300
	before := stacks()
	for range tunnels {
		nc, err := net.Dial("tcp", e.Addresses()["front"])
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if _, err := nc.Write([]byte(webSocket)); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReaderSize(nc, 512), nil)
		if err != nil || resp.StatusCode != 101 {
			t.Fatalf("%+v, %v", resp, err)
		}
	}
	const most = 7 << 10
	if got := int64(stacks()-before) / tunnels; got > most {
		t.Errorf("%d bytes of stack for a quiet tunnel, more than %d", got, most)
	} else {
		t.Logf("%d bytes of stack for a quiet tunnel", got)
	}
}

// stacks is the memory of all stacks once they have shrunk.
func stacks() uint64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.StackInuse
}
