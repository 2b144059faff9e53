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

func TestUnixStaleSocketIsRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.sock")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false) // as after a crash
	left.Close()
	l := start(t, Config{Network: "unix", Address: path}, echo)
	if !answers(t, dial(t, l)) {
		t.Error("not served")
	}
}

func TestUnixOtherFilesStay(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "precious")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, link, dir} {
		l, err := Open(Config{Network: "unix", Address: path})
		if err == nil {
			l.Stop()
			t.Fatalf("%s was taken over", path)
		}
		if !strings.Contains(err.Error(), "not a socket") {
			t.Errorf("%s: %v", path, err)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("%s is gone", path)
		}
	}
}

// TestUnixSuccessorStays: Stop does not remove the socket of a process that
// has taken the path meanwhile.
func TestUnixSuccessorStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.sock")
	first := start(t, Config{Network: "unix", Address: path}, echo)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second := start(t, Config{Network: "unix", Address: path}, echo)
	first.Stop()
	if !answers(t, dial(t, second)) {
		t.Error("the successor is not served")
	}
}
