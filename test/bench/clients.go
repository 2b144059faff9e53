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
	"regexp"
	"strconv"
	"time"
)

// clients is a load generator that is a program of its own: it runs on the core
// of the loop, which is its upstream and counts.
type clients struct {
	cmd    *exec.Cmd
	output bytes.Buffer
	says   []string // what its output must contain: a fallback would be another case
}

// clientsFor starts the generator of a case for the given time.
func clientsFor(c *benchCase, self string, target *net.TCPAddr, dir string, total time.Duration) (*clients, error) {
	args := []string{self, "-handshakes", target.String(), "-conns", strconv.Itoa(c.conns), "-time", total.String()}
	if !c.handshake {
		var err error
		if args, err = h2load(c, target, dir, total); err != nil {
			return nil, err
		}
	}
	g := &clients{cmd: exec.Command(args[0], args[1:]...)}
	if !c.handshake {
		g.says = c.spoken()
	}
	g.cmd.Stdout, g.cmd.Stderr = &g.output, &g.output
	if err := g.cmd.Start(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return nil, fmt.Errorf("%w: it is in Debian's package nghttp2-client", err)
		}
		return nil, err
	}
	return g, nil
}

// spoken is what h2load reports of the connections of a case.
func (c *benchCase) spoken() []string {
	protocol := map[[2]bool]string{{true, true}: "h2", {true, false}: "http/1.1", {false, true}: "h2c"}[[2]bool{c.tls, c.streams > 0}]
	says := []string{"Application protocol: " + protocol + "\n"}
	if c.tls {
		says = append(says, "TLS Protocol: TLSv1.3\n", "Cipher: TLS_AES_128_GCM_SHA256\n", "Server Temp Key: X25519 ")
	}
	return says
}

func h2load(c *benchCase, target *net.TCPAddr, dir string, total time.Duration) ([]string, error) {
	scheme := "http"
	if c.tls {
		scheme = "https"
	}
	args := []string{"h2load", "-c", strconv.Itoa(c.conns), "-m", strconv.Itoa(max(c.streams, 1)),
		"-D", strconv.FormatInt(total.Milliseconds(), 10) + "ms", "--connect-to", target.String()}
	if c.streams == 0 {
		args = append(args, "--h1")
	}
	if c.grpc {
		file := filepath.Join(dir, "message")
		if err := os.WriteFile(file, message(c.send), 0o600); err != nil {
			return nil, err
		}
		args = append(args, "-d", file, "-H", "content-type: application/grpc", "-H", "te: trailers")
	} else {
		args = append(args, "-H", "accept: */*", "-H", "accept-encoding: gzip, br")
	}
	return append(args, scheme+"://"+serverName+c.path()), nil
}

var (
	h2loadCounts = regexp.MustCompile(`(?m)^requests: .* (\d+) failed, (\d+) errored, (\d+) timeout$`)
	h2loadStatus = regexp.MustCompile(`(?m)^status codes: \d+ 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx$`)
)

// wait returns what failed, by the generator's own account.
func (g *clients) wait() (failed int64, err error) {
	if err := g.cmd.Wait(); err != nil {
		return 0, fmt.Errorf("%s: %w\n%s", g.cmd.Path, err, g.end())
	}
	for _, text := range g.says {
		if !bytes.Contains(g.output.Bytes(), []byte(text)) {
			return 0, fmt.Errorf("%s: %q is not in its output\n%s", g.cmd.Path, text, g.end())
		}
	}
	for _, line := range []*regexp.Regexp{h2loadCounts, h2loadStatus} {
		m := line.FindSubmatch(g.output.Bytes())
		if m == nil {
			return 0, fmt.Errorf("%s: no counts in its output\n%s", g.cmd.Path, g.end())
		}
		for _, digits := range m[1:] {
			n, _ := strconv.ParseInt(string(digits), 10, 64)
			failed += n
		}
	}
	return failed, nil
}

// end is the part of the output that tells.
func (g *clients) end() []byte {
	b := g.output.Bytes()
	return b[max(0, len(b)-1500):]
}

func (g *clients) stop() { _ = g.cmd.Process.Kill() }
