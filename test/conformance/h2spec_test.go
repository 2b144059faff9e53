package conformance

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	"github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"

	"github.com/weirproxy/weir/test/process"
)

// TestH2Spec runs the whole suite, strict cases included, over both ways in
// which HTTP/2 begins. The limit of abuse is the default one.
func TestH2Spec(t *testing.T) {
	f := start(t, h2Upstream(t))
	t.Run("clear", func(t *testing.T) {
		// In the clear, what does not begin with the preface is no HTTP/2: it is
		// answered as the malformed HTTP/1.1 that it is, where the suite wants
		// silence or GOAWAY. TestNoPreface says what holds instead.
		f.h2spec(t, "clear", "http2/3.5: Sends invalid connection preface")
	})
	t.Run("secure", func(t *testing.T) { f.h2spec(t, "secure") })
}

// cases are those of version 2.2.1 of the suite.
const cases = 146

func (f *front) h2spec(t *testing.T, listener string, except ...string) {
	host, port, err := net.SplitHostPort(f.Address(t, listener))
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &config.Config{
		Host: host, Port: number, Path: "/", Timeout: 2 * time.Second, MaxHeaderLen: 4000, Strict: true,
		TLS: listener == "secure", Insecure: true,
	}
	groups := []*spec.TestGroup{generic.Spec(), http2.Spec(), hpack.Spec()}
	quietly(t, func() {
		for _, group := range groups {
			group.Test(cfg)
		}
	})
	ran := 0
	var failed []string
	for _, group := range groups {
		walk(group, func(c *spec.TestCase) {
			name := c.Parent.ID() + ": " + c.Desc
			switch ran++; {
			case c.Result == nil:
				t.Errorf("%s did not run", name)
			case c.Result.Failed && slices.Contains(except, name):
				failed = append(failed, name)
			case c.Result.Failed, c.Result.Skipped:
				t.Errorf("%s: %v", name, c.Result.Error)
			}
		})
	}
	if !slices.Equal(failed, except) {
		t.Errorf("%q failed, which is right for %q", failed, except)
	}
	if ran != cases {
		t.Errorf("%d cases, want %d", ran, cases)
	}
}

func walk(group *spec.TestGroup, visit func(*spec.TestCase)) {
	for _, c := range append(group.Tests, group.StrictTests...) {
		visit(c)
	}
	for _, below := range group.Groups {
		walk(below, visit)
	}
}

// TestNoPreface: what is neither HTTP/2 nor HTTP/1.1 is refused, and ends the
// connection.
func TestNoPreface(t *testing.T) {
	f := start(t, h2Upstream(t))
	nc, err := net.Dial("tcp", f.Address(t, "clear"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(process.Patience))
	if _, err := io.WriteString(nc, "INVALID CONNECTION PREFACE\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(nc)
	if err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 400 ")) {
		t.Errorf("%q, %v", answer, err)
	}
}

// quietly keeps what f prints to the standard output, where the suite reports.
func quietly(t *testing.T, f func()) {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	before := os.Stdout
	defer func() { os.Stdout = before }()
	os.Stdout = null
	f()
}

// h2Upstream reads each request to its end and answers.
func h2Upstream(t *testing.T) net.Addr {
	ln := listen(t)
	server := &http.Server{
		Protocols: new(http.Protocols),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, "hello")
		}),
	}
	server.Protocols.SetUnencryptedHTTP2(true)
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(ln) })
	t.Cleanup(func() { server.Close(); running.Wait() })
	return ln.Addr()
}
