package listener

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirproxy/weir/stream"
)

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.sock")
	got := make(chan *stream.Conn, 1)
	l := start(t, Config{Network: "unix", Address: path, MaxPerClient: 1}, func(nc net.Conn, facts *stream.Conn) {
		got <- facts
		echo(nc, facts)
	})
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Perm() != socketMode {
		t.Fatalf("the socket has mode %v (%v), want %v", info.Mode().Perm(), err, socketMode)
	}
	for range 2 { // who connects is not known, so that there is no limit per client
		if !answers(t, dial(t, l)) {
			t.Fatal("not served")
		}
		if facts := <-got; facts.Remote.IsValid() || facts.Local.IsValid() {
			t.Errorf("a Unix socket has the addresses %v and %v", facts.Remote, facts.Local)
		}
	}
	if second, err := Open(Config{Network: "unix", Address: path}); err == nil {
		second.Stop()
		t.Fatal("a socket in use was taken over")
	} else if !strings.Contains(err.Error(), "another process listens there") {
		t.Errorf("error: %v", err)
	}
	l.Stop()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("after Stop the file is there (%v)", err)
	}
}
