package reload

import (
	"bufio"
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
)

// patience bounds every wait.
const patience = 20 * time.Second

// process is a running weir.
type process struct {
	cmd   *exec.Cmd
	admin http.Client
	log   chan string // lines of the operational log; closed at its end

	mu   sync.Mutex
	said bytes.Buffer
}

// start runs weir from weir.yaml in dir.
func start(t *testing.T, dir string) *process {
	w := &process{log: make(chan string, 100)}
	w.cmd = exec.Command(os.Args[0], "run", "weir.yaml")
	w.cmd.Dir, w.cmd.Env = dir, append(os.Environ(), "WEIR_RELOAD_TEST=1")
	out, err := w.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() { w.follow(out) })
	t.Cleanup(func() {
		_ = w.cmd.Process.Kill()
		reading.Wait()
		_ = w.cmd.Wait()
	})
	w.admin.Transport = &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", filepath.Join(dir, "a.sock"))
		},
	}
	w.admin.Timeout = patience
	return w
}

func (w *process) follow(out io.Reader) {
	defer close(w.log)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		w.mu.Lock()
		w.said.WriteString(lines.Text() + "\n")
		w.mu.Unlock()
		select {
		case w.log <- lines.Text():
		default: // nobody waits any more
		}
	}
}

func (w *process) output() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.said.String()
}

// address waits for that of a listener.
func (w *process) address(t *testing.T, name string) string {
	t.Helper()
	mark := "listener=" + name + " address="
	late := time.After(patience)
	for {
		if _, rest, ok := strings.Cut(w.output(), mark); ok {
			address, _, _ := strings.Cut(rest, "\n")
			return address
		}
		select {
		case _, open := <-w.log:
			if !open {
				t.Fatalf("weir ended:\n%s", w.output())
			}
		case <-late:
			t.Fatalf("weir did not say %q:\n%s", mark, w.output())
		}
	}
}

func (w *process) ask(t *testing.T, method, path string) string {
	t.Helper()
	req, err := http.NewRequest(method, "http://localhost"+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := w.admin.Do(req)
	if err != nil {
		t.Fatalf("%v\n%s", err, w.output())
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s, %v\n%s", method, path, resp.Status, err, body)
	}
	return string(body)
}

func (w *process) reload(t *testing.T) {
	t.Helper()
	w.ask(t, http.MethodPost, "/reload")
}

// usage is what a leak would make grow.
type usage struct{ goroutines, descriptors int }

func (w *process) usage(t *testing.T) (u usage) {
	t.Helper()
	profile := w.ask(t, http.MethodGet, "/debug/pprof/goroutine?debug=1")
	if _, err := fmt.Sscanf(profile, "goroutine profile: total %d", &u.goroutines); err != nil {
		t.Fatalf("%v: %.100s", err, profile)
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", w.cmd.Process.Pid))
	if err != nil {
		t.Skipf("this system does not show descriptors: %v", err)
	}
	u.descriptors = len(files)
	return u
}

// settles waits until what former generations held is given back.
func (w *process) settles(t *testing.T, before usage) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for {
		now := w.usage(t)
		if now.goroutines <= before.goroutines && now.descriptors <= before.descriptors {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%+v before the load, %+v after it\n%s", before, now, w.ask(t, http.MethodGet, "/debug/pprof/goroutine?debug=1"))
		}
	}
}

// stop wants an orderly end, and nothing in the log that tells of a defect.
func (w *process) stop(t *testing.T) {
	t.Helper()
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(patience, func() { _ = w.cmd.Process.Kill() })
	defer late.Stop()
	if state, err := w.cmd.Process.Wait(); err != nil || state.ExitCode() != 0 {
		t.Errorf("%v, %v\n%s", state, err, w.output())
	}
	for _, bad := range []string{"panic", "DATA RACE", "level=ERROR"} {
		if strings.Contains(w.output(), bad) {
			t.Errorf("weir said %q:\n%s", bad, w.output())
		}
	}
}
