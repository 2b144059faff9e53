package examples

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/pires/go-proxyproto"
)

// zip is text as gzip.
func zip(t *testing.T, text string) string {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := io.WriteString(w, text)
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func setupTCP(t *testing.T) map[string]string {
	return map[string]string{public: anywhere, "127.0.0.1:9001": serve(t, echo("9001")), "127.0.0.1:9002": serve(t, echo("9002"))}
}

func proveTCP(t *testing.T, x *running) {
	upstreams := map[string]int{}
	for range 6 { // a connection each
		a := x.get("/")
		upstreams[saw(t, a).Upstream]++
		if s := saw(t, a); s.Header.Get("X-Forwarded-For") != "" {
			t.Errorf("a byte was looked at: %v", s.Header)
		}
	}
	if upstreams["9001"] != 3 || upstreams["9002"] != 3 {
		t.Errorf("connections went to %v, want to each in turn", upstreams)
	}
	x.stop()
	if log := x.stdout.String(); strings.Count(log, `"protocol":"TCP","status":200`) != 6 {
		t.Errorf("the access log does not have six connections:\n%s", log)
	}
}

func setupProxyProtocol(t *testing.T) map[string]string {
	ln := &proxyproto.Listener{Listener: listen(t), ConnPolicy: func(proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) { return proxyproto.REQUIRE, nil }}
	return map[string]string{public: anywhere, "127.0.0.1:9001": serveWith(t, echo("9001"), ln, nil)}
}

func proveProxyProtocol(t *testing.T, x *running) {
	const request = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
	conn := x.dial(t)
	defer conn.Close()
	fmt.Fprint(conn, "PROXY TCP4 192.0.2.7 192.0.2.1 1234 80\r\n"+request)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	s := saw(t, answer{status: resp.StatusCode, body: string(body)})
	x.equal("the header for the upstream", s.Peer, "192.0.2.7:1234")
	x.equal("X-Forwarded-For", s.Header.Get("X-Forwarded-For"), "192.0.2.7")

	bare := x.dial(t)
	defer bare.Close()
	fmt.Fprint(bare, request)
	if got, _ := io.ReadAll(bare); len(got) > 0 { // ended, perhaps by a reset
		t.Errorf("without a header: %q", got)
	}
}

func setupDetect(t *testing.T) map[string]string {
	shell := serveTCP(t, func(conn net.Conn) {
		fmt.Fprint(conn, "SSH-2.0-test\r\n")
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err == nil {
			fmt.Fprint(conn, "you are "+line)
		}
	})
	return map[string]string{
		public: anywhere, "127.0.0.1:9001": serve(t, echo("9001")), "127.0.0.1:22": shell, "detect: 500ms": "detect: 50ms",
	}
}

func proveDetect(t *testing.T, x *running) {
	for _, c := range []call{{}, {proto: "h2c"}, {tls: true, host: "shop.test"}, {proto: "h2", tls: true, host: "shop.test"}} {
		c.path = "/"
		a := x.ask(c)
		x.want("HTTP", a, 200)
		x.equal("HTTP", saw(t, a).Upstream, "9001")
	}
	quiet, talks := x.dial(t), x.dial(t)
	defer quiet.Close()
	defer talks.Close()
	fmt.Fprint(talks, "SSH-2.0-client\r\n")
	for conn, said := range map[net.Conn]string{quiet: "late", talks: ""} {
		in := bufio.NewReader(conn)
		banner, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		x.equal("the server begins", banner, "SSH-2.0-test\r\n")
		if said == "" {
			said = "SSH-2.0-client\r"
		} else {
			fmt.Fprintln(conn, said)
		}
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		x.equal("carried", line, "you are "+said+"\n")
	}
}

func setupUDP(t *testing.T) map[string]string {
	return map[string]string{
		"127.0.0.1:8053": anywhere, "127.0.0.1:9053": serveNames(t, "192.0.2.1", 1), "127.0.0.1:9054": serveNames(t, "192.0.2.2", 1),
	}
}

func proveUDP(t *testing.T, x *running) {
	ask := func(conn *dns.Conn) string {
		t.Helper()
		client := &dns.Client{Timeout: patience}
		m, _, err := client.ExchangeWithConn(new(dns.Msg).SetQuestion("shop.test.", dns.TypeA), conn)
		if err != nil {
			t.Fatal(err)
		}
		return m.Answer[0].(*dns.A).A.String()
	}
	answers := map[string]int{}
	for range 4 {
		conn, err := dns.Dial("udp", x.addrs["dns"])
		if err != nil {
			t.Fatal(err)
		}
		first := ask(conn)
		answers[first]++
		x.equal("the same session", ask(conn), first)
		conn.Close()
	}
	if answers["192.0.2.1"] != 2 || answers["192.0.2.2"] != 2 {
		t.Errorf("sessions went to %v, want to each in turn", answers)
	}
}

// upper answers each line in capitals.
func upper(conn net.Conn) {
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		fmt.Fprint(conn, strings.ToUpper(line))
	}
}

