package endpoint

import (
	"net"
	"strings"
)

// Authority is the name of the endpoint as a Host header says it, for exchanges of
// Weir's own: without the usual ports.
func (e *Endpoint) Authority() string {
	if e.Network != "tcp" {
		return "localhost"
	}
	host, port, err := net.SplitHostPort(e.Address)
	if err != nil {
		return e.Address
	}
	if e.Host != "" {
		host = strings.TrimSuffix(strings.Trim(e.Host, "[]"), ".")
	}
	if port == "80" || port == "443" {
		if strings.Contains(host, ":") {
			return "[" + host + "]"
		}
		return host
	}
	return net.JoinHostPort(host, port)
}
