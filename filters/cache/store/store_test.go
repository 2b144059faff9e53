package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type thing struct {
	key    Key
	weight uint32
	labels []string
}

func (x *thing) Key() Key         { return x.key }
func (x *thing) Weight() uint32   { return x.weight }
func (x *thing) Labels() []string { return x.labels }

func key(name string) Key { return sha256.Sum256([]byte(name)) }

func made(name string, weight uint32, labels ...string) *thing {
	return &thing{key(name), weight, labels}
}

func nothing([]string) bool { return false }

func TestMemory(t *testing.T) {
	m := NewMemory[*thing](1000, func() {})
	a := made("a", 400, URLLabel("h/a"), TagLabel("x"))
	b := made("b", 300, URLLabel("h/b"), TagLabel("x"), TagLabel("y"))
	m.Put(a)
	m.Put(b)
	if got, ok := m.Get(key("a")); !ok || got != a || m.Bytes() != 700 || m.Len() != 2 {
		t.Fatalf("%v, %v; %d bytes, %d entries", got, ok, m.Bytes(), m.Len())
	}
	again := made("a", 100, URLLabel("h/a"))
	m.Put(again)
	if got, _ := m.Get(key("a")); got != again || m.Bytes() != 400 {
		t.Errorf("replaced: %v, %d bytes", got, m.Bytes())
	}
	if found := m.Purge(Purge{Tag: "x"}); len(found) != 1 || found[0] != b {
		t.Errorf("the tag x finds %v: that of the replaced entry counts no more", found)
	}
	if m.Has(key("b")) || !m.Has(key("a")) {
		t.Error("purged the wrong one")
	}
	m.Delete(key("a"))
	if m.labels.Len() != 0 || m.Bytes() != 0 {
		t.Errorf("%d labels and %d bytes of nothing", m.labels.Len(), m.Bytes())
	}
}

func TestPurge(t *testing.T) {
	for _, c := range []struct {
		purge Purge
		want  string
	}{
		{Purge{URL: "h/a"}, "a1 a2"}, {Purge{URL: "h"}, ""}, {Purge{Tag: "x"}, "a1 b"}, {Purge{Tag: "h/a"}, ""},
		{Purge{Prefix: "h/a"}, "a1 a2 ab"}, {Purge{Prefix: "g"}, "g"}, {Purge{}, "a1 a2 ab b g"},
	} {
		m := NewMemory[*thing](1<<20, func() {})
		names := map[*thing]string{}
		for name, labels := range map[string][]string{
			"a1": {URLLabel("h/a"), TagLabel("x")}, "a2": {URLLabel("h/a")}, "ab": {URLLabel("h/ab")},
			"b": {URLLabel("h/b"), TagLabel("x")}, "g": {URLLabel("g/"), TagLabel("h/a2")},
		} {
			x := made(name, 1, labels...)
			names[x] = name
			m.Put(x)
		}
		var got []string
		for _, x := range m.Purge(c.purge) {
			got = append(got, names[x])
		}
		slices.Sort(got)
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v: %q, want %q", c.purge, got, c.want)
		}
	}
}

