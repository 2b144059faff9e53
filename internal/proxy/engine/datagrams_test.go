package engine_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/weirproxy/weir/internal/proxy/engine"
	"github.com/weirproxy/weir/test/testcert"
)

// site is a certificate for localhost on disk, and who trusts it.
func site(t *testing.T) (spec string, trust *x509.CertPool) {
	t.Helper()
	dir := t.TempDir()
	pair, err := testcert.Issue(&x509.Certificate{DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"site.crt": pair.CertPEM(), "site.key": pair.KeyPEM()} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	trust = x509.NewCertPool()
	trust.AddCert(pair.Leaf)
	return fmt.Sprintf("tls: {certificates: [{cert: {file: %q}, key: {file: %q}}]}", filepath.Join(dir, "site.crt"), filepath.Join(dir, "site.key")), trust
}

// h3 is a client of HTTP/3 that keeps its connection.
func h3(t *testing.T, trust *x509.CertPool) *http.Client {
	t.Helper()
	transport := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: trust}}
	t.Cleanup(func() { transport.Close() })
	return &http.Client{Transport: transport, Timeout: 5 * time.Second}
}

func bodyOf(t *testing.T, c *http.Client, address string) (body, proto string, err error) {
	t.Helper()
	_, port, _ := net.SplitHostPort(address)
	resp, err := c.Get("https://localhost:" + port + "/")
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	return string(content), resp.Proto, err
}

// TestHTTP3ComesAndGoes: a reload opens the port beside the one of TCP, another
// name takes it along with open connections, and a reload without http3 closes
// it, each time without an error for a client that asks again.
func TestHTTP3ComesAndGoes(t *testing.T) {
	certificates, trust := site(t)
	address := freePort(t)
	listener := func(name, more string) string {
		return fmt.Sprintf("{name: %s, address: %q, %s%s}", name, address, certificates, more)
	}
	s := compiled(t, listening(listener("a", ""), "one")+"drain: {grace: 1s}\n", nil)
	e := start(t, s)
	apply := func(doc string) {
		t.Helper()
		s = compiled(t, doc+"drain: {grace: 1s}\n", s)
		if err := e.Apply(s); err != nil {
			t.Fatal(err)
		}
	}
	client := h3(t, trust)
	want := func(c *http.Client, body string) {
		t.Helper()
		if got, proto, err := bodyOf(t, c, address); err != nil || got != body || proto != "HTTP/3.0" {
			t.Fatalf("%q over %s, %v, want %q over HTTP/3.0", got, proto, err, body)
		}
	}
	apply(listening(listener("a", ", http3: {}"), "two"))
	want(client, "two")
	apply(listening(listener("a", ", http3: {}"), "three"))
	want(client, "three")
	apply(listening(listener("b", ", http3: {max_streams: 7}"), "four")) // the address has an heir
	want(h3(t, trust), "four")
	apply(listening(listener("b", ""), "five"))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	e.Shutdown(ctx)
	pc, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatalf("the port of HTTP/3 is not given back: %v", err)
	}
	pc.Close()
}

// TestAltSvc names the port that the system chose.
func TestAltSvc(t *testing.T) {
	certificates, trust := site(t)
	e := start(t, compiled(t, listening(fmt.Sprintf(`{name: a, address: "127.0.0.1:0", %s, http3: {}}`, certificates), "hi"), nil))
	address := e.Addresses()["a"]
	if got, _, err := bodyOf(t, h3(t, trust), address); err != nil || got != "hi" {
		t.Fatalf("%q, %v", got, err)
	}
	plain := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust}, ForceAttemptHTTP2: true}}
	defer plain.CloseIdleConnections()
	resp, err := plain.Get("https://localhost:" + address[strings.LastIndexByte(address, ':')+1:] + "/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	_, port, _ := net.SplitHostPort(address)
	if got, want := resp.Header.Get("Alt-Svc"), fmt.Sprintf(`h3=":%s"; ma=86400`, port); got != want || resp.ProtoMajor != 2 {
		t.Errorf("Alt-Svc %q over %s, want %q over HTTP/2", got, resp.Proto, want)
	}
}

// echoUDP answers every datagram with its content and a mark.
func echoUDP(t *testing.T, mark string) string {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	go func() {
		page := make([]byte, 2048)
		for {
			n, from, err := pc.ReadFrom(page)
			if err != nil {
				return
			}
			_, _ = pc.WriteTo(append(page[:n:n], mark...), from)
		}
	}()
	return pc.LocalAddr().String()
}

// TestSessionsOutliveTheName: an open session goes on over a reload that gives
// its listener another name and another cluster; a new one goes by the new
// document.
func TestSessionsOutliveTheName(t *testing.T) {
	address := freePort(t)
	document := func(name, endpoint string) string {
		return fmt.Sprintf(`
admin: {address: "off"}
access_log: {to: "off"}
listeners: [{name: %s, address: %q, protocol: udp}]
routes: [{name: r, protocol: udp, to: [{cluster: c}]}]
clusters: [{name: c, endpoints: [%q]}]
`, name, address, endpoint)
	}
	one, two := echoUDP(t, "1"), echoUDP(t, "2")
	s := compiled(t, document("a", one), nil)
	e := start(t, s)
	ask := func(nc net.Conn, want string) {
		t.Helper()
		_ = nc.SetDeadline(time.Now().Add(5 * time.Second))
		page := make([]byte, 64)
		if _, err := nc.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if n, err := nc.Read(page); err != nil || string(page[:n]) != want {
			t.Fatalf("%q, %v, want %q", page[:n], err, want)
		}
	}
	first := dialUDP(t, e, "a")
	ask(first, "x1")
	if err := e.Apply(compiled(t, document("b", two), s)); err != nil {
		t.Fatal(err)
	}
	ask(first, "x1")
	ask(dialUDP(t, e, "b"), "x2")
}

func dialUDP(t *testing.T, e *engine.Engine, listener string) net.Conn {
	t.Helper()
	nc, err := net.Dial("udp", e.Addresses()[listener])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return nc
}
