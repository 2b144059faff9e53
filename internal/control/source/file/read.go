// Package file brings documents in from the file system: it reads the files and
// directories that a person named, and says when their content changed.
package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
)

// Bounds of what is read. A document with 100,000 routes has some 20 MB.
const (
	maxFile   = 64 << 20  // bytes of one document
	maxTotal  = 256 << 20 // bytes of all documents
	maxFiles  = 4096
	maxSecret = 1 << 20 // bytes of a certificate, key or bundle

	// maxData is the largest file that holds data for requests, such as a database.
	maxData = 512 << 20
)

// Document is the content of one file.
type Document struct {
	// Name is the path as the user gave it, or directory/name: it stands in
	// messages.
	Name    string
	Content []byte
}

// Set is what was read, in the order of the paths given and by name within a
// directory.
type Set struct {
	Documents []Document
	// Unreadable are files of a directory that could not be read: what they
	// held is unknown, not gone.
	Unreadable []Unreadable
}

// Unreadable is a file that could not be read, and why.
type Unreadable struct {
	Name string
	Err  error
}

// Read reads files and directories. Of a directory it takes *.yaml, *.yml and
// *.json, without hidden files and without what lies in directories below. A
// path that cannot be read is an error; a file of a directory that cannot be
// read stands in Unreadable.
func Read(paths []string) (Set, error) {
	names, listed, err := expand(paths)
	if err != nil {
		return Set{}, err
	}
	var set Set
	total := 0
	for _, name := range names {
		content, err := readBounded(name, maxFile)
		if err != nil {
			if !listed[name] {
				return Set{}, err
			}
			set.Unreadable = append(set.Unreadable, Unreadable{Name: name, Err: err})
			continue
		}
		if total += len(content); total > maxTotal {
			return Set{}, fmt.Errorf("the documents together are larger than %d bytes; split them over several proxies", maxTotal)
		}
		set.Documents = append(set.Documents, Document{Name: name, Content: content})
	}
	return set, nil
}

// Data reads a large file that a document refers to.
func Data(path string) ([]byte, error) {
	if err := checkKind(path); err != nil {
		return nil, err
	}
	return readBounded(path, maxData)
}

// Secret reads a file that a document refers to. A document from a stranger may
// name anything: what is no file is not opened, since to open a device may
// have effects, and to read from it may have no end.
func Secret(path string) ([]byte, error) {
	if err := checkKind(path); err != nil {
		return nil, err
	}
	return readBounded(path, maxSecret)
}

func checkKind(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode()&(fs.ModeDevice|fs.ModeSocket) != 0 {
		return fmt.Errorf("%s is a device or a socket", path)
	}
	return nil
}

// expand lists the files to read, each once; listed are those that came out of
// a directory.
func expand(paths []string) (names []string, listed map[string]bool, err error) {
	if len(paths) == 0 {
		return nil, nil, errors.New("no document given; name a file or a directory")
	}
	seen := map[string]bool{}
	listed = map[string]bool{}
	add := func(name string, fromDirectory bool) {
		if key := filepath.Clean(name); !seen[key] {
			seen[key] = true
			names = append(names, name)
			listed[name] = fromDirectory
		}
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, nil, err
		}
		if !info.IsDir() {
			add(path, false)
			continue
		}
		below, err := documentsOf(path)
		if err != nil {
			return nil, nil, err
		}
		for _, name := range below {
			add(name, true)
		}
	}
	if len(names) > maxFiles {
		return nil, nil, fmt.Errorf("%d documents, more than %d", len(names), maxFiles)
	}
	return names, listed, nil
}

// documentsOf lists the documents of a directory, sorted by name. An empty
// directory is an error: it is far more often a mount that failed than a wish
// to serve nothing.
func documentsOf(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		name := filepath.Join(dir, entry.Name())
		if !isDocument(entry.Name()) {
			continue
		}
		// Stat follows symlinks, which is how Kubernetes mounts files. What is
		// neither a file nor broken (a pipe would block the read) is skipped.
		if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
			continue
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("directory %s holds no *.yaml, *.yml or *.json", dir)
	}
	sort.Strings(names)
	return names, nil
}

func isDocument(name string) bool {
	if strings.HasPrefix(name, ".") {
		return false
	}
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// readBounded reads a regular file (or what can be read like one, as <(...) of
// a shell) up to limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	// A pipe into which nobody writes is empty; to open it must not wait.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var content bytes.Buffer
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, fmt.Errorf("%s is a directory", path)
	} else if err == nil {
		content.Grow(int(min(info.Size(), limit)) + bytes.MinRead) // a large file is not copied while it grows
	}
	if _, err := content.ReadFrom(io.LimitReader(f, limit+1)); err != nil {
		return nil, err
	}
	if int64(content.Len()) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return content.Bytes(), nil
}
