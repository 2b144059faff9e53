// Package redistest runs a real redis-server for tests: on a Unix socket, or
// beside it on a port in the clear or with TLS, alone, as a cluster or with a
// sentinel, with nothing on disk, and with a life that the test decides about.
package redistest

import (
	"bufio"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait.
const patience = 20 * time.Second

// Server is a redis-server that may come and go.
type Server struct {
	t    testing.TB
	path string
	port string // "": the Unix socket only
	args []string
	// config, for a sentinel: its file, which it writes to, and that it is one.
	config []string
	cmd    *exec.Cmd // nil while it is not running
}

// New makes a server that does not run yet; args are for redis-server.
func New(t testing.TB, args ...string) *Server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatalf("redis-server is not installed: make tools installs it (Debian): %v", err)
	}
	dir, err := os.MkdirTemp("", "redis") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, path: filepath.Join(dir, "redis.sock"), args: args}
	t.Cleanup(func() {
		s.Kill()
		_ = os.RemoveAll(dir)
	})
	return s
}

// NewTCP makes a server that serves a port of the loopback network as well.
func NewTCP(t testing.TB, args ...string) *Server {
	t.Helper()
	s := New(t, args...)
	s.port = freePort(t)
	s.args = append([]string{"--bind", "127.0.0.1", "--port", s.port}, s.args...)
	return s
}

// NewTLS makes a server that serves a port with TLS only. cert, key and ca are
// paths; with clients, they have to show a certificate of that authority.
func NewTLS(t testing.TB, cert, key, ca string, clients bool, args ...string) *Server {
	t.Helper()
	s := New(t, args...)
	s.port = freePort(t)
	ask := "no"
	if clients {
		ask = "yes"
	}
	s.args = append([]string{
		"--bind", "127.0.0.1", "--tls-port", s.port, "--tls-cert-file", cert, "--tls-key-file", key,
		"--tls-ca-cert-file", ca, "--tls-auth-clients", ask,
	}, s.args...)
	return s
}

// freePort is a port that was free a moment ago.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// Address is where it serves, as documents write it.
func (s *Server) Address() string {
	if s.port != "" {
		return net.JoinHostPort("127.0.0.1", s.port)
	}
	return "unix:" + s.path
}

// Start runs it and waits until it serves.
func (s *Server) Start() {
	s.t.Helper()
	args := append(slices.Clone(s.config), "--port", "0", "--unixsocket", s.path, "--save", "", "--appendonly", "no", "--dir", filepath.Dir(s.path))
	args = append(args, s.args...)
	s.cmd = exec.Command("redis-server", args...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ready := make(chan string, 1)
	go func() {
		lines, said, told := bufio.NewScanner(out), "", false
		for lines.Scan() { // to the end: a pipe that nobody reads holds the server up
			said += lines.Text() + "\n"
			if !told && (strings.Contains(lines.Text(), "eady to accept connections") || strings.Contains(lines.Text(), "Sentinel ID is")) {
				ready <- ""
				told = true
			}
		}
		if !told {
			ready <- said
		}
	}()
	select {
	case said := <-ready:
		if said != "" {
			s.t.Fatalf("redis-server did not start:\n%s", said)
		}
	case <-time.After(patience):
		s.t.Fatal("redis-server is not ready")
	}
}

// Kill ends it at once.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
	_ = os.Remove(s.path)
}

// Pause stops it without an end: connections stay, answers do not come.
func (s *Server) Pause() { _ = s.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume lets it go on.
func (s *Server) Resume() { _ = s.cmd.Process.Signal(syscall.SIGCONT) }

// Command sends one command and returns the first line of the answer.
func (s *Server) Command(words ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var d net.Dialer
	nc, err := d.DialContext(ctx, "unix", s.path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Write([]byte(strings.Join(words, " ") + "\r\n")); err != nil {
		s.t.Fatal(err)
	}
	line, err := bufio.NewReader(nc).ReadString('\n')
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(line)
}
