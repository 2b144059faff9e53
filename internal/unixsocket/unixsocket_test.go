package unixsocket

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// open listens at path until the test ends.
func open(t *testing.T, path string) net.Listener {
	t.Helper()
	ln, err := Listen(path, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func connects(path string) bool {
	nc, err := net.Dial("unix", path)
	if err != nil {
		return false
	}
	nc.Close()
	return true
}

func TestListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.sock")
	ln := open(t, path)
	if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Fatalf("the socket is %v (%v), want mode 640", info, err)
	}
	if _, err := Listen(path, 0o600); err == nil || !strings.Contains(err.Error(), "another process listens there") {
		t.Errorf("a socket in use gives %v", err)
	}
	if !connects(path) {
		t.Error("nobody listens after a refused Listen")
	}
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("after Close the file is there (%v)", err)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.sock")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false) // as after a crash
	left.Close()
	open(t, path)
	if !connects(path) {
		t.Error("nobody listens")
	}
}

func TestOtherFilesStay(t *testing.T) {
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
		if _, err := Listen(path, 0o600); err == nil || !strings.Contains(err.Error(), "not a socket") {
			t.Errorf("%s: %v", path, err)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("%s is gone", path)
		}
	}
}

// TestSuccessorStays: Close does not remove the socket of a process that has
// taken the path meanwhile, not even the second time.
func TestSuccessorStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.sock")
	first := open(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	open(t, path)
	for range 2 {
		first.Close()
		if !connects(path) {
			t.Fatal("the successor is gone")
		}
	}
}

func TestImpossiblePaths(t *testing.T) {
	for path, want := range map[string]string{
		"/" + strings.Repeat("x", 200):               "at most",
		filepath.Join(t.TempDir(), "none", "w.sock"): "check that its directory is there",
	} {
		if _, err := Listen(path, 0o600); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s gives %v, want %q", path, err, want)
		}
	}
}
