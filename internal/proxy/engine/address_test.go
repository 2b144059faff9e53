package engine_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/weirproxy/weir/internal/snapshot"
)

// listening is a document with listeners, which answers everything with body.
func listening(listeners, body string) string {
	return fmt.Sprintf(`
admin: {address: "off"}
access_log: {to: "off"}
listeners: [%s]
routes: [{name: hello, respond: {body: %q}}]
`, listeners, body)
}

// answerAt asks on a connection, a new one when nc is nil, and returns it with
// the body.
func answerAt(t *testing.T, nc net.Conn, address string) (net.Conn, string) {
	t.Helper()
	if nc == nil {
		var err error
		if nc, err = net.Dial("tcp", address); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
	}
	if _, err := nc.Write([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body := make([]byte, 64)
	n, _ := resp.Body.Read(body)
	return nc, string(body[:n])
}

// freePort is an address that nobody has at the moment.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// TestListenerGetsAnotherName: the address stays open, and who is connected
// gets an answer.
func TestListenerGetsAnotherName(t *testing.T) {
	address, other := freePort(t), freePort(t)
	s := compiled(t, listening(fmt.Sprintf("{name: a, address: %q}, {name: b, address: %q}", address, other), "one"), nil)
	e := start(t, s)
	nc, _ := answerAt(t, nil, address)
	// Another name for the first; the second swaps its name with it.
	s = compiled(t, listening(fmt.Sprintf("{name: b, address: %q}, {name: c, address: %q}", address, other), "two"), s)
	if err := e.Apply(s); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{address, other} {
		if _, body := answerAt(t, nil, at); body != "two" {
			t.Errorf("%s answers %q, want two", at, body)
		}
	}
	answerAt(t, nc, "")
}

// TestListenerMovesToATakenAddress: it serves on where it was, with what else
// is new, and goes where it shall when it can.
func TestListenerMovesToATakenAddress(t *testing.T) {
	address := freePort(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s := compiled(t, listening(fmt.Sprintf("{name: a, address: %q}", address), "one"), nil)
	e := start(t, s)
	s = compiled(t, listening(fmt.Sprintf("{name: a, address: %q}", taken.Addr()), "two"), s)
	var partial *snapshot.Partial
	if err := e.Apply(s); !errors.As(err, &partial) || len(partial.Held) != 1 || partial.Held[0].Name != "a" {
		t.Fatalf("Apply: %v", err)
	}
	if held := e.Snapshot().Held; len(held) != 1 || held[0].Problems[0].Pos.Line == 0 {
		t.Errorf("held: %+v", held)
	}
	if _, body := answerAt(t, nil, address); body != "two" {
		t.Errorf("the old address answers %q, want two", body)
	}
	taken.Close()
	if err := e.Apply(s); err != nil {
		t.Fatal(err)
	}
	if _, body := answerAt(t, nil, taken.Addr().String()); body != "two" {
		t.Errorf("the new address answers %q, want two", body)
	}
	if nc, err := net.Dial("tcp", address); err == nil {
		nc.Close()
		t.Error("the old address is still open")
	}
}

// TestLogThatCannotBeOpened: the rest of the change is in use, the old log goes on.
func TestLogThatCannotBeOpened(t *testing.T) {
	document := func(log, body string) string {
		return fmt.Sprintf(`
admin: {address: "off"}
access_log: {to: %q}
listeners: [{name: front, address: "127.0.0.1:0"}]
routes: [{name: hello, respond: {body: %q}}]
`, log, body)
	}
	dir := t.TempDir()
	s := compiled(t, document(filepath.Join(dir, "a.log"), "one"), nil)
	e := start(t, s)
	var partial *snapshot.Partial
	err := e.Apply(compiled(t, document(filepath.Join(dir, "no", "such", "b.log"), "two"), s))
	if !errors.As(err, &partial) || partial.Held[0].Kind != "access_log" {
		t.Fatalf("Apply: %v", err)
	}
	if _, body := answerAt(t, nil, e.Addresses()["front"]); body != "two" {
		t.Errorf("answers %q, want two", body)
	}
}