func setupFramedService(t *testing.T) map[string]string {
	return map[string]string{public: anywhere, "127.0.0.1:9001": serveTCP(t, upper)}
}

func proveFramedService(_ *testing.T, x *running) {
	for range 2 {
		a := x.ask(call{method: "POST", path: "/", body: "hello"})
		x.want("a line", a, 200)
		x.equal("a line", a.body, "HELLO")
	}
	x.want("two lines", x.ask(call{method: "POST", path: "/", body: "two\nlines"}), 400)
	x.want("a long line", x.ask(call{method: "POST", path: "/", body: strings.Repeat("a", 64<<10+1)}), 413)
}

func setupFramedListener(t *testing.T) map[string]string {
	shout := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if string(body) == "fail" || r.URL.Path != "/lines" || r.Method != "POST" || r.Header.Get("Content-Type") != "text/plain" {
			w.WriteHeader(http.StatusTeapot)
		}
		fmt.Fprint(w, strings.ToUpper(string(body)))
	})
	return map[string]string{public: anywhere, "127.0.0.1:9001": serve(t, shout)}
}

func proveFramedListener(t *testing.T, x *running) {
	conn, err := net.DialTimeout("tcp", x.addrs["lines"], patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "hello\nfail\nworld\n")
	in := bufio.NewReader(conn)
	for _, want := range []string{"HELLO\n", "ERROR 418 status\n", "WORLD\n"} {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		x.equal("line", line, want)
	}
}

func setupConnectProxy(t *testing.T) map[string]string {
	upstream := serve(t, echo("9001"))
	_, port, _ := strings.Cut(upstream, ":")
	return map[string]string{public: anywhere, "127.0.0.1:9001": upstream, "ports: [9001]": "ports: [" + port + "]"}
}

func proveConnectProxy(t *testing.T, x *running) {
	document := x.document(t)
	_, rest, _ := strings.Cut(document, "ports: [")
	port, _, _ := strings.Cut(rest, "]")
	for target, want := range map[string]int{"localhost:" + port: 200, "anything.inside:80": 200, "localhost:22": 403, "example.com:" + port: 501} {
		conn := x.dial(t)
		fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target)
		in := bufio.NewReader(conn)
		resp, err := http.ReadResponse(in, &http.Request{Method: "CONNECT"})
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != want {
			t.Errorf("%s: %s, want %d", target, resp.Status, want)
		}
		if want == 200 {
			fmt.Fprint(conn, "GET /through HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
			if resp, err = http.ReadResponse(in, nil); err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			x.equal(target, saw(t, answer{body: string(body)}).URI, "/through")
		}
		conn.Close()
	}
	proveConnectHTTP2(t, x, "localhost:"+port)
}

// proveConnectHTTP2 asks for a tunnel in a stream.
func proveConnectHTTP2(t *testing.T, x *running, target string) {
	transport, done := x.transport(call{listener: "public", proto: "h2c", host: "localhost"})
	defer done()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	up := strings.NewReader("GET /through HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	req := &http.Request{
		Method: "CONNECT", URL: &url.URL{Scheme: "http", Host: target}, Host: target, Header: http.Header{}, Body: io.NopCloser(up), ContentLength: -1,
	}
	resp, err := transport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	inside, err := http.ReadResponse(bufio.NewReader(resp.Body), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(inside.Body)
	x.equal("HTTP/2", resp.Proto, "HTTP/2.0")
	x.equal("HTTP/2", saw(t, answer{body: string(body)}).URI, "/through")
}
