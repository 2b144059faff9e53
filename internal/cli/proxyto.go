package cli

import (
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/weirproxy/weir/config"
)

// upstreamScheme is what a scheme of --to means.
type upstreamScheme struct {
	protocol string // of the cluster
	tls      bool
	port     string // when none is written; "": one must be
}

var upstreamSchemes = map[string]upstreamScheme{
	"http":  {protocol: "h1", port: "80"},
	"https": {protocol: "auto", tls: true, port: "443"},
	"h2c":   {protocol: "h2c", port: "80"},
	"h2":    {protocol: "h2", tls: true, port: "443"},
	"h3":    {protocol: "h3", tls: true, port: "443"},
	"tcp":   {protocol: "auto"},
	"udp":   {protocol: "auto"},
}

const schemeNames = "http, https, h2c, h2, h3, tcp or udp"

// cluster is made of all --to, which must agree in their scheme.
func (f *proxyFlags) cluster() (scheme string, _ config.Cluster, err error) {
	c := config.Default[config.Cluster]()
	c.Name = "upstream"
	for i, to := range f.to {
		own, address, err := upstreamAddress(to)
		if err != nil {
			return "", c, err
		}
		if i > 0 && own != scheme {
			return "", c, usagef("proxy: --to %s: %s and %s upstreams cannot stand in one cluster; write a document and use weir run", to, scheme, own)
		}
		scheme = own
		c.Endpoints = append(c.Endpoints, config.Endpoint{Address: address, Weight: 1})
	}
	c.Protocol = upstreamSchemes[scheme].protocol
	if upstreamSchemes[scheme].tls {
		t := config.Default[config.ClusterTLS]()
		if f.ca != "" {
			t.CA = &config.Secret{File: f.ca}
		}
		c.TLS = &t
	} else if f.ca != "" {
		return "", c, usagef("proxy: --upstream-ca makes no sense with --to %s://, which is not encrypted; write https, h2 or h3", scheme)
	}
	return scheme, c, nil
}

// upstreamAddress is the scheme and the endpoint of a URL.
func upstreamAddress(to string) (scheme, address string, err error) {
	if strings.HasPrefix(to, "unix:") {
		return "http", to, nil
	}
	if !strings.Contains(to, "://") {
		return "", "", usagef("proxy: --to %q has no scheme; write http://%s or https://%s", to, to, to)
	}
	u, err := url.Parse(to)
	if err != nil {
		return "", "", usagef("proxy: --to %q is not a URL: %v", to, err)
	}
	known, ok := upstreamSchemes[u.Scheme]
	switch {
	case !ok:
		return "", "", usagef("proxy: --to %q: the scheme is none of %s", to, schemeNames)
	case u.Hostname() == "":
		return "", "", usagef("proxy: --to %q has no host; write for example %s://127.0.0.1:9000", to, u.Scheme)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return "", "", usagef("proxy: --to %q: give scheme, host and port only; paths and headers are a matter of routes (weir run)", to)
	}
	port := u.Port()
	if port == "" {
		port = known.port
	}
	if port == "" {
		return "", "", usagef("proxy: --to %q has no port; write for example %s://%s:9000", to, u.Scheme, u.Host)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", "", usagef("proxy: --to %q: %s is not a port", to, port)
	}
	return u.Scheme, net.JoinHostPort(u.Hostname(), port), nil
}
