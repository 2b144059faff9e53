package interop

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	quichttp3 "github.com/quic-go/quic-go/http3"
)

// upstream is a kind of upstream.
type upstream struct {
	name     string
	protocol string // of its cluster
	tls      bool
	h3       bool
	version  string // what the upstream sees of the request
}

var upstreams = []upstream{
	{name: "h1", protocol: "h1", version: "HTTP/1.1"},
	{name: "h1-tls", protocol: "auto", tls: true, version: "HTTP/1.1"}, // h1, since ALPN says so
	{name: "h2c", protocol: "h2c", version: "HTTP/2.0"},
	{name: "h2-tls", protocol: "auto", tls: true, version: "HTTP/2.0"},
	{name: "h3", protocol: "h3", tls: true, h3: true, version: "HTTP/3.0"},
}

// cluster is the line of the document. more are further fields, each with a
// comma in front. No test is about the time that a connection takes.
func (u upstream) cluster(name, address, more string) string {
	more += ", connect_timeout: 20s"
	if u.tls {
		more = ", tls: {ca: {file: ca.pem}, server_name: site.test}" + more
	}
	return fmt.Sprintf("  - {name: %s, endpoints: [%q], protocol: %s%s}\n", name, address, u.protocol, more)
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func listenPacket(t testing.TB) net.PacketConn {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return pc
}

// serve runs a well-behaved server of the kind and returns its address.
func (u upstream) serve(t testing.TB, c *trust, handler http.Handler) string {
	t.Helper()
	var running sync.WaitGroup
	if u.h3 {
		pc := listenPacket(t)
		server := &quichttp3.Server{Handler: handler, TLSConfig: quichttp3.ConfigureTLSConfig(c.server())}
		running.Go(func() { _ = server.Serve(pc) })
		t.Cleanup(func() { server.Close(); pc.Close(); running.Wait() })
		return pc.LocalAddr().String()
	}
	ln := listen(t)
	server := &http.Server{Handler: handler, Protocols: new(http.Protocols)}
	switch {
	case u.name == "h2c":
		server.Protocols.SetUnencryptedHTTP2(true)
	case u.version == "HTTP/2.0":
		server.Protocols.SetHTTP2(true)
	default:
		server.Protocols.SetHTTP1(true)
	}
	if u.tls {
		server.TLSConfig = c.server()
		running.Go(func() { _ = server.ServeTLS(ln, "", "") })
	} else {
		running.Go(func() { _ = server.Serve(ln) })
	}
	t.Cleanup(func() { server.Close(); running.Wait() })
	return ln.Addr().String()
}

// last is the last segment of a path: which case an upstream is asked for.
func last(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }
