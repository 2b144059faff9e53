package record

import (
	"fmt"
	"io"
	"os"
)

// open opens the output that access_log.to names.
func (r *Recorder) open(to string) (*output, error) {
	var s sink
	switch to {
	case "stdout":
		s = standard{r.stdout}
	case "stderr":
		s = standard{r.stderr}
	default:
		f := &file{path: to}
		if err := f.Reopen(); err != nil {
			return nil, err
		}
		s = f
	}
	return newOutput(to, s, &r.lines, r.logger), nil
}

// standard is stdout or stderr, which are never opened or closed.
type standard struct{ io.Writer }

func (standard) Reopen() error { return nil }
func (standard) Moved() bool   { return false }
func (standard) Close() error  { return nil }

// file is a file that is rotated by moving it away. It is opened to append, so
// that rotation by truncating works as well.
type file struct {
	path string
	open *os.File
}

func (f *file) Write(p []byte) (int, error) { return f.open.Write(p) }

// Reopen opens first and closes then, so that there is always a file.
func (f *file) Reopen() error {
	fresh, err := os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return fmt.Errorf("access log: %w; check that its directory is there and may be written", err)
	}
	old := f.open
	f.open = fresh
	if old != nil {
		return old.Close()
	}
	return nil
}

// Moved compares the open file with what the path names now.
func (f *file) Moved() bool {
	at, err := os.Stat(f.path)
	if err != nil {
		return os.IsNotExist(err)
	}
	is, err := f.open.Stat()
	return err == nil && !os.SameFile(at, is)
}

func (f *file) Close() error { return f.open.Close() }
