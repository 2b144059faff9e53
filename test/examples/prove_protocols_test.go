package examples

import (
	"context"
	"crypto/tls"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	quichttp3 "github.com/quic-go/quic-go/http3"
)

// cleartextHTTP2 is HTTP/2 without TLS, and nothing else.
func cleartextHTTP2() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}

// setupHTTP2 has an upstream that answers /both when two requests are there.
func setupHTTP2(t *testing.T) map[string]string {
	mux := http.NewServeMux()
	mux.Handle("/", echo("9001"))
	var both sync.WaitGroup
	both.Add(2)
	mux.HandleFunc("/both", func(w http.ResponseWriter, r *http.Request) {
		both.Done()
		both.Wait()
		echo("9001")(w, r)
	})
	return map[string]string{public: anywhere, "127.0.0.1:9001": serveWith(t, mux, listen(t), cleartextHTTP2())}
}

func proveHTTP2(t *testing.T, x *running) {
	for proto, want := range map[string]string{"": "HTTP/1.1", "h2c": "HTTP/2.0"} {
		a := x.ask(call{proto: proto, path: "/"})
		x.want(want, a, 200)
		x.equal("to the client", a.proto, want)
		x.equal("to the upstream", saw(t, a).Proto, "HTTP/2.0")
	}
	var work sync.WaitGroup
	peers := make([]string, 2)
	for i := range peers {
		work.Go(func() {
			if a, err := x.try(call{proto: "h2c", path: "/both"}); err != nil {
				t.Error(err)
			} else {
				peers[i] = saw(t, a).Peer
			}
		})
	}
	work.Wait()
	x.equal("two requests at a time, from two clients: the connection of one", peers[0], peers[1])
}

func setupHTTP3(t *testing.T) map[string]string {
	return map[string]string{"127.0.0.1:8443": anywhere, "127.0.0.1:9001": serve(t, echo("9001"))}
}

func proveHTTP3(t *testing.T, x *running) {
	a := x.ask(call{listener: "secure", proto: "h3", host: "shop.test", path: "/a?b=1"})
	x.want("HTTP/3", a, 200)
	x.equal("HTTP/3", a.proto, "HTTP/3.0")
	x.equal("HTTP/3", saw(t, a).URI, "/a?b=1")
	_, port, _ := strings.Cut(x.addrs["secure"], ":")
	for proto, want := range map[string]string{"": "HTTP/1.1", "h2": "HTTP/2.0"} {
		a = x.ask(call{listener: "secure", proto: proto, host: "shop.test", path: "/"})
		x.equal("beside it", a.proto, want)
		x.equal(want, a.header.Get("Alt-Svc"), `h3=":`+port+`"; ma=3600`)
	}
	proveEarlyData(t, x)
	x.stop()
	if log := x.stdout.String(); !strings.Contains(log, `"protocol":"HTTP/3"`) {
		t.Errorf("the access log does not say it:\n%s", log)
	}
}

// tickets is a session cache that tells when something came.
type tickets struct {
	tls.ClientSessionCache
	came chan struct{}
}

func (s *tickets) Put(key string, state *tls.ClientSessionState) {
	s.ClientSessionCache.Put(key, state)
	select {
	case s.came <- struct{}{}:
	default:
	}
}

// proveEarlyData: the second connection sends its request at once.
func proveEarlyData(t *testing.T, x *running) {
	cache := &tickets{tls.NewLRUClientSessionCache(1), make(chan struct{}, 1)}
	secure := &tls.Config{RootCAs: x.roots, ServerName: "shop.test", ClientSessionCache: cache}
	for _, method := range []string{http.MethodGet, quichttp3.MethodGet0RTT} {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		req, err := http.NewRequestWithContext(ctx, method, "https://shop.test/pictures/1", nil)
		if err != nil {
			t.Fatal(err)
		}
		transport := http3Transport(x.addrs["secure"], secure)
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != 200 {
			t.Errorf("%s: %s", method, resp.Status)
		}
		if method == http.MethodGet {
			<-cache.came
		}
		resp.Body.Close()
		transport.Close()
		cancel()
	}
}

func setupPassthrough(t *testing.T) map[string]string {
	return map[string]string{
		"127.0.0.1:8443": anywhere, "127.0.0.1:9001": serve(t, echo("shop")), "127.0.0.1:9443": serveTLS(t, echo("api"), "api", ""),
	}
}

func provePassthrough(t *testing.T, x *running) {
	x.roots.AddCert(pki(t)["services-ca"].Leaf)
	for host, want := range map[string]struct{ cert, upstream string }{"shop.test": {"site", "shop"}, "api.internal.test": {"api", "api"}} {
		a := x.ask(call{listener: "secure", host: host, path: "/"})
		x.want(host, a, 200)
		x.equal("certificate of "+host, a.cert, want.cert)
		x.equal(host, saw(t, a).Upstream, want.upstream)
	}
	x.stop()
	if log := x.stdout.String(); !strings.Contains(log, `"host":"api.internal.test","protocol":"TCP"`) {
		t.Errorf("the access log does not name the connection that was passed on:\n%s", log)
	}
}

func setupCompression(t *testing.T) map[string]string {
	page := strings.Repeat("a line of text\n", 1000)
	mux := http.NewServeMux()
	mux.Handle("/", echo("9001"))
	mux.HandleFunc("/page.txt", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write([]byte(page))
	})
	return map[string]string{public: anywhere, "127.0.0.1:9001": serve(t, mux)}
}

func proveCompression(t *testing.T, x *running) {
	for accepts, want := range map[string]string{"gzip, br": "br", "gzip": "gzip", "zstd": "", "": ""} {
		a := x.get("/page.txt", "Accept-Encoding", accepts)
		x.want(accepts, a, 200)
		x.equal("for "+accepts, a.header.Get("Content-Encoding"), want)
		x.equal("for "+accepts, a.header.Get("Vary"), "Accept-Encoding")
		if small := len(a.body) < 1000; small != (want != "") {
			t.Errorf("for %q: %d bytes", accepts, len(a.body))
		}
	}
	encoded := map[string]string{"Content-Encoding": "gzip"}
	a := x.ask(call{method: "POST", path: "/", header: encoded, body: zip(t, "hello")})
	x.want("decoded", a, 200)
	x.equal("decoded", saw(t, a).Body, "hello")
	x.equal("decoded", saw(t, a).Header.Get("Content-Encoding"), "")
	a = x.ask(call{method: "POST", path: "/", header: encoded, body: zip(t, strings.Repeat("0", 8<<20))})
	x.want("a bomb", a, 413)
	if !strings.Contains(a.body, "Limit: compress.requests.max_ratio") {
		t.Errorf("a bomb: %s", a.body)
	}
}

// exampleWith runs an example with a text of it replaced by another.
func exampleWith(t *testing.T, name, from, to string, setup map[string]string) *running {
	t.Helper()
	content, err := os.ReadFile("../../examples/" + name)
	if err != nil {
		t.Fatal(err)
	}
	setup[from] = to
	return start(t, relocate(t, string(content), setup))
}
