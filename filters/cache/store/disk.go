package store

import (
	"container/list"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
)

// Disk keeps content in files, one for each key, within a budget of bytes. A
// file that is gone, cut or changed is a miss, never an error of a request. It
// is safe for concurrent use; other processes may use the same folder.
type Disk struct {
	folder string
	labels *Labels[*onDisk]
	faults atomic.Int64

	mu     sync.Mutex
	budget int64
	used   int64
	files  map[Key]*list.Element // of *onDisk
	recent *list.List            // the one used last in front
}

// onDisk is what is known about a file.
type onDisk struct {
	key    Key
	labels []string
	size   int64
}

// Key is the key of the content.
func (f *onDisk) Key() Key { return f.key }

// Weight is the size of the file.
func (f *onDisk) Weight() uint32 { return uint32(min(f.size, 1<<32-1)) } //nolint:gosec // bounded here

// Labels are those of the content.
func (f *onDisk) Labels() []string { return f.labels }

// OpenDisk makes the folder. What is in it is found by Scan.
func OpenDisk(folder string, budget int64) (*Disk, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the cache: %w; name one that Weir may write to", err)
	}
	return &Disk{
		folder: folder, budget: budget, labels: NewLabels[*onDisk](), files: map[Key]*list.Element{}, recent: list.New(),
	}, nil
}

// Resize changes the budget; what is too much goes.
func (d *Disk) Resize(budget int64) {
	d.mu.Lock()
	d.budget = budget
	gone := d.shrink()
	d.mu.Unlock()
	d.drop(gone)
}

// Scan takes in what an earlier process left, and removes what it left broken.
// gone tells of the labels of a file whether a purge was about it meanwhile. It
// is false when ctx ended before.
func (d *Disk) Scan(ctx context.Context, gone func(labels []string) bool) (whole bool) {
	err := filepath.WalkDir(d.folder, func(path string, entry fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil || entry.IsDir() {
			return nil //nolint:nilerr // a folder that cannot be read has no files for us
		}
		d.takeIn(path, entry.Name(), gone)
		return nil
	})
	return err == nil
}

func (d *Disk) takeIn(path, name string, gone func([]string) bool) {
	key, ok := keyOf(name)
	if !ok {
		if strings.HasPrefix(name, strings.TrimSuffix(partPattern, "*")) {
			_ = os.Remove(path)
		}
		return
	}
	labels, size, err := readLabels(path)
	if err != nil {
		d.faults.Add(1)
		_ = os.Remove(path)
		return
	}
	d.add(&onDisk{key, labels, size}, true)
	if gone(labels) { // asked last: a purge that comes now finds the file
		d.Delete(key)
	}
}

func keyOf(name string) (key Key, ok bool) {
	if len(name) != hex.EncodedLen(len(key)) {
		return key, false
	}
	_, err := hex.Decode(key[:], []byte(name))
	return key, err == nil
}

// path is where the content of a key lies. Folders hold few hundred files each
// where there are a hundred thousand.
func (d *Disk) path(key Key) string {
	name := hex.EncodeToString(key[:])
	return filepath.Join(d.folder, name[:2], name)
}

// Get reads what lies under a key.
func (d *Disk) Get(key Key) ([]byte, bool) {
	d.mu.Lock()
	at := d.files[key]
	if at == nil {
		d.mu.Unlock()
		return nil, false
	}
	d.recent.MoveToFront(at)
	known, _ := at.Value.(*onDisk)
	d.mu.Unlock()

	content, err := readBounded(d.path(key), known.size)
	if err == nil {
		if content, err = decodeFile(content); err == nil {
			return content, true
		}
	}
	d.faults.Add(1)
	d.Delete(key)
	return nil, false
}

// readBounded reads a file that should have that size, and not more of it.
func readBounded(path string, size int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() != size {
		return nil, errBroken
	}
	content := make([]byte, size)
	for read := 0; read < len(content); {
		n, err := f.Read(content[read:])
		if err != nil {
			return nil, err
		}
		read += n
	}
	return content, nil
}

// Put writes content. What does not fit into the budget by itself is left out.
func (d *Disk) Put(key Key, labels []string, content []byte) error {
	file := encodeFile(labels, content)
	d.mu.Lock()
	fits := int64(len(file)) <= d.budget
	d.mu.Unlock()
	if !fits {
		return nil
	}
	if err := writeFile(d.path(key), file); err != nil {
		d.faults.Add(1)
		return err
	}
	d.add(&onDisk{key, labels, int64(len(file))}, false)
	return nil
}

// add makes a file known that is there; found: by a scan, so that what has been
// written meanwhile counts.
func (d *Disk) add(f *onDisk, found bool) {
	d.labels.Add(f)
	d.mu.Lock()
	old := d.files[f.key]
	if old != nil && found {
		d.mu.Unlock()
		d.labels.Remove(f)
		return
	}
	if old != nil {
		d.forget(old)
	}
	d.files[f.key] = d.recent.PushFront(f)
	d.used += f.size
	gone := d.shrink()
	d.mu.Unlock()
	if old != nil {
		replaced, _ := old.Value.(*onDisk)
		d.labels.Remove(replaced)
	}
	d.drop(gone)
}

// shrink forgets files until the rest fits. The caller holds the lock and drops
// them afterwards.
func (d *Disk) shrink() (gone []*onDisk) {
	for d.used > d.budget && d.recent.Len() > 0 {
		gone = append(gone, d.forget(d.recent.Back()))
	}
	return gone
}

func (d *Disk) forget(at *list.Element) *onDisk {
	f, _ := at.Value.(*onDisk)
	d.recent.Remove(at)
	delete(d.files, f.key)
	d.used -= f.size
	return f
}

// drop removes files that are forgotten.
func (d *Disk) drop(gone []*onDisk) {
	for _, f := range gone {
		d.labels.Remove(f)
		_ = os.Remove(d.path(f.key))
	}
}

// Delete removes what lies under a key.
func (d *Disk) Delete(key Key) {
	d.mu.Lock()
	var gone []*onDisk
	if at := d.files[key]; at != nil {
		gone = append(gone, d.forget(at))
	}
	d.mu.Unlock()
	d.drop(gone)
}

// Purge removes what p is about and returns the keys.
func (d *Disk) Purge(p Purge) []Key {
	found := d.labels.Find(p)
	keys := make([]Key, 0, len(found))
	for _, f := range found {
		d.Delete(f.key)
		keys = append(keys, f.key)
	}
	return keys
}

// Labelled tells whether a file has that label.
func (d *Disk) Labelled(label string) bool { return d.labels.has(label) }

// Has tells whether something lies under a key.
func (d *Disk) Has(key Key) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.files[key] != nil
}

// Bytes is the size of all files.
func (d *Disk) Bytes() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used
}

// Len is the number of files.
func (d *Disk) Len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.files)
}

// Faults is how many files were broken or could not be written.
func (d *Disk) Faults() int64 { return d.faults.Load() }

// Note keeps a short text beside the files.
func (d *Disk) Note(name, text string) error {
	return writeFile(filepath.Join(d.folder, name), []byte(text))
}

// Noted is that text; "" when there is none.
func (d *Disk) Noted(name string) string {
	f, err := os.Open(filepath.Join(d.folder, name))
	if err != nil {
		return ""
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxNote))
	if err != nil {
		return ""
	}
	return string(text)
}

// maxNote bounds a note.
const maxNote = 1 << 10
