package interop

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/pires/go-proxyproto"

	"github.com/weirproxy/weir/test/process"
)

// speaker serves connections one by one; each ends with say.
func speaker(t *testing.T, ln net.Listener, say func(nc net.Conn)) string {
	t.Helper()
	conns := connections{open: map[net.Conn]bool{}}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			conns.add(nc)
			running.Go(func() {
				defer conns.end(nc)
				say(nc)
			})
		}
	})
	t.Cleanup(func() { ln.Close(); conns.endAll(); running.Wait() })
	return ln.Addr().String()
}

// answers reads until the client ends its side, and says then who heard what.
func answers(name string) func(net.Conn) {
	return func(nc net.Conn) {
		heard, err := io.ReadAll(nc)
		if err != nil {
			return
		}
		fmt.Fprintf(nc, "%s heard %s", name, heard)
	}
}

// halfCloser is a connection whose two directions end apart.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

func dial(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	nc, err := net.DialTimeout("tcp", address, process.Patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(process.Patience))
	return nc.(*net.TCPConn)
}

// says says something, ends its side, and wants an answer that ends, too.
func says(t *testing.T, nc halfCloser, words, want string) {
	t.Helper()
	if _, err := io.WriteString(nc, words); err != nil {
		t.Fatal(err)
	}
	if err := nc.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	hears(t, nc, want)
}

func hears(t *testing.T, nc net.Conn, want string) {
	t.Helper()
	if got, err := io.ReadAll(nc); err != nil || string(got) != want {
		t.Fatalf("%.200q, %v; want %.200q", got, err, want)
	}
}

// inPieces sends each byte in a segment of its own.
type inPieces struct{ *net.TCPConn }

func (p inPieces) Write(b []byte) (int, error) {
	for i := range b {
		if _, err := p.TCPConn.Write(b[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(b), nil
}

// carry runs weir with a document that has the addresses of clusters in the
// place of their names in angle brackets.
func carry(t *testing.T, c *trust, document string, clusters map[string]string) *process.Process {
	t.Helper()
	dir := t.TempDir()
	c.write(t, dir)
	for name, address := range clusters {
		document = strings.ReplaceAll(document, "<"+name+">", address)
	}
	w := process.Start(t, dir, fmt.Sprintf("admin: {address: \"unix:%s\"}\n%s", process.AdminSocket(dir), document))
	t.Cleanup(func() { w.Stop(t) })
	return w
}

const certificates = `tls: {certificates: [{cert: {file: site.crt}, key: {file: site.key}}]}`

// TestPassthrough: TLS is passed on by the name that the client asks for,
// however its hello is cut; other names end here.
func TestPassthrough(t *testing.T) {
	t.Parallel()
	c := newTrust(t)
	secured := func(name string) string {
		return speaker(t, tls.NewListener(listen(t), c.server()), answers(name))
	}
	w := carry(t, c, `
listeners:
  - {name: passed, address: "127.0.0.1:0", protocol: tcp}
  - {name: ended, address: "127.0.0.1:0", protocol: tcp, `+certificates+`}
clusters:
  - {name: a, endpoints: ["<a>"]}
  - {name: b, endpoints: ["<b>"]}
  - {name: clear, endpoints: ["<clear>"]}
  - {name: again, endpoints: ["<a>"], tls: {ca: {file: ca.pem}, server_name: site.test}}
routes:
  - {name: a, protocol: tcp, listeners: [passed], match: {hosts: [a.site.test]}, to: [{cluster: a}]}
  - {name: b, protocol: tcp, listeners: [passed], match: {hosts: ["*.site.test"]}, to: [{cluster: b}]}
  - {name: both, protocol: tcp, listeners: [ended], passthrough: true, match: {hosts: [b.site.test]}, to: [{cluster: b}]}
  - {name: again, protocol: tcp, listeners: [ended], match: {hosts: [again.site.test]}, to: [{cluster: again}]}
  - {name: clear, protocol: tcp, listeners: [ended], to: [{cluster: clear}]}
`, map[string]string{"a": secured("a"), "b": secured("b"), "clear": speaker(t, listen(t), answers("clear"))})
	for _, test := range []struct{ listener, name, want string }{
		{"passed", "a.site.test", "a"}, {"passed", "b.site.test", "b"}, {"passed", "other.site.test", "b"},
		{"ended", "b.site.test", "b"},           // TLS ends at the upstream
		{"ended", "again.site.test", "a"},       // and here, and begins again
		{"ended", "another.site.test", "clear"}, // and here, for good
	} {
		for _, cut := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s on %s, in pieces %v", test.name, test.listener, cut), func(t *testing.T) {
				tcp := dial(t, w.Address(t, test.listener))
				var below net.Conn = tcp
				if cut {
					below = inPieces{tcp}
				}
				config := c.client()
				config.ServerName = test.name
				says(t, tls.Client(below, config), "hello", test.want+" heard hello")
			})
		}
	}
}

