package scenario

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// process is a running weir. Its stdout, where the access log goes, is kept;
// its stderr, where the operational log goes, can be waited for too.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	out  bytes.Buffer  // to be read once it has ended
	log  follower
}

// startProcess starts the weir that testscript put first in path.
func startProcess(path, dir string, args []string) (*process, error) {
	name, err := lookup(path, "weir")
	if err != nil {
		return nil, err
	}
	p := &process{done: make(chan struct{}), log: follower{grew: make(chan struct{})}}
	p.cmd = exec.Command(name, args...)
	p.cmd.Env = append(os.Environ(), "PATH="+path)
	p.cmd.Dir = dir
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func lookup(path, name string) (string, error) {
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && !info.IsDir() {
			return file, nil
		}
	}
	return "", fmt.Errorf("%s is not in %s", name, path)
}

// waitFor returns when text is in the operational log behind what it found
// before, with what stands behind it in its line.
func (p *process) waitFor(text string) (rest string, err error) {
	late := time.After(patience)
	for {
		rest, grew, ok := p.log.find(text)
		if ok {
			return rest, nil
		}
		select {
		case <-grew:
		case <-p.done:
			return "", fmt.Errorf("weir ended before it said %q", text)
		case <-late:
			return "", fmt.Errorf("weir did not say %q", text)
		}
	}
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// follower keeps what is written to it and tells when there is more.
type follower struct {
	mu      sync.Mutex
	written bytes.Buffer
	read    int           // how much of it find has gone past
	grew    chan struct{} // replaced and closed with every write
}

func (f *follower) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.written.Write(b)
	close(f.grew)
	f.grew = make(chan struct{})
	return len(b), nil
}

func (f *follower) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.written.String()
}

func (f *follower) find(text string) (rest string, grew <-chan struct{}, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.written.String()
	at := strings.Index(all[f.read:], text)
	if at < 0 {
		return "", f.grew, false
	}
	f.read += at + len(text)
	line, _, whole := strings.Cut(all[f.read:], "\n")
	if !whole {
		f.read -= at + len(text)
		return "", f.grew, false
	}
	return line, nil, true
}
