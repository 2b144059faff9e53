//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// nginxStream is the module that carries TCP, where Debian puts it.
const nginxStream = "/usr/lib/nginx/modules/ngx_stream_module.so"

func nginxFiles(dir string, s setup) ([]string, error) {
	var b strings.Builder
	if s.tcp {
		if _, err := os.Stat(nginxStream); err != nil {
			return nil, fmt.Errorf("%w: it is in Debian's package libnginx-mod-stream", err)
		}
		fmt.Fprintf(&b, "load_module %s;\n", nginxStream)
	}
	if s.feature.cacheable && os.Geteuid() == 0 { // its worker has to get into the directory, which is root's
		b.WriteString("user root;\n")
	}
	fmt.Fprintf(&b, `daemon off;
worker_processes 1;
pid %[2]s/nginx.pid;
error_log stderr crit;
events { worker_connections %[1]d; }
`, 2*s.connections, dir)
	if s.tcp {
		fmt.Fprintf(&b, "stream {\n  server { listen %s backlog=4096; proxy_pass %s; tcp_nodelay on; }\n}\n", s.listen, s.upstream)
	} else {
		nginxHTTP(&b, dir, s)
	}
	file := filepath.Join(dir, "nginx.conf")
	return []string{"nginx", "-p", dir, "-c", file}, os.WriteFile(file, []byte(b.String()), 0o600)
}

func nginxHTTP(b *strings.Builder, dir string, s setup) {
	options := ""
	if s.cert != "" {
		options += " ssl"
	}
	if s.h2 {
		options += " http2"
	}
	fmt.Fprintf(b, `http {
  log_format json escape=json '{"time":"$time_iso8601","client":"$remote_addr","method":"$request_method","host":"$host","uri":"$request_uri","status":$status,"bytes":$body_bytes_sent,"duration":$request_time,"upstream":"$upstream_addr","upstream_duration":"$upstream_response_time","agent":"$http_user_agent","id":"$request_id"}';
  access_log %[1]s/access.log json buffer=64k flush=1s;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  keepalive_requests 10000000;
  server_tokens off;
  map $http_upgrade $connection_upstream { default upgrade; '' ''; }
  upstream canned {%[5]s%[2]s keepalive 1024; keepalive_requests 10000000; }
%[6]s  proxy_http_version 1.1;
  proxy_set_header Connection $connection_upstream;
  proxy_set_header Upgrade $http_upgrade;
  proxy_set_header Host $host;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Request-Id $request_id;
  proxy_read_timeout 300s;
  server {
    listen %[3]s%[4]s backlog=4096;
`, dir, nginxServers(s), s.listen, options, s.feature.nginxPeers, s.feature.nginxHTTP)
	if s.cert != "" {
		fmt.Fprintf(b, "    ssl_certificate %s; ssl_certificate_key %s; ssl_protocols TLSv1.2 TLSv1.3;\n", s.cert, s.key)
	}
	for i := range s.routes {
		fmt.Fprintf(b, "    location %s/ { proxy_pass http://canned; }\n", routePath(i))
	}
	fmt.Fprintf(b, "    location / { proxy_pass http://canned;%s }\n  }\n}\n", s.feature.nginxRoute)
}

func nginxServers(s setup) string {
	var b strings.Builder
	for _, address := range s.feature.servers(s.upstream) {
		fmt.Fprintf(&b, " server %s;", address)
	}
	return b.String()
}
