//go:build linux

package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// proxy is one program under test.
type proxy struct {
	name string
	// files writes what it needs into dir and returns its command line.
	files func(dir string, s setup) ([]string, error)
}

// setup is what every proxy is told.
type setup struct {
	listen, upstream string
	routes           int
	cert, key        string // paths; empty without TLS
}

func proxies(weir, self string) []proxy {
	return []proxy{
		{"nginx", nginxFiles},
		{"haproxy", haproxyFiles},
		{"weir", func(dir string, s setup) ([]string, error) { return weirFiles(weir, dir, s) }},
		{"httputil", func(dir string, s setup) ([]string, error) {
			return []string{self, "-reverse-proxy", s.listen, "-to", s.upstream, "-cert", s.cert, "-key", s.key,
				"-log", filepath.Join(dir, "access.log")}, nil
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
	if err := waitFor(s.listen); err != nil {
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

// waitFor returns once address accepts connections.
func waitFor(address string) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(deadline) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func nginxFiles(dir string, s setup) ([]string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, `daemon off;
worker_processes 1;
pid %[1]s/nginx.pid;
error_log stderr crit;
events { worker_connections 8192; }
http {
  log_format json escape=json '{"time":"$time_iso8601","client":"$remote_addr","method":"$request_method","host":"$host","uri":"$request_uri","status":$status,"bytes":$body_bytes_sent,"duration":$request_time,"upstream":"$upstream_addr","upstream_duration":"$upstream_response_time","agent":"$http_user_agent","id":"$request_id"}';
  access_log %[1]s/access.log json buffer=64k flush=1s;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  keepalive_requests 10000000;
  server_tokens off;
  upstream canned { server %[2]s; keepalive 1024; keepalive_requests 10000000; }
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Host $host;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Request-Id $request_id;
  server {
    listen %[3]s%[4]s backlog=4096;
`, dir, s.upstream, s.listen, map[bool]string{true: " ssl", false: ""}[s.cert != ""])
	if s.cert != "" {
		fmt.Fprintf(&b, "    ssl_certificate %s; ssl_certificate_key %s; ssl_protocols TLSv1.2 TLSv1.3;\n", s.cert, s.key)
	}
	for i := range s.routes {
		fmt.Fprintf(&b, "    location %s/ { proxy_pass http://canned; }\n", routePath(i))
	}
	b.WriteString("    location / { proxy_pass http://canned; }\n  }\n}\n")
	file := filepath.Join(dir, "nginx.conf")
	return []string{"nginx", "-p", dir, "-c", file}, os.WriteFile(file, []byte(b.String()), 0o600)
}

func haproxyFiles(dir string, s setup) ([]string, error) {
	bind := s.listen
	if s.cert != "" {
		pem := filepath.Join(dir, "site.pem")
		cert, err := os.ReadFile(s.cert)
		if err != nil {
			return nil, err
		}
		key, err := os.ReadFile(s.key)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(pem, append(cert, key...), 0o600); err != nil {
			return nil, err
		}
		bind += " ssl crt " + pem
	}
	var b strings.Builder
	fmt.Fprintf(&b, `global
  nbthread 1
  maxconn 8192
  log stdout format raw local0
defaults
  mode http
  log global
  log-format '{"time":"%%tr","client":"%%ci","method":"%%HM","uri":"%%HU","status":%%ST,"bytes":%%B,"duration":%%Ta,"backend":"%%b","server":"%%s","wait":%%Tr,"id":"%%ID"}'
  unique-id-format %%{+X}o%%ci%%cp%%ts%%rt%%pid
  unique-id-header X-Request-Id
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option forwardfor
  http-reuse always
frontend front
  bind %s
`, bind)
	if s.routes > 0 {
		maps := filepath.Join(dir, "routes.map")
		var m strings.Builder
		for i := range s.routes {
			fmt.Fprintf(&m, "%s/ canned\n", routePath(i))
		}
		if err := os.WriteFile(maps, []byte(m.String()), 0o600); err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "  use_backend %%[path,map_beg(%s,canned)]\n", maps)
	}
	fmt.Fprintf(&b, "  default_backend canned\nbackend canned\n  server one %s pool-max-conn 2048\n", s.upstream)
	file := filepath.Join(dir, "haproxy.cfg")
	return []string{"haproxy", "-db", "-f", file}, os.WriteFile(file, []byte(b.String()), 0o600)
}

func weirFiles(binary, dir string, s setup) ([]string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, `admin: {address: "unix:%s/admin.sock"}
access_log: {to: %q}
listeners:
  - name: front
    address: %q
    limits: {max_connections_per_client: 10000, max_requests: 0}
`, dir, filepath.Join(dir, "access.log"), s.listen)
	if s.cert != "" {
		fmt.Fprintf(&b, "    tls: {certificates: [{cert: {file: %q}, key: {file: %q}}]}\n", s.cert, s.key)
	}
	b.WriteString("routes:\n")
	for i := range s.routes {
		fmt.Fprintf(&b, "  - {name: r%d, match: {path: {prefix: %s}}, to: [{cluster: canned}]}\n", i, routePath(i))
	}
	fmt.Fprintf(&b, "  - {name: all, to: [{cluster: canned}]}\nclusters:\n  - {name: canned, endpoints: [%q], limits: {max_connections: 4096, max_requests: 4096}, pool: {max_idle: 2048}}\n", s.upstream)
	file := filepath.Join(dir, "weir.yaml")
	return []string{binary, "run", file}, os.WriteFile(file, []byte(b.String()), 0o600)
}
