//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func weirFiles(binary, dir string, s setup) ([]string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, `admin: {address: "unix:%s/admin.sock"}
access_log: {to: %q}
listeners:
  - name: front
    address: %q
    limits: {max_connections: %d, max_connections_per_client: 0, max_requests: 0}
`, dir, filepath.Join(dir, "access.log"), s.listen, s.connections)
	protocol := ""
	if s.tcp {
		protocol = "protocol: tcp\n    "
		b.WriteString("    protocol: tcp\n")
	}
	if s.cert != "" {
		fmt.Fprintf(&b, "    tls: {certificates: [{cert: {file: %q}, key: {file: %q}}]}\n", s.cert, s.key)
	}
	b.WriteString("routes:\n")
	for i := range s.routes {
		fmt.Fprintf(&b, "  - {name: r%d, match: {path: {prefix: %s}}, to: [{cluster: canned}]}\n", i, routePath(i))
	}
	fmt.Fprintf(&b, "  - name: all\n    %sto: [{cluster: canned}]\n%sclusters:\n  - name: canned\n    endpoints: [%s]\n%s", protocol, s.feature.weirRoute,
		strings.Join(s.feature.servers(s.upstream), ", "), s.feature.weirCluster)
	fmt.Fprintf(&b, "    limits: {max_connections: %[1]d, max_requests: %[1]d}\n    pool: {max_idle: 2048}\n", s.connections)
	if s.grpc {
		b.WriteString("    protocol: h2c\n")
	}
	file := filepath.Join(dir, "weir.yaml")
	return []string{binary, "run", file}, os.WriteFile(file, []byte(b.String()), 0o600)
}
