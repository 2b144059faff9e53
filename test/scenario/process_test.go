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

// process is a running weir; its output is kept and can be waited for.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended

	mu      sync.Mutex
	written bytes.Buffer
	read    int           // how much of it waitFor has gone past
	grew    chan struct{} // replaced and closed with every write
}

// startProcess starts the weir that testscript put first in path.
func startProcess(path, dir string, args []string) (*process, error) {
	name, err := lookup(path, "weir")
	if err != nil {
		return nil, err
	}
	p := &process{done: make(chan struct{}), grew: make(chan struct{})}
	p.cmd = exec.Command(name, args...)
	p.cmd.Env = append(os.Environ(), "PATH="+path)
	p.cmd.Dir = dir
	p.cmd.Stdout, p.cmd.Stderr = p, p
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

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.written.Write(b)
	close(p.grew)
	p.grew = make(chan struct{})
	return len(b), nil
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.written.String()
}

// waitFor returns when text is in the output behind what it found before.
func (p *process) waitFor(text string, limit time.Duration) error {
	late := time.After(limit)
	for {
		p.mu.Lock()
		at := strings.Index(p.written.String()[p.read:], text)
		if at >= 0 {
			p.read += at + len(text)
		}
		grew := p.grew
		p.mu.Unlock()
		if at >= 0 {
			return nil
		}
		select {
		case <-grew:
		case <-p.done:
			return fmt.Errorf("weir ended before it said %q", text)
		case <-late:
			return fmt.Errorf("weir did not say %q", text)
		}
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}