// TestHalfClose: each side may end first and still hear the other.
func TestHalfClose(t *testing.T) {
	t.Parallel()
	heard := make(chan int, 1)
	w := carry(t, newTrust(t), `
listeners:
  - {name: answers, address: "127.0.0.1:0", protocol: tcp}
  - {name: ends, address: "127.0.0.1:0", protocol: tcp}
clusters:
  - {name: answers, endpoints: ["<answers>"]}
  - {name: ends, endpoints: ["<ends>"]}
routes:
  - {name: answers, protocol: tcp, listeners: [answers], to: [{cluster: answers}]}
  - {name: ends, protocol: tcp, listeners: [ends], to: [{cluster: ends}]}
`, map[string]string{
		"answers": speaker(t, listen(t), answers("upstream")),
		"ends": speaker(t, listen(t), func(nc net.Conn) { // first, and listens then
			_, _ = io.WriteString(nc, big)
			_ = nc.(*net.TCPConn).CloseWrite()
			words, err := io.ReadAll(nc)
			if err != nil || string(words) != big {
				t.Errorf("the upstream heard %d bytes, %v", len(words), err)
			}
			heard <- len(words)
		}),
	})
	says(t, dial(t, w.Address(t, "answers")), big, "upstream heard "+big)
	nc := dial(t, w.Address(t, "ends"))
	hears(t, nc, big)
	if _, err := io.WriteString(nc, big); err != nil {
		t.Fatal(err)
	}
	if err := nc.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-heard:
	case <-time.After(process.Patience):
		t.Error("the upstream does not hear the end")
	}
}

// TestProxyProtocol: the address of the client comes by a header and goes on by
// one, in both versions; who has to send one and does not is not served.
func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	heard := speaker(t, listen(t), func(nc net.Conn) {
		in := bufio.NewReader(nc)
		header, err := proxyproto.Read(in)
		if err != nil {
			fmt.Fprint(nc, err)
			return
		}
		words, err := io.ReadAll(in)
		fmt.Fprintf(nc, "v%d from %s: %s, %v", header.Version, header.SourceAddr, words, err)
	})
	w := carry(t, newTrust(t), `
listeners:
  - {name: v1, address: "127.0.0.1:0", protocol: tcp, proxy_protocol: {from: [127.0.0.0/8]}}
  - {name: v2, address: "127.0.0.1:0", protocol: tcp, proxy_protocol: {from: [127.0.0.0/8]}}
clusters:
  - {name: v1, endpoints: ["<heard>"], proxy_protocol: v1}
  - {name: v2, endpoints: ["<heard>"], proxy_protocol: v2}
routes:
  - {name: v1, protocol: tcp, listeners: [v1], to: [{cluster: v1}]}
  - {name: v2, protocol: tcp, listeners: [v2], to: [{cluster: v2}]}
`, map[string]string{"heard": heard})
	source := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4711}
	for _, out := range []string{"v1", "v2"} {
		for in := range byte(2) {
			t.Run(fmt.Sprintf("v%d to %s", in+1, out), func(t *testing.T) {
				nc := dial(t, w.Address(t, out))
				header := proxyproto.HeaderProxyFromAddrs(in+1, source, nc.RemoteAddr())
				if _, err := header.WriteTo(nc); err != nil {
					t.Fatal(err)
				}
				says(t, nc, "hello", out+" from 192.0.2.7:4711: hello, <nil>")
			})
		}
	}
	t.Run("none", func(t *testing.T) {
		nc := dial(t, w.Address(t, "v1"))
		if _, err := io.WriteString(nc, "GET / HTTP/1.1\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if got, _ := io.ReadAll(nc); len(got) > 0 {
			t.Errorf("%q", got)
		}
	})
}

