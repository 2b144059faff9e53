package engine_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/filters/all"
	"github.com/weirproxy/weir/internal/control/compile"
	"github.com/weirproxy/weir/internal/proxy/engine"
	"github.com/weirproxy/weir/internal/snapshot"

	"github.com/weirproxy/weir/filter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// compiled is the snapshot of a document.
func compiled(t testing.TB, document string, previous *snapshot.Snapshot) *snapshot.Snapshot {
	t.Helper()
	doc, problems := config.Parse("test.yaml", []byte(document))
	if doc == nil {
		t.Fatal(problems)
	}
	s, problems := compile.Compile(compile.Inputs{
		Documents: []*config.Document{doc}, Problems: problems, Filters: filter.NewRegistry(all.Definitions()...),
		Previous: previous, Now: time.Now(), Files: os.ReadFile,
	})
	if problems.Errors() > 0 {
		t.Fatal(problems)
	}
	return s
}

// start runs a document until the test ends.
func start(t testing.TB, s *snapshot.Snapshot) *engine.Engine {
	t.Helper()
	e := engine.New(engine.Config{Version: "test", Filters: filter.NewRegistry(all.Definitions()...), Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		e.Shutdown(ctx)
	})
	if err := e.Apply(s); err != nil {
		t.Fatal(err)
	}
	return e
}

// canned answers every request head with the same bytes, without allocating.
func canned(t testing.TB, response string) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				answer(conn, []byte(response))
			}()
		}
	}()
	return ln.Addr().String()
}

func answer(conn net.Conn, response []byte) {
	buf, n := make([]byte, 4096), 0
	for {
		read, err := conn.Read(buf[n:])
		if err != nil {
			return
		}
		if n += read; bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
			n = 0
			if _, err := conn.Write(response); err != nil {
				return
			}
		}
	}
}

const document = `
admin: {address: "off"}
access_log: {to: %q}
listeners: [{name: front, address: "127.0.0.1:0"}]
routes:
  - {name: items, match: {path: {prefix: /items}}, to: [{cluster: one}]}
  - {name: hello, match: {path: {exact: /hello}}, respond: {status: 200, body: %q}}
clusters: [{name: one, endpoints: [%q]}]
`

const hundred = "HTTP/1.1 200 OK\r\nDate: Mon, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: text/plain\r\nServer: canned\r\nContent-Length: 10\r\n\r\n0123456789"

// client keeps one connection and allocates nothing per request.
type client struct {
	conn net.Conn
	in   []byte
}

func dial(t testing.TB, e *engine.Engine) *client {
	t.Helper()
	conn, err := net.Dial("tcp", e.Addresses()["front"])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{conn: conn, in: make([]byte, 4096)}
}

func (c *client) get(t testing.TB, request []byte, end string) {
	t.Helper()
	if _, err := c.conn.Write(request); err != nil {
		t.Fatal(err)
	}
	for n := 0; ; {
		read, err := c.conn.Read(c.in[n:])
		if err != nil {
			t.Fatalf("after %q: %v", c.in[:n], err)
		}
		if n += read; bytes.HasSuffix(c.in[:n], []byte(end)) {
			return
		}
	}
}

var plainRequest = []byte("GET /items/42?page=7 HTTP/1.1\r\nHost: bench.example.com\r\nUser-Agent: test\r\nAccept: */*\r\nAccept-Encoding: gzip, br\r\n\r\n")

// TestUnrelatedChangeTouchesNothing: a connection, its upstream connection and
// the health of endpoints live through a change of something else.
func TestUnrelatedChangeTouchesNothing(t *testing.T) {
	upstream := canned(t, hundred)
	s := compiled(t, fmt.Sprintf(document, "off", "one", upstream), nil)
	e := start(t, s)
	c := dial(t, e)
	c.get(t, plainRequest, "0123456789")
	before := e.Addresses()
	for i := range 20 {
		s = compiled(t, fmt.Sprintf(document, "off", fmt.Sprintf("change %d", i), upstream), s)
		if err := e.Apply(s); err != nil {
			t.Fatal(err)
		}
		c.get(t, plainRequest, "0123456789") // the same connection
		c.get(t, []byte("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"), fmt.Sprintf("change %d", i))
	}
	if after := e.Addresses(); after["front"] != before["front"] {
		t.Errorf("the listener moved from %s to %s", before["front"], after["front"])
	}
}

