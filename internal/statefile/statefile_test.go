package statefile

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestWriteAndRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	if _, found, err := Read(path); found || err != nil {
		t.Errorf("a file that is not there: %v, %v", found, err)
	}
	for _, content := range []string{"one", "", "another one"} {
		if err := Write(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got, found, err := Read(path); string(got) != content || !found || err != nil {
			t.Errorf("%q came back as %q, %v, %v", content, got, found, err)
		}
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("it left %v", left)
	}
}

// TestFailedWrite leaves what was there, and nothing else.
func TestFailedWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	if err := os.MkdirAll(filepath.Join(path, "taken"), 0o700); err != nil { // a directory cannot be replaced
		t.Fatal(err)
	}
	if err := Write(path, []byte("x")); err == nil {
		t.Error("a directory was replaced")
	}
	if err := Write(filepath.Join(dir, "none", "a"), []byte("x")); err == nil {
		t.Error("written into a directory that is not there")
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("it left %v", left)
	}
}

func TestTooLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), Largest+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Read(path); err == nil {
		t.Error("it was read")
	}
}
