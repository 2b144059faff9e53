// Package process runs weir as a process of its own, for tests that want the
// whole program: the test binary is weir when it is started with a variable in
// its environment, so that weir is built, and instrumented for races, as the
// test is.
package process

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weirproxy/weir"
	"github.com/weirproxy/weir/filters/all"
)

// Patience bounds every wait: a hang is a failure of one test. It is long, since
// under the race detector, and beside other tests, QUIC takes seconds for megabytes.
const Patience = time.Minute

const variable = "WEIR_TEST_PROCESS"

// Main is for TestMain.
func Main(m *testing.M) {
	if os.Getenv(variable) != "" {
		os.Exit(weir.Main("v0-test", all.Definitions()...))
	}
	os.Exit(m.Run())
}

// Process is a weir that runs.
type Process struct {
	dir    string
	cmd    *exec.Cmd
	done   chan struct{} // closed when it has ended
	stdout follower      // the access log, unless it goes elsewhere
	stderr follower
	admin  http.Client
}

// AdminSocket is where the document has to put the admin pages.
func AdminSocket(dir string) string { return filepath.Join(dir, "admin.sock") }

// Start writes the document to dir and runs weir from it. What it said is
// shown if the test fails.
func Start(t testing.TB, dir, document string) *Process {
	t.Helper()
	p := &Process{dir: dir, done: make(chan struct{})}
	p.Write(t, document)
	p.cmd = exec.Command(os.Args[0], "run", "weir.yaml")
	p.cmd.Dir, p.cmd.Env = dir, append(os.Environ(), variable+"=1")
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("weir said:\n%s", p.stderr.String())
		}
	})
	p.admin.Transport = &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", AdminSocket(dir))
		},
	}
	p.admin.Timeout = Patience
	return p
}

// Write replaces the document in one step.
func (p *Process) Write(t testing.TB, document string) {
	t.Helper()
	next := filepath.Join(p.dir, ".weir.yaml")
	if err := os.WriteFile(next, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(p.dir, "weir.yaml")); err != nil {
		t.Fatal(err)
	}
}

// Address waits for that of a listener.
func (p *Process) Address(t testing.TB, listener string) string {
	t.Helper()
	return p.Said(t, "serving listener="+listener+" address=")
}

// Said waits until weir has said text in its operational log, and returns the
// rest of that line.
func (p *Process) Said(t testing.TB, text string) string {
	t.Helper()
	return p.wait(t, &p.stderr, text)
}

// Logged waits for a line of the access log that has text, and returns what
// stands behind it.
func (p *Process) Logged(t testing.TB, text string) string {
	t.Helper()
	return p.wait(t, &p.stdout, text)
}

func (p *Process) wait(t testing.TB, f *follower, text string) string {
	t.Helper()
	late := time.After(Patience)
	for {
		rest, grew, ok := f.find(text)
		if ok {
			return rest
		}
		select {
		case <-grew:
		case <-p.done:
			t.Fatalf("weir ended before it said %q:\n%s", text, p.stderr.String())
		case <-late:
			t.Fatalf("weir did not say %q:\n%s", text, p.stderr.String())
		}
	}
}

// Reload has the document read again and returns when that is over.
func (p *Process) Reload(t testing.TB) {
	t.Helper()
	p.ask(t, http.MethodPost, "/reload")
}

func (p *Process) ask(t testing.TB, method, path string) string {
	t.Helper()
	req, err := http.NewRequest(method, "http://localhost"+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := p.admin.Do(req)
	if err != nil {
		t.Fatalf("%v\n%s", err, p.stderr.String())
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s, %v\n%s", method, path, resp.Status, err, body)
	}
	return string(body)
}

// Terminate asks it to drain and end.
func (p *Process) Terminate(t testing.TB) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

// Stop wants an orderly end, and nothing in the log that tells of a defect.
func (p *Process) Stop(t testing.TB) {
	t.Helper()
	if err := p.end(); err != nil {
		t.Errorf("%v\n%s", err, p.stderr.String())
	}
}

func (p *Process) end() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have been asked before
	select {
	case <-p.done:
	case <-time.After(Patience):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // it says where each goroutine is
		<-p.done
		return fmt.Errorf("weir does not end")
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("weir ended with exit code %d", code)
	}
	for _, bad := range []string{"panic", "DATA RACE", "level=ERROR"} {
		if strings.Contains(p.stderr.String(), bad) {
			return fmt.Errorf("weir said %q", bad)
		}
	}
	return nil
}

// follower keeps what is written to it and tells when there is more.
type follower struct {
	mu      sync.Mutex
	written bytes.Buffer
	grew    chan struct{} // closed with the next write; nil: nobody waits
}

func (f *follower) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.written.Write(b)
	if f.grew != nil {
		close(f.grew)
		f.grew = nil
	}
	return len(b), nil
}

func (f *follower) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.written.String()
}

// find returns what stands behind text in the first whole line that has it.
func (f *follower) find(text string) (rest string, grew <-chan struct{}, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, behind, found := strings.Cut(f.written.String(), text); found {
		if line, _, whole := strings.Cut(behind, "\n"); whole {
			return line, nil, true
		}
	}
	if f.grew == nil {
		f.grew = make(chan struct{})
	}
	return "", f.grew, false
}
