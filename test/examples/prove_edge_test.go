package examples

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func setupUnixSocket(t *testing.T) map[string]string {
	dir := folder(t)
	app := filepath.Join(dir, "app.sock")
	serveUnix(t, echo("app"), app)
	return map[string]string{
		"/tmp/weir-app.sock": app, "/tmp/weir-front.sock": filepath.Join(dir, "front.sock"), "/tmp/weir-admin.sock": filepath.Join(dir, "admin.sock"),
	}
}

func proveUnixSocket(t *testing.T, x *running) {
	a := x.ask(call{listener: "local", path: "/x"})
	x.want("front", a, 200)
	x.equal("front", saw(t, a).URI, "/x")
	info, err := os.Stat(x.addrs["local"])
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o660 {
		t.Errorf("the socket has mode %o", mode)
	}
	x.addrs["admin"] = filepath.Join(filepath.Dir(x.addrs["local"]), "admin.sock")
	x.want("admin", x.ask(call{listener: "admin", path: "/ready"}), 200)
	x.stop()
	if _, err := os.Stat(x.addrs["local"]); err == nil {
		t.Error("the socket is still there after the end")
	}
}

func setupTrustedProxy(t *testing.T) map[string]string {
	replace := oneUpstream(t)
	replace["127.0.0.1:8081"] = anywhere
	return replace
}

func proveTrustedProxy(t *testing.T, x *running) {
	forged := map[string]string{"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https", "X-Request-Id": "chosen"}
	s := saw(t, x.ask(call{listener: "direct", path: "/", header: forged}))
	x.equal("direct", s.Header.Get("X-Forwarded-For"), "127.0.0.1")
	x.equal("direct", s.Header.Get("X-Forwarded-Proto"), "http")
	if s.Header.Get("X-Request-Id") == "chosen" || s.Header.Get("Via") != "" {
		t.Errorf("direct: the upstream sees %v", s.Header)
	}
	s = saw(t, x.ask(call{listener: "behind-lb", path: "/", header: forged}))
	x.equal("behind-lb", s.Header.Get("X-Forwarded-For"), "203.0.113.7, 127.0.0.1")
	x.equal("behind-lb", s.Header.Get("X-Forwarded-Proto"), "https")
	x.equal("behind-lb", s.Header.Get("X-Request-Id"), "chosen")
	x.equal("behind-lb", s.Header.Get("Via"), "1.1 weir")
	if forwarded := s.Header.Get("Forwarded"); !strings.HasPrefix(forwarded, "for=203.0.113.7;") {
		t.Errorf("Forwarded: %s", forwarded)
	}
	inside := map[string]string{"X-Forwarded-For": "10.1.2.3"}
	x.equal("clients", x.ask(call{listener: "behind-lb", path: "/internal", header: inside}).body, "only for 10.0.0.0/8\n")
	a := x.ask(call{listener: "direct", path: "/internal", header: inside})
	x.equal("clients, not believed", saw(t, a).URI, "/internal") // goes on to the route shop
}

func setupAccessLog(t *testing.T) map[string]string {
	return map[string]string{public: anywhere, "/tmp/weir-access.log": filepath.Join(folder(t), "access.log"), "sample: 0.01": "sample: 0"}
}

func proveAccessLog(t *testing.T, x *running) {
	x.want("hello", x.get("/"), 200)
	a := x.get("/missing?token=secret&page=2", "X-Api-Key", "secret")
	x.want("missing", a, 404)
	x.stop()
	document, err := os.ReadFile(filepath.Join(x.dir, "weir.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(document), "\n  to: ")
	path, _, _ := strings.Cut(rest, "\n")
	log, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	line := string(log)
	if strings.Count(line, "\n") != 1 || strings.Contains(line, "secret") ||
		!strings.Contains(line, `"GET /missing?token=[redacted]&page=2" 404 `) || !strings.Contains(line, " key=[redacted] fault=no_route id=") {
		t.Errorf("want one line, of the request that failed, without secrets:\n%s", line)
	}
}

func setupHardening(t *testing.T) map[string]string {
	replace := oneUpstream(t)
	replace["head: 2s"] = "head: 200ms"
	return replace
}

func proveHardening(t *testing.T, x *running) {
	many := map[string]string{}
	for i := range 60 {
		many["X-"+itoa(i)] = "1"
	}
	for limit, c := range map[string]struct {
		call   call
		status int
	}{
		"max_uri_bytes":    {call{path: "/" + strings.Repeat("a", 2000)}, 414},
		"max_header_count": {call{path: "/", header: many}, 431},
		"max_header_bytes": {call{path: "/", header: map[string]string{"X-Long": strings.Repeat("a", 20<<10)}}, 431},
	} {
		a, err := x.try(c.call)
		if err != nil {
			t.Errorf("%s: %v", limit, err)
			continue
		}
		x.want(limit, a, c.status)
		if !strings.Contains(a.body, "Limit: "+limit) {
			t.Errorf("%s is not named:\n%s", limit, a.body)
		}
	}
	// By hand: a client that goes on sending may see a reset before the answer.
	got := x.raw(t, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 413 ") || !strings.Contains(got, "Limit: max_body_bytes") {
		t.Errorf("max_body_bytes: %q", got)
	}
	x.want("another method", x.ask(call{method: "DELETE", path: "/"}), 404)
	x.want("within all limits", x.ask(call{method: "POST", path: "/", body: "x"}), 200)
	if got = x.raw(t, "GET / HTTP/1.1\r\n"); !strings.HasPrefix(got, "HTTP/1.1 408 ") {
		t.Errorf("a head that does not end: %q, want 408", got)
	}
}

func (x *running) raw(t *testing.T, text string) string {
	t.Helper()
	conn := x.dial(t)
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

func (x *running) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", x.addrs["public"])
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// setupWebSocket has an upstream that sends back what comes, in capitals.
func setupWebSocket(t *testing.T) map[string]string {
	shout := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		for {
			kind, message, err := conn.Read(r.Context())
			if err != nil || conn.Write(r.Context(), kind, bytes.ToUpper(message)) != nil {
				return
			}
		}
	})
	return map[string]string{public: anywhere, "127.0.0.1:9001": serve(t, shout)}
}

func proveWebSocket(t *testing.T, x *running) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws://"+x.addrs["public"]+"/chat", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	for i := range 3 {
		if err := conn.Write(ctx, websocket.MessageText, []byte("message "+itoa(i))); err != nil {
			t.Fatal(err)
		}
		_, message, err := conn.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		x.equal("echo", string(message), "MESSAGE "+itoa(i))
	}
	x.want("without the upgrade", x.get("/chat"), 426)
	said := make(chan error, 1)
	go func() {
		_, _, err := conn.Read(ctx)
		said <- err
	}()
	x.stop()
	if err := <-said; websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("when weir ends the client hears %v, want 1001", err)
	}
}
