package file

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"slices"
)

// state is what the files held at one time.
type state struct {
	glance  [32]byte // names, sizes, times: cheap to look at, may change without the content
	content [32]byte
}

func look(paths, also []string) state {
	s := state{glance: glance(paths, also)}
	h := sha256.New()
	names, _, err := expand(paths)
	note(h, "", nil, err)
	for _, name := range names {
		content, err := readBounded(name, maxFile)
		note(h, name, content, err)
	}
	for _, name := range also {
		content, err := readBounded(name, maxData)
		note(h, name, content, err)
	}
	h.Sum(s.content[:0])
	return s
}

// note writes a file so that different files write different bytes. Of an
// error the text counts, so that a file that comes back is a change.
func note(to hash.Hash, name string, content []byte, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	to.Write(fmt.Appendf(nil, "%q %q %d ", name, text, len(content)))
	to.Write(content)
}

// glance looks at names, sizes and times only.
func glance(paths, also []string) (sum [32]byte) {
	h := sha256.New()
	names, _, err := expand(paths)
	h.Write(fmt.Appendf(nil, "%v ", err))
	for _, name := range slices.Concat(names, also) {
		info, err := os.Stat(name)
		if err != nil {
			h.Write(fmt.Appendf(nil, "%q %v ", name, err))
			continue
		}
		h.Write(fmt.Appendf(nil, "%q %d %d ", name, info.Size(), info.ModTime().UnixNano()))
	}
	h.Sum(sum[:0])
	return sum
}

// surroundings are the names under which a change of the files shows, and the
// directories in which it does: their own, and that of what a symlink leads to.
func surroundings(paths, also []string) (names, dirs map[string]bool) {
	names, dirs = map[string]bool{}, map[string]bool{}
	for _, path := range slices.Concat(paths, also) {
		path = filepath.Clean(path)
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			dirs[path] = true
		}
		names[filepath.Base(path)], dirs[filepath.Dir(path)] = true, true
		if target, err := filepath.EvalSymlinks(path); err == nil {
			names[filepath.Base(target)], dirs[filepath.Dir(target)] = true, true
		}
	}
	return names, dirs
}
