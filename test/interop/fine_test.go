package interop

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirproxy/weir/test/process"
)

// big is more than any window and any buffer of a socket holds without being
// read.
var big = strings.Repeat("0123456789abcde\n", 3<<19/16)

// fineCases are exchanges with a well-behaved upstream. All of them can be had
// over every pair of protocols.
var fineCases = []struct {
	name string
	run  func(t *testing.T, cell cell)
}{
	{"plain", func(t *testing.T, c cell) {
		c.ask(t, "GET", "plain", nil).wants(t, c.down, http.StatusOK, content)
	}},
	{"head", func(t *testing.T, c cell) {
		a := c.ask(t, "HEAD", "plain", nil)
		a.wants(t, c.down, http.StatusOK, "")
		if length := a.Header.Get("Content-Length"); length != fmt.Sprint(len(content)) {
			t.Errorf("Content-Length %q", length)
		}
	}},
	{"without content", func(t *testing.T, c cell) {
		c.ask(t, "DELETE", "nothing", nil).wants(t, c.down, http.StatusNoContent, "")
	}},
	{"content of a known length", func(t *testing.T, c cell) {
		c.ask(t, "POST", "echo", strings.NewReader(content)).wants(t, c.down, http.StatusOK, content)
	}},
	{"content of an unknown length", func(t *testing.T, c cell) {
		c.ask(t, "POST", "echo", unknownLength(content)).wants(t, c.down, http.StatusOK, content)
	}},
	{"trailers", func(t *testing.T, c cell) {
		req := c.request("POST", "trailers", unknownLength("a body"))
		req.Header.Set("Te", "trailers")
		req.Trailer = http.Header{"X-Sum": {"42"}}
		a := c.do(t, req)
		a.wants(t, c.down, http.StatusOK, content)
		if seen := a.Header.Get("X-Seen"); seen != "a body 42" {
			t.Errorf("the upstream saw body and trailer %q", seen)
		}
		if got := a.Trailer.Get("X-Check"); got != "checked" {
			t.Errorf("the trailer is %v", a.Trailer)
		}
	}},
	{"1xx", func(t *testing.T, c cell) {
		a := c.ask(t, "GET", "interim", nil)
		a.wants(t, c.down, http.StatusOK, content)
		if want := []string{"</a.css>", "</b.css>"}; !slices.Equal(a.interim, want) {
			t.Errorf("early hints %q, want %q", a.interim, want)
		}
	}},
	{"big both ways", func(t *testing.T, c cell) {
		c.ask(t, "POST", "echo", unknownLength(big)).wants(t, c.down, http.StatusOK, big)
	}},
	{"early response", func(t *testing.T, c cell) {
		c.ask(t, "POST", "early", unknownLength(big)).wants(t, c.down, http.StatusForbidden, content)
	}},
	{"the client leaves", clientLeaves},
}

// unknownLength hides how much it is from the client's library.
func unknownLength(s string) io.Reader { return io.MultiReader(strings.NewReader(s)) }

// clientLeaves wants the upstream to know.
func clientLeaves(t *testing.T, c cell) {
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	id := c.down.name + " " + c.up.name
	req := c.request("GET", "leave", nil).WithContext(ctx)
	req.Header.Set("X-Exchange", id)
	resp, err := c.client.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	begun := make([]byte, len(beginning))
	if _, err := io.ReadFull(resp.Body, begun); err != nil || !bytes.Equal(begun, []byte(beginning)) {
		t.Fatalf("%q, %v", begun, err)
	}
	leave()
	select {
	case <-c.world.left.of(id):
	case <-time.After(process.Patience):
		t.Error("the upstream was not told that the client has left")
	}
}

// cell is one pair of protocols.
type cell struct {
	world  *world
	down   downstream
	up     upstream
	client http.RoundTripper
}

func (c cell) request(method, name string, body io.Reader) *http.Request {
	req, err := http.NewRequest(method, c.down.url("/"+fine+"-"+c.up.name+"/"+name), body)
	if err != nil {
		panic(err) // the paths of these tests are good
	}
	return req
}

func (c cell) ask(t *testing.T, method, name string, body io.Reader) *answer {
	t.Helper()
	return c.do(t, c.request(method, name, body))
}

func (c cell) do(t *testing.T, req *http.Request) *answer {
	t.Helper()
	a := new(answer)
	if err := a.ask(t, c.client, req, nil); err != nil {
		t.Fatalf("no response: %v", err)
	}
	if v := a.Header.Get("X-Upstream-Version"); v != c.up.version {
		t.Errorf("the upstream was asked with %q, want %s; %s", v, c.up.version, a.Header.Get("Proxy-Status"))
	}
	return a
}

// forEachCell runs a test for every pair of protocols, each pair with a client
// of its own and beside the others.
func forEachCell(t *testing.T, run func(t *testing.T, c cell)) {
	cells(t, func(t *testing.T, c cell) {
		t.Parallel()
		run(t, c)
	})
}

// cells runs a test for every pair of protocols, one after the other.
func cells(t *testing.T, run func(t *testing.T, c cell)) {
	w := newWorld(t)
	for _, d := range downstreams {
		address := w.Address(t, d.listener)
		for _, u := range upstreams {
			t.Run(d.name+" to "+u.name, func(t *testing.T) {
				run(t, cell{world: w, down: d, up: u, client: d.client(t, w.trust, address)})
			})
		}
	}
}

func TestFine(t *testing.T) {
	forEachCell(t, func(t *testing.T, c cell) {
		for _, test := range fineCases {
			t.Run(test.name, func(t *testing.T) { test.run(t, c) })
		}
	})
}

// get asks with a client of its own.
func (c cell) get(t *testing.T, path string) *answer {
	t.Helper()
	req, err := http.NewRequest("GET", c.down.url(path), nil)
	if err != nil {
		t.Fatal(err)
	}
	a := new(answer)
	if err := a.ask(t, c.down.client(t, c.world.trust, c.world.Address(t, c.down.listener)), req, nil); err != nil {
		t.Fatal(err)
	}
	return a
}
