//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// proxy is one program under test.
type proxy struct {
	name string
	// forks: a child of it does the work.
	forks bool
	// files writes what it needs into dir and returns its command line.
	files func(dir string, s setup) ([]string, error)
}

// setup is what every proxy is told.
type setup struct {
	listen, upstream string
	routes           int
	cert, key        string // paths; empty without TLS
	h2               bool   // clients speak HTTP/2: by ALPN under TLS, else from the first byte
	grpc             bool   // the upstream speaks HTTP/2 from the first byte
	tcp              bool   // bytes are carried
	connections      int    // how many there may be on each side
	feature          feature
}

func proxies(weir, self string) []proxy {
	return []proxy{
		{"nginx", true, nginxFiles},
		{"haproxy", false, haproxyFiles},
		{"weir", false, func(dir string, s setup) ([]string, error) { return weirFiles(weir, dir, s) }},
		{"httputil", false, func(dir string, s setup) ([]string, error) {
			return []string{self, "-reverse-proxy", s.listen, "-to", s.upstream, "-cert", s.cert, "-key", s.key,
				"-grpc=" + strconv.FormatBool(s.grpc), "-log", filepath.Join(dir, "access.log")}, nil
		}},
	}
}

// running is a started proxy.
type running struct {
	cmd    *exec.Cmd
	dir    string
	output *bytes.Buffer
}

// start runs the proxy on the given core and waits until it accepts.
func (p proxy) start(core int, s setup) (*running, error) {
	dir, err := os.MkdirTemp("", "weir-bench-"+p.name+"-")
	if err != nil {
		return nil, err
	}
	args, err := p.files(dir, s)
	if err != nil {
		return nil, err
	}
	r := &running{dir: dir, output: new(bytes.Buffer)}
	r.cmd = exec.Command("taskset", append([]string{"-c", fmt.Sprint(core)}, args...)...)
	r.cmd.Dir = dir
	r.cmd.Stderr = r.output
	if p.name == "haproxy" { // it logs to standard output, as people run it in containers
		file, err := os.Create(filepath.Join(dir, "access.log"))
		if err != nil {
			return nil, err
		}
		defer file.Close()
		r.cmd.Stdout = file
	} else {
		r.cmd.Stdout = r.output
	}
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	if err := r.wait(p.forks, s.listen); err != nil {
		r.stop()
		return nil, fmt.Errorf("%s did not start: %w\n%s", p.name, err, r.output)
	}
	return r, nil
}

func (r *running) pids() []int { return processTree(r.cmd.Process.Pid) }

func (r *running) stop() {
	for _, pid := range r.pids() {
		if process, err := os.FindProcess(pid); err == nil {
			_ = process.Kill()
		}
	}
	_ = r.cmd.Wait()
	_ = os.RemoveAll(r.dir)
}

// wait returns once the proxy accepts connections; one that forks does so before
// the process is there that serves them.
func (r *running) wait(forks bool, address string) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			if !forks || len(r.pids()) > 1 {
				return nil
			}
			err = errors.New("it has no child")
		}
		if time.Now().After(deadline) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}