// TestDNS: questions over UDP, by a library and by dig.
func TestDNS(t *testing.T) {
	t.Parallel()
	pc := listenPacket(t)
	server := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		a := new(dns.Msg)
		a.SetReply(q)
		record, err := dns.NewRR(q.Question[0].Name + " 60 IN A 192.0.2.53")
		if err != nil {
			t.Error(err)
			return
		}
		a.Answer = append(a.Answer, record)
		_ = w.WriteMsg(a)
	})}
	var running sync.WaitGroup
	running.Go(func() { _ = server.ActivateAndServe() })
	t.Cleanup(func() { pc.Close(); running.Wait() })
	w := carry(t, newTrust(t), `
listeners: [{name: dns, address: "127.0.0.1:0", protocol: udp}]
clusters: [{name: dns, endpoints: ["<dns>"]}]
routes: [{name: dns, protocol: udp, to: [{cluster: dns}]}]
`, map[string]string{"dns": pc.LocalAddr().String()})
	address := w.Address(t, "dns")
	var clients sync.WaitGroup
	for i := range 20 {
		clients.Go(func() {
			q := new(dns.Msg).SetQuestion(fmt.Sprintf("q%d.test.", i), dns.TypeA)
			a, _, err := (&dns.Client{Timeout: process.Patience}).Exchange(q, address)
			if err != nil || a.Id != q.Id || len(a.Answer) != 1 || a.Answer[0].Header().Name != q.Question[0].Name {
				t.Errorf("%v, %v", a, err)
			}
		})
	}
	clients.Wait()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	contains(t, program(t, "bind9-dnsutils", "dig", "@"+host, "-p", port, "+short", "+tries=1", "dig.test"), "192.0.2.53\n")
}

// TestDetect: one address for TLS, HTTP/1.1, HTTP/2 and what else there is.
func TestDetect(t *testing.T) {
	t.Parallel()
	c := newTrust(t)
	up := upstreams[0]
	w := carry(t, c, `
listeners: [{name: any, address: "127.0.0.1:0", protocol: detect, timeouts: {detect: 100ms}, `+certificates+`}]
clusters:
  - {name: http, endpoints: ["<http>"]}
  - {name: other, endpoints: ["<other>"]}
routes:
  - {name: http, to: [{cluster: http}]}
  - {name: other, protocol: tcp, to: [{cluster: other}]}
`, map[string]string{
		"http": up.serve(t, c, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { serveFine(rw, r, nil) })),
		"other": speaker(t, listen(t), func(nc net.Conn) {
			_, _ = io.WriteString(nc, "220 welcome\r\n")
			answers("other")(nc)
		}),
	})
	address := w.Address(t, "any")
	for _, d := range downstreams {
		if d.version == "HTTP/3.0" {
			continue // over UDP: nothing to be told apart
		}
		t.Run(d.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(context.Background(), "GET", d.url("/plain"), nil)
			if err != nil {
				t.Fatal(err)
			}
			var a answer
			if err := a.ask(t, d.client(t, c, address), req, nil); err != nil {
				t.Fatal(err)
			}
			a.wants(t, d, http.StatusOK, content)
		})
	}
	t.Run("another protocol", func(t *testing.T) {
		says(t, dial(t, address), "*1\r\n$4\r\nPING\r\n", "220 welcome\r\nother heard *1\r\n$4\r\nPING\r\n")
	})
	t.Run("the server speaks first", func(t *testing.T) {
		nc := dial(t, address)
		greeting := make([]byte, len("220 welcome\r\n"))
		if _, err := io.ReadFull(nc, greeting); err != nil {
			t.Fatal(err)
		}
		says(t, nc, "QUIT\r\n", "other heard QUIT\r\n")
	})
}
