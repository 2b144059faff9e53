//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func haproxyFiles(dir string, s setup) ([]string, error) {
	bind, err := haproxyBind(dir, s)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, `global
  nbthread 1
  maxconn %d
  log stdout format raw local0
  # As Debian's configuration has it: the server's order counts.
  ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256
defaults
  log global
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout tunnel 1h
`, s.connections)
	if s.tcp {
		// The kernel moves the bytes, as it does for Weir without being told.
		b.WriteString("  mode tcp\n  option splice-request\n  option splice-response\n")
	} else {
		b.WriteString(`  mode http
  log-format '{"time":"%tr","client":"%ci","method":"%HM","uri":"%HU","status":%ST,"bytes":%B,"duration":%Ta,"backend":"%b","server":"%s","wait":%Tr,"id":"%ID"}'
  unique-id-format %{+X}o%ci%cp%ts%rt%pid
  unique-id-header X-Request-Id
  option forwardfor
  http-reuse always
`)
	}
	fmt.Fprintf(&b, "frontend front\n  bind %s\n", bind)
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
	fmt.Fprintf(&b, "  default_backend canned\nbackend canned\n%s", s.feature.haproxyPeer)
	protocol := ""
	if s.grpc {
		protocol = " proto h2"
	}
	for i, address := range s.feature.servers(s.upstream) {
		fmt.Fprintf(&b, "  server s%d %s pool-max-conn 2048%s\n", i, address, protocol)
	}
	b.WriteString(s.feature.haproxyTop)
	file := filepath.Join(dir, "haproxy.cfg")
	return []string{"haproxy", "-db", "-f", file}, os.WriteFile(file, []byte(b.String()), 0o600)
}

// haproxyBind is the address with what is spoken there.
func haproxyBind(dir string, s setup) (string, error) {
	switch {
	case s.cert == "" && s.h2:
		return s.listen + " proto h2", nil
	case s.cert == "":
		return s.listen, nil
	}
	cert, err := os.ReadFile(s.cert)
	if err != nil {
		return "", err
	}
	key, err := os.ReadFile(s.key)
	if err != nil {
		return "", err
	}
	pem := filepath.Join(dir, "site.pem")
	bind := s.listen + " ssl crt " + pem
	if s.h2 {
		bind += " alpn h2,http/1.1"
	}
	return bind, os.WriteFile(pem, append(cert, key...), 0o600)
}
