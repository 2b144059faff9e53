// Package statefile keeps a small state over restarts of the process: one file
// that is there as it was before or as it is now, never in part.
package statefile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Largest is the most that a file may have: a state is small, and what is not
// was not written here.
const Largest = 16 << 20

// Read is the content of a file. found is false when there is none.
func Read(path string) (content []byte, found bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	content, err = io.ReadAll(io.LimitReader(f, Largest+1))
	if err == nil && len(content) > Largest {
		err = fmt.Errorf("%s has more than %d bytes", path, Largest)
	}
	return content, true, err
}

// Write puts content in the place of what the file has. When it returns without
// an error the content is on the disk.
func Write(path string, content []byte) (err error) {
	directory := filepath.Dir(path)
	next, err := os.CreateTemp(directory, "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(next.Name()) // it is of no use to anybody
		}
	}()
	_, err = next.Write(content)
	if err = errors.Join(err, next.Sync(), next.Close()); err != nil {
		return err
	}
	if err = os.Rename(next.Name(), path); err != nil {
		return err
	}
	return sync(directory) // so that the new name outlives a crash, too
}

func sync(directory string) error {
	d, err := os.Open(directory)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