// TestRemovedRouteAndCluster: what a document no longer has is gone for new
// requests on old connections.
func TestRemovedRouteAndCluster(t *testing.T) {
	s := compiled(t, fmt.Sprintf(document, "off", "hi", canned(t, hundred)), nil)
	e := start(t, s)
	c := dial(t, e)
	c.get(t, plainRequest, "0123456789")
	smaller := `
admin: {address: "off"}
access_log: {to: "off"}
listeners: [{name: front, address: "127.0.0.1:0"}]
routes: [{name: hello, match: {path: {exact: /hello}}, respond: {status: 200, body: hi}}]
`
	if err := e.Apply(compiled(t, smaller, s)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.conn.Write(plainRequest); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c.conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound || !strings.Contains(resp.Header.Get("Proxy-Status"), "no_route") {
		t.Errorf("status %d, Proxy-Status %q; want 404 for no_route", resp.StatusCode, resp.Header.Get("Proxy-Status"))
	}
}

// TestTakenAddress: the first generation starts whole or not at all; a later
// one runs what it can and names what it cannot.
func TestTakenAddress(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	blocked := fmt.Sprintf(`
admin: {address: "off"}
access_log: {to: "off"}
listeners: [{name: front, address: "127.0.0.1:0"}, {name: second, address: %q}]
routes: [{name: hello, match: {path: {exact: /hello}}, respond: {status: 200, body: new}}]
`, taken.Addr())
	e := engine.New(engine.Config{Filters: filter.NewRegistry(all.Definitions()...), Log: slog.New(slog.DiscardHandler)})
	if err := e.Apply(compiled(t, blocked, nil)); err == nil || !strings.Contains(err.Error(), "second") {
		t.Errorf("first Apply: %v; want an error that names the listener", err)
	}
	e.Shutdown(context.Background())

	s := compiled(t, fmt.Sprintf(document, "off", "hi", canned(t, hundred)), nil)
	e = start(t, s)
	c := dial(t, e)
	if err := e.Apply(compiled(t, blocked, s)); err == nil || !strings.Contains(err.Error(), "second") {
		t.Errorf("second Apply: %v; want an error that names the listener", err)
	}
	c.get(t, []byte("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"), "new")
}

// TestShutdownLetsRequestsFinish: a request under way gets its answer, and
// everything is gone afterwards (goleak).
func TestShutdownLetsRequestsFinish(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = http.ReadRequest(bufio.NewReader(conn))
		close(asked)
		<-release
		_, _ = io.WriteString(conn, hundred)
	}()
	e := start(t, compiled(t, fmt.Sprintf(document, "off", "hi", ln.Addr()), nil))
	c := dial(t, e)
	if _, err := c.conn.Write(plainRequest); err != nil {
		t.Fatal(err)
	}
	<-asked
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		e.Shutdown(ctx)
	}()
	close(release)
	resp, err := http.ReadResponse(bufio.NewReader(c.conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "0123456789" {
		t.Errorf("body %q, %v", body, err)
	}
	<-ended
}

// TestCutAtTheEndOfGrace: the log does not blame the client for it.
func TestCutAtTheEndOfGrace(t *testing.T) {
	asked := make(chan struct{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = http.ReadRequest(bufio.NewReader(conn))
		close(asked)
		_, _ = conn.Read(make([]byte, 1)) // until Weir closes
	}()
	log := filepath.Join(t.TempDir(), "a.log")
	e := start(t, compiled(t, fmt.Sprintf(document, log, "hi", ln.Addr()), nil))
	if _, err := dial(t, e).conn.Write(plainRequest); err != nil {
		t.Fatal(err)
	}
	<-asked
	over, cancel := context.WithCancel(context.Background())
	cancel()
	e.Shutdown(over)
	line, err := os.ReadFile(log)
	if err != nil || !strings.Contains(string(line), `"fault":"draining","fault_origin":"local","fault_limit":"grace"`) {
		t.Errorf("%s, %v", line, err)
	}
}

func BenchmarkProxiedRequest(b *testing.B) {
	e := start(b, compiled(b, fmt.Sprintf(document, "/dev/null", "hi", canned(b, hundred)), nil))
	c := dial(b, e)
	b.ReportAllocs()
	for b.Loop() {
		c.get(b, plainRequest, "0123456789")
	}
}
