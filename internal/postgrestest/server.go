// Package postgrestest runs a real PostgreSQL server for tests: on a Unix socket
// and, if they like, on a port of the loopback network, with nothing kept.
package postgrestest

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for a real server.
const patience = 20 * time.Second

// Server is a server with a directory of its own.
type Server struct {
	t     testing.TB
	dir   string
	owner *syscall.SysProcAttr // it refuses to run as root
}

// New makes a server that does not run yet. Its user postgres has a password.
func New(t testing.TB) *Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "postgres")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &Server{t: t, dir: dir, owner: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}}
	if os.Getuid() == 0 {
		p.disown()
	}
	out, err := p.command("initdb", "-D", p.Data(), "-U", "postgres", "-A", "scram-sha-256", "--pwfile", p.Write("password", "s3cret"), "--no-sync").CombinedOutput()
	if err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	return p
}

// disown gives the directory to the user that Debian makes for the server.
func (p *Server) disown() {
	owner, err := user.Lookup("postgres")
	if err != nil {
		p.t.Fatal(err)
	}
	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(owner.Gid)
	if err := os.Chown(p.dir, uid, gid); err != nil {
		p.t.Fatal(err)
	}
	p.owner.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// Data is where its files are.
func (p *Server) Data() string { return filepath.Join(p.dir, "data") }

// Socket is the Unix socket that it serves.
func (p *Server) Socket() string { return filepath.Join(p.dir, ".s.PGSQL.5432") }

// Write puts a file into its directory, which the server may read alone.
func (p *Server) Write(name, content string) string {
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		p.t.Fatal(err)
	}
	if c := p.owner.Credential; c != nil { // it refuses keys that others may read
		if err := os.Chown(path, int(c.Uid), int(c.Gid)); err != nil {
			p.t.Fatal(err)
		}
	}
	return path
}

// command is a program of PostgreSQL, which Debian keeps out of the path.
func (p *Server) command(name string, args ...string) *exec.Cmd {
	path, err := exec.LookPath(name)
	if err != nil {
		found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
		if len(found) == 0 {
			p.t.Fatalf("%s is not installed: make tools installs it (Debian): %v", name, err)
		}
		path = found[len(found)-1]
	}
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.SysProcAttr = p.dir, p.owner
	return cmd
}

// Start runs it with settings until it says so, and returns what ends it.
func (p *Server) Start(said string, settings ...string) (stop func()) {
	p.t.Helper()
	args := []string{"-D", p.Data(), "-k", p.dir, "-c", "listen_addresses=", "-c", "fsync=off"}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	cmd := p.command("postgres", args...)
	log, err := cmd.StderrPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGINT) // "fast shutdown"
		_ = cmd.Wait()
	}
	ready, rest := make(chan string, 1), ""
	go func() {
		lines := bufio.NewScanner(log)
		for lines.Scan() {
			if rest += lines.Text() + "\n"; strings.Contains(lines.Text(), said) {
				ready <- ""
				_, _ = io.Copy(io.Discard, log)
				return
			}
		}
		ready <- rest
	}()
	select {
	case log := <-ready:
		if log != "" {
			stop()
			p.t.Fatalf("postgres did not say %q:\n%s", said, log)
		}
	case <-time.After(patience):
		stop()
		p.t.Fatalf("postgres did not say %q", said)
	}
	return stop
}
