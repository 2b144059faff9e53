package scenario

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
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

func startProcess(path, name, dir string, args []string) (*process, error) {
	p := &process{done: make(chan struct{}), grew: make(chan struct{})}
	p.cmd = exec.Command(name, args...)
	p.cmd.Env = append(os.Environ(), "PATH="+path)
	p.cmd.Dir = dir
	p.cmd.Stdout, p.cmd.Stderr = p, p
	for _, d := range strings.Split(path, ":") { // testscript puts weir first in its own PATH
		if info, err := os.Stat(d + "/" + name); err == nil && !info.IsDir() {
			p.cmd.Path, p.cmd.Err = d+"/"+name, nil
			break
		}
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
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
