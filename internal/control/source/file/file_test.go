package file

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// write makes files below dir; a name that ends in "/" is a directory.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		parent := filepath.Dir(path)
		if strings.HasSuffix(name, "/") {
			parent = path
		}
		if err := os.MkdirAll(parent, 0o755); err != nil {
			t.Fatal(err)
		}
		if parent == path {
			continue
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"d/b.yaml": "b", "d/a.yml": "a", "d/c.json": "c", "d/.hidden.yaml": "h", "d/notes.txt": "n",
		"d/b.yaml~": "backup", "d/below/d.yaml": "d", "d/dir.yaml/x": "x", "single.conf": "s", "empty/": "",
	})
	if err := os.Symlink("nowhere", filepath.Join(dir, "d/gone.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("single.conf", filepath.Join(dir, "link.yaml")); err != nil {
		t.Fatal(err)
	}
	join := func(names ...string) (paths []string) {
		for _, name := range names {
			paths = append(paths, dir+"/"+name)
		}
		return paths
	}
	for _, c := range []struct {
		name       string
		paths      []string
		want       string // names and contents
		unreadable string
		err        string
	}{
		{"directory", join("d"), "d/a.yml=a d/b.yaml=b d/c.json=c", "d/gone.yaml", ""},
		{"a file of any name", join("single.conf"), "single.conf=s", "", ""},
		{"symlink", join("link.yaml"), "link.yaml=s", "", ""},
		{"each file once", join("d/b.yaml", "d", "d/./b.yaml"), "d/b.yaml=b d/a.yml=a d/c.json=c", "d/gone.yaml", ""},
		{"nothing", nil, "", "", "no document given"},
		{"missing", join("none.yaml"), "", "", "none.yaml: no such file"},
		{"directory without documents", join("empty"), "", "", "holds no *.yaml"},
	} {
		t.Run(c.name, func(t *testing.T) {
			set, err := Read(c.paths)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got, unreadable []string
			for _, d := range set.Documents {
				got = append(got, strings.TrimPrefix(d.Name, dir+"/")+"="+string(d.Content))
			}
			for _, u := range set.Unreadable {
				unreadable = append(unreadable, strings.TrimPrefix(u.Name, dir+"/"))
			}
			if strings.Join(got, " ") != c.want || strings.Join(unreadable, " ") != c.unreadable {
				t.Errorf("got %q, unreadable %q", got, unreadable)
			}
		})
	}
}

func TestReadIsBounded(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"big.pem": strings.Repeat("x", maxSecret+1), "fits.pem": strings.Repeat("x", maxSecret)})
	if _, err := Secret(filepath.Join(dir, "big.pem")); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a secret of more than maxSecret: %v", err)
	}
	if content, err := Secret(filepath.Join(dir, "fits.pem")); err != nil || len(content) != maxSecret {
		t.Errorf("a secret of maxSecret: %d bytes, %v", len(content), err)
	}
	if _, err := Secret(dir); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("a directory as a secret: %v", err)
	}
}

// TestWhatIsNoFile: neither a pipe without a writer nor a device holds a check up.
func TestWhatIsNoFile(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe.yaml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if content, err := Secret(pipe); err != nil || len(content) != 0 {
		t.Errorf("Secret of a pipe without a writer: %q, %v", content, err)
	}
	if set, err := Read([]string{pipe}); err != nil || len(set.Documents) != 1 || len(set.Documents[0].Content) != 0 {
		t.Errorf("Read of a pipe without a writer: %+v, %v", set, err)
	}
	if _, err := Secret("/dev/zero"); err == nil || !strings.Contains(err.Error(), "device") {
		t.Errorf("Secret of a device: %v", err)
	}
}
