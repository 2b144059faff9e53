package listener

import (
	"io"
	"net"
	"path/filepath"
	"testing"

	"github.com/weirproxy/weir/stream"
)

// TestHandOver: nobody is refused while an address changes hands, and who was
// connected stays with the old handler.
func TestHandOver(t *testing.T) {
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(t.TempDir(), "s")} {
		t.Run(network, func(t *testing.T) {
			old := start(t, Config{Network: network, Address: address}, echo)
			before := dial(t, old)
			if !answers(t, before) {
				t.Fatal("the old listener does not answer")
			}
			next := old.HandOver(Config{Name: "next", Log: quietLog()})
			if next == nil {
				t.Fatal("nothing was handed over")
			}
			between := dial(t, next) // nobody accepts now: it waits
			served := make(chan error, 1)
			go func() {
				served <- next.Serve(func(nc net.Conn, facts *stream.Conn) {
					var b [1]byte
					_, _ = nc.Read(b[:])
					_, _ = io.WriteString(nc, facts.Listener)
				})
			}()
			old.Stop() // does not close what is not its own any more
			if !answers(t, before) {
				t.Error("a connection of the old listener ended")
			}
			for name, nc := range map[string]net.Conn{"between": between, "after": dial(t, next)} {
				if _, err := nc.Write([]byte("x")); err != nil {
					t.Error(err)
				}
				if got, _ := io.ReadAll(nc); string(got) != "next" {
					t.Errorf("%s: served by %q, want next", name, got)
				}
			}
			if old.HandOver(Config{}) != nil {
				t.Error("handed over twice")
			}
			next.Stop()
			if err := next.Wait(t.Context()); err != nil {
				t.Error(err)
			}
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestHandOverBeforeServe: an address of which nobody took a connection yet.
func TestHandOverBeforeServe(t *testing.T) {
	l, err := Open(Config{Name: "a", Network: "tcp", Address: "127.0.0.1:0", Log: quietLog()})
	if err != nil {
		t.Fatal(err)
	}
	next := l.HandOver(Config{Name: "b", Log: quietLog()})
	if err := l.Serve(echo); err != nil {
		t.Error(err)
	}
	if err := l.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	next.Stop()
	if err := next.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}
