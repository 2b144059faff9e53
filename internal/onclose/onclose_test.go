package onclose

import (
	"net"
	"testing"

	"github.com/weirproxy/weir/stream"
)

type tunnel struct{ stream.Body }

func (tunnel) Write(p []byte) (int, error) { return len(p), nil }
func (tunnel) CloseWrite() error           { return nil }

type socket struct{ tunnel }

func (socket) Socket() net.Conn { return nil }

// TestBody: it ends once, and the body stays what it is.
func TestBody(t *testing.T) {
	for _, c := range []struct {
		body           stream.Body
		tunnel, socket bool
	}{{stream.BytesBody([]byte("abc")), false, false}, {tunnel{stream.NoBody}, true, false}, {socket{tunnel{stream.NoBody}}, true, true}} {
		ended := 0
		b := Body(c.body, func() { ended++ })
		_, isTunnel := b.(stream.Duplex)
		_, isSocket := b.(stream.Socketed)
		if isTunnel != c.tunnel || isSocket != c.socket {
			t.Errorf("%T became %T", c.body, b)
		}
		if _, waits := b.(stream.Awaiter); !waits {
			t.Errorf("%T cannot wait", b)
		}
		if w, ok := b.(stream.Whole); ok {
			if content, whole := w.Bytes(); !whole || string(content) != "abc" {
				t.Errorf("%q, %v of a whole body", content, whole)
			}
		}
		if ended != 0 {
			t.Error("it ends before its end")
		}
		b.Close()
		b.Close()
		if ended != 1 {
			t.Errorf("%T ends %d times", c.body, ended)
		}
	}
}
