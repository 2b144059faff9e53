package examples

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// seen is a request as an upstream saw it; echo answers with it.
type seen struct {
	Upstream, Method, URI, Host string
	Proto, Peer                 string
	Header                      http.Header
	Body                        string
	ClientID                    string // SPIFFE id of the certificate that Weir showed
	ServerName                  string
}

// echo answers with what it saw.
func echo(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s := seen{
			Upstream: name, Method: r.Method, URI: r.RequestURI, Host: r.Host, Proto: r.Proto, Peer: r.RemoteAddr, Header: r.Header, Body: string(body),
		}
		if r.TLS != nil {
			s.ServerName = r.TLS.ServerName
			if len(r.TLS.PeerCertificates) > 0 {
				s.ClientID = r.TLS.PeerCertificates[0].URIs[0].String()
			}
		}
		w.Header().Set("Server", "echo/1.0")
		w.Header().Set("X-Powered-By", "Go")
		_ = json.NewEncoder(w).Encode(s)
	}
}

// saw reads what echo answered.
func saw(t *testing.T, a answer) seen {
	t.Helper()
	var s seen
	if err := json.Unmarshal([]byte(a.body), &s); err != nil {
		t.Fatalf("status %d, no echo: %v\n%s", a.status, err, a.body)
	}
	return s
}

// serve starts an upstream and returns its address.
func serve(t *testing.T, h http.Handler) string {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// serveWith starts an upstream on a listener of its own kind, which speaks
// these protocols.
func serveWith(t *testing.T, h http.Handler, ln net.Listener, protocols *http.Protocols) string {
	server := httptest.NewUnstartedServer(h)
	server.Listener.Close()
	server.Listener = ln
	server.Config.Protocols = protocols
	server.Start()
	t.Cleanup(server.Close)
	return ln.Addr().String()
}

// listen is a free port of loopback.
func listen(t *testing.T) net.Listener {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// serveTCP starts an upstream that is asked with each connection.
func serveTCP(t *testing.T, each func(net.Conn)) string {
	ln := listen(t)
	var work sync.WaitGroup
	work.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer conn.Close()
				each(conn)
			})
		}
	})
	t.Cleanup(func() { ln.Close(); work.Wait() })
	return ln.Addr().String()
}

// serveTLS starts an upstream with a certificate of the authority; clients is
// the CA that its own clients need, or "".
func serveTLS(t *testing.T, h http.Handler, cert, clients string) string {
	a := pki(t)
	server := httptest.NewUnstartedServer(h)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{*a.tls(cert)}}
	if clients != "" {
		server.TLS.ClientCAs, server.TLS.ClientAuth = a.pool(clients), tls.RequireAndVerifyClientCert
	}
	server.Config.ErrorLog = quiet()
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// serveUnix starts an upstream on a socket.
func serveUnix(t *testing.T, h http.Handler, path string) {
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(h)
	server.Listener.Close()
	server.Listener = ln
	server.Start()
	t.Cleanup(server.Close)
}

// silent accepts and says nothing until the test is over.
func silent(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
		}
	}()
	t.Cleanup(func() { close(over); ln.Close(); <-done })
	return ln.Addr().String()
}

// checked is an upstream with a health check on /healthz.
type checked struct {
	name  string
	fit   atomic.Bool
	asked chan struct{} // one for each health check, once it is there
}

func newChecked(name string, fit bool) *checked {
	c := &checked{name: name, asked: make(chan struct{}, 1000)}
	c.fit.Store(fit)
	return c
}

func (c *checked) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/healthz" {
		echo(c.name)(w, r)
		return
	}
	if !c.fit.Load() {
		w.WriteHeader(http.StatusNotFound)
	}
	c.asked <- struct{}{}
}

// nameServer answers for shop.test (A) and _http._tcp.api.test (SRV, at port).
func nameServer(t *testing.T, port uint16) string {
	return serveNames(t, "127.0.0.1", port)
}

// serveNames is nameServer with that address for shop.test.
func serveNames(t *testing.T, address string, port uint16) string {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	records := map[uint16]map[string]string{
		dns.TypeA: {"shop.test.": "shop.test. 60 IN A " + address, "backup.test.": "backup.test. 60 IN A " + address},
		dns.TypeSRV: {"_http._tcp.api.test.": "_http._tcp.api.test. 60 IN SRV 10 3 " + itoa(int(port)) + " shop.test.\n" +
			"_http._tcp.api.test. 60 IN SRV 20 0 " + itoa(int(port)) + " backup.test."},
	}
	started := make(chan struct{})
	server := &dns.Server{PacketConn: pc, NotifyStartedFunc: func() { close(started) }, Handler: dns.HandlerFunc(
		func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			for text := range strings.Lines(records[q.Question[0].Qtype][q.Question[0].Name]) {
				record, err := dns.NewRR(text)
				if err == nil {
					m.Answer = append(m.Answer, record)
				}
			}
			_ = w.WriteMsg(m)
		})}
	go func() { _ = server.ActivateAndServe() }()
	<-started
	t.Cleanup(func() { _ = server.Shutdown() })
	return pc.LocalAddr().String()
}