// The budget holds whatever comes, and no label of an evicted entry stays.
func TestBudget(t *testing.T) {
	var evicted atomic.Int64
	m := NewMemory[*thing](10_000, func() { evicted.Add(1) })
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for i := range 3000 {
				m.Put(made(fmt.Sprint(i%500), 100, URLLabel(fmt.Sprint(i%500)), TagLabel("all")))
				m.Get(key(fmt.Sprint(i % 7)))
			}
		})
	}
	work.Wait()
	m.Resize(5_000)
	if m.Bytes() > 5_000 || evicted.Load() == 0 {
		t.Errorf("%d bytes, %d evicted", m.Bytes(), evicted.Load())
	}
	if found := m.Purge(Purge{Tag: "all"}); m.labels.Len() != 0 || m.Bytes() != 0 || len(found) == 0 {
		t.Errorf("%d labels, %d bytes after everything is purged", m.labels.Len(), m.Bytes())
	}
	m.Put(made("giant", 1<<30))
	if m.Has(key("giant")) || m.Bytes() > 5_000 {
		t.Error("what is larger than the budget is kept")
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

func TestLog(t *testing.T) {
	var l Log
	then := l.Now()
	if l.Since(then, "h/a", nil, true) {
		t.Error("nothing was purged")
	}
	l.Add(Purge{URL: "h/a"})
	l.Add(Purge{Tag: "x"})
	for _, c := range []struct {
		url, tag string
		any      bool
		want     bool
	}{{"h/a", "", false, true}, {"h/b", "", false, false}, {"h/b", "x", false, true}, {"h/b", "y", false, false}, {"h/b", "", true, true}} {
		if got := l.Since(then, c.url, []string{c.tag}, c.any); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	if l.Since(l.Now(), "h/a", []string{"x"}, true) {
		t.Error("a purge from before counts")
	}
	l.Add(Purge{Prefix: "g/"})
	if !l.Since(then+2, "g/x", nil, false) || l.Since(then+2, "h/", nil, false) {
		t.Error("prefix")
	}
	for range remembered + 1 {
		l.Add(Purge{URL: "z"})
	}
	if !l.Since(then, "h/b", nil, false) {
		t.Error("more purges than are remembered, and it is sure of itself")
	}
}

func TestDisk(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "cache")
	d, err := OpenDisk(folder, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte("content"), 1000)
	labels := []string{URLLabel("h/a"), TagLabel("x")}
	if err := d.Put(key("a"), labels, content); err != nil {
		t.Fatal(err)
	}
	if got, ok := d.Get(key("a")); !ok || !bytes.Equal(got, content) {
		t.Fatalf("%d bytes, %v", len(got), ok)
	}
	if _, ok := d.Get(key("b")); ok {
		t.Error("what was never put is there")
	}
	_ = d.Put(key("b"), nil, []byte("b"))

	later, err := OpenDisk(folder, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	later.Scan(context.Background(), func(labels []string) bool { return len(labels) == 2 })
	if later.Len() != 1 {
		t.Errorf("%d files: what was purged meanwhile is taken in", later.Len())
	}
	_ = d.Put(key("a"), labels, content)
	later, _ = OpenDisk(folder, 1<<20)
	later.Scan(context.Background(), nothing)
	if got, ok := later.Get(key("a")); !ok || !bytes.Equal(got, content) || later.Len() != 2 || later.Bytes() != d.Bytes() {
		t.Errorf("after a restart: %v, %d files, %d bytes", ok, later.Len(), later.Bytes())
	}
	if keys := later.Purge(Purge{Tag: "x"}); len(keys) != 1 || keys[0] != key("a") || later.Len() != 1 {
		t.Errorf("purged %d", len(keys))
	}
	if _, ok := d.Get(key("a")); ok || d.Faults() != 1 {
		t.Error("a file that another process removed is still there")
	}
}

// A file that is cut, longer, changed or empty is a miss and goes.
func TestBrokenFiles(t *testing.T) {
	content := []byte(strings.Repeat("x", 100))
	whole := encodeFile([]string{URLLabel("h/a")}, content)
	for name, broken := range map[string][]byte{
		"empty": {}, "cut": whole[:len(whole)-1], "cut in the head": whole[:20], "longer": append(slices.Clone(whole), 'x'),
		"changed content": changed(whole, len(whole)-5), "changed label": changed(whole, headLength+3), "changed sum": changed(whole, len(magic)),
		"changed length": changed(whole, headLength-1), "changed magic": changed(whole, 0), "huge lengths": huge(whole),
	} {
		for _, scanned := range []bool{false, true} {
			d, _ := OpenDisk(t.TempDir(), 1<<20)
			if err := d.Put(key("a"), nil, content); err != nil {
				t.Fatal(err)
			}
			path := d.path(key("a"))
			if err := os.WriteFile(path, broken, 0o600); err != nil {
				t.Fatal(err)
			}
			if scanned {
				d, _ = OpenDisk(d.folder, 1<<20)
				d.Scan(context.Background(), nothing)
			}
			if _, ok := d.Get(key("a")); ok {
				t.Errorf("%s: it is served", name)
			}
			if _, err := os.Stat(path); err == nil || d.Bytes() != 0 || d.Faults() == 0 {
				t.Errorf("%s, scanned %v: it stays: %d bytes, %d faults", name, scanned, d.Bytes(), d.Faults())
			}
		}
	}
}

func changed(file []byte, at int) []byte {
	file = slices.Clone(file)
	file[at] ^= 1
	return file
}

func huge(file []byte) []byte {
	file = slices.Clone(file)
	for i := headLength - 16; i < headLength; i++ {
		file[i] = 0xff
	}
	return file
}

func TestDiskBudget(t *testing.T) {
	d, _ := OpenDisk(t.TempDir(), 10_000)
	for i := range 50 {
		_ = d.Put(key(fmt.Sprint(i)), []string{URLLabel(fmt.Sprint(i))}, make([]byte, 900))
		d.Get(key("0"))
	}
	if d.Bytes() > 10_000 || d.Len() > 11 || d.labels.Len() != d.Len() {
		t.Errorf("%d bytes, %d files, %d labels", d.Bytes(), d.Len(), d.labels.Len())
	}
	if _, ok := d.Get(key("0")); !ok {
		t.Error("the file that is used all the time is gone")
	}
	_ = d.Put(key("giant"), nil, make([]byte, 20_000))
	d.Resize(2_000)
	files := 0
	filepath.WalkDir(d.folder, func(_ string, e os.DirEntry, _ error) error {
		if !e.IsDir() {
			files++
		}
		return nil
	})
	if files != d.Len() || files > 2 {
		t.Errorf("%d files, %d known", files, d.Len())
	}
}

func TestScanRemovesParts(t *testing.T) {
	d, _ := OpenDisk(t.TempDir(), 1000)
	os.WriteFile(filepath.Join(d.folder, "part-123"), []byte("x"), 0o600)
	os.WriteFile(filepath.Join(d.folder, "notes.txt"), []byte("x"), 0o600)
	d.Scan(context.Background(), nothing)
	if _, err := os.Stat(filepath.Join(d.folder, "part-123")); err == nil {
		t.Error("a part of a file stays")
	}
	if _, err := os.Stat(filepath.Join(d.folder, "notes.txt")); err != nil {
		t.Error("a file that is not ours is removed")
	}
}

func FuzzDecodeFile(f *testing.F) {
	f.Add(encodeFile([]string{"ua", "tb"}, []byte("content")))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, file []byte) {
		content, err := decodeFile(file)
		if err != nil {
			return
		}
		named, _, _ := fileLengths(file[:headLength], int64(len(file)))
		labels, err := cutLabels(file[headLength : headLength+int(named)])
		if err == nil && !bytes.Equal(encodeFile(labels, content), file) && named == 0 {
			t.Error("two files of one meaning")
		}
	})
}
