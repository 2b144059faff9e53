// Package examples proves the documents that people read: every file of
// examples/ is run by the weir binary in front of real upstreams and shown to
// do what its comment promises, and every whole document in the Markdown files
// passes weir check.
//
// The fixed addresses of a document are replaced by free ones, by their text:
// listeners get port 0 (weir says which port that became), upstreams where the
// test serves them.
package examples

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	quichttp3 "github.com/quic-go/quic-go/http3"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/weirproxy/weir"
	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/filters/all"
)

// TestMain makes the test binary be weir when it is started under that name.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"weir": func() { os.Exit(weir.Main("v0-examples", all.Definitions()...)) },
	})
}

// patience bounds every wait: a hang is a failure of one test.
const patience = 20 * time.Second

// running is a weir that serves a document.
type running struct {
	t     *testing.T
	dir   string // what the document was written to, with certs/
	cmd   *exec.Cmd
	addrs map[string]string // by listener, as weir says
	roots *x509.CertPool    // of the certificates that listeners show

	ended  chan struct{} // closed when the output has ended
	stdout lockedBuffer  // the access log, unless it goes elsewhere
	stderr lockedBuffer
}

// address finds host:port of loopback in a document.
var address = regexp.MustCompile(`127\.0\.0\.1:\d+`)

// relocate puts free addresses in the place of the fixed ones. Each has to be
// named: an address that nobody replaced would be a fixed port.
func relocate(t *testing.T, document string, replace map[string]string) string {
	t.Helper()
	for from, to := range replace {
		if !strings.Contains(document, from) {
			t.Errorf("the document does not have %q", from)
		}
		document = strings.ReplaceAll(document, from, to)
	}
	for _, line := range strings.Split(document, "\n") {
		text, _, _ := strings.Cut(line, "#")
		for _, found := range address.FindAllString(text, -1) {
			if !contains(replace, found) {
				t.Errorf("%s is a fixed address: %s", found, line)
			}
		}
	}
	return document
}

func contains(replace map[string]string, address string) bool {
	for _, to := range replace {
		if strings.Contains(to, address) {
			return true
		}
	}
	return false
}

// start runs weir with the document, which lies in a folder with every
// certificate of the examples, and waits until every listener serves.
func start(t *testing.T, document string) *running {
	t.Helper()
	dir := folder(t)
	if !strings.Contains(document, "\nadmin:") {
		document = "admin: {address: \"unix:" + dir + "/admin.sock\"}\n" + document
	}
	file := filepath.Join(dir, "weir.yaml")
	if err := os.WriteFile(file, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	parsed, problems := config.Parse(file, []byte(document))
	if problems.Errors() > 0 {
		t.Fatalf("%v\n%s", problems, document)
	}
	x := &running{t: t, dir: dir, addrs: map[string]string{}, roots: pki(t).pool("site", "wildcard"), ended: make(chan struct{})}
	x.cmd = exec.Command("weir", "run", file)
	x.cmd.Stdout = &x.stdout
	stderr, err := x.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.stop)
	serving := make(chan [2]string)
	go x.listen(stderr, serving)
	late := time.After(patience)
	for len(x.addrs) < len(parsed.Listeners) {
		select {
		case found := <-serving:
			x.addrs[found[0]] = found[1]
		case <-x.ended:
			t.Fatalf("weir did not start:\n%s\n%s", x.stderr.String(), document)
		case <-late:
			t.Fatalf("weir serves %v only:\n%s", x.addrs, x.stderr.String())
		}
	}
	return x
}

var servingLine = regexp.MustCompile(`msg=serving listener=(\S+) address=(\S+)`)

// listen keeps what weir says and passes on where it serves.
func (x *running) listen(stderr io.Reader, serving chan<- [2]string) {
	defer close(x.ended)
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		_, _ = x.stderr.Write(append(lines.Bytes(), '\n'))
		if m := servingLine.FindStringSubmatch(lines.Text()); m != nil {
			select {
			case serving <- [2]string{m[1], strings.Trim(m[2], `"`)}:
			case <-time.After(patience):
			}
		}
	}
}

// stop ends weir in good order, once.
func (x *running) stop() {
	if x.cmd.ProcessState != nil {
		return
	}
	_ = x.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-x.ended:
	case <-time.After(patience):
		x.t.Errorf("weir did not end after TERM")
		_ = x.cmd.Process.Kill()
	}
	if err := x.cmd.Wait(); err != nil {
		x.t.Errorf("weir: %v\n%s", err, x.stderr.String())
	}
	if x.t.Failed() {
		x.t.Logf("weir said:\n%s%s", x.stdout.String(), x.stderr.String())
	}
}

// document is what weir runs.
func (x *running) document(t *testing.T) string {
	t.Helper()
	return read(t, filepath.Join(x.dir, "weir.yaml"))
}

// reload has the documents read again and returns when that is over.
func (x *running) reload(t *testing.T) {
	t.Helper()
	x.addrs["admin"] = filepath.Join(x.dir, "admin.sock")
	x.ask(call{listener: "admin", method: "POST", path: "/reload", header: map[string]string{"Content-Type": "application/json"}})
}

// answer is a response whose body was read.
type answer struct {
	status int
	proto  string // HTTP/1.1, HTTP/2.0 or HTTP/3.0
	header http.Header
	body   string
	cert   string // common name of the certificate that the listener showed
}

// call is one request.
type call struct {
	listener string // "" for public
	proto    string // h2c, h2 or h3; "": HTTP/1.1
	tls      bool   // on TLS; on the listener secure it always is
	method   string
	path     string
	host     string
	header   map[string]string
	cert     *tls.Certificate // shown to the listener
	body     string
}

// ask sends a request on a connection of its own and fails the test if there
// is no response.
func (x *running) ask(c call) answer {
	x.t.Helper()
	a, err := x.try(c)
	if err != nil {
		x.t.Fatalf("%s %s: %v", c.method, c.path, err)
	}
	return a
}

func (x *running) try(c call) (answer, error) {
	if c.listener == "" {
		c.listener = "public"
	}
	if c.host == "" {
		c.host = "localhost"
	}
	scheme := "http"
	if c.tls = c.tls || c.listener == "secure"; c.tls {
		scheme = "https"
	}
	transport, done := x.transport(c)
	defer done()
	req, err := http.NewRequest(c.method, scheme+"://"+c.host+c.path, strings.NewReader(c.body))
	if err != nil {
		return answer{}, err
	}
	for name, value := range c.header {
		req.Header.Set(name, value)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	resp, err := transport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{status: resp.StatusCode, proto: resp.Proto, header: resp.Header, body: string(body)}
	if resp.TLS != nil {
		a.cert = resp.TLS.PeerCertificates[0].Subject.CommonName
	}
	return a, nil
}

// transport is a client of its own for one call.
func (x *running) transport(c call) (_ http.RoundTripper, done func()) {
	to := x.addrs[c.listener]
	secure := &tls.Config{RootCAs: x.roots, ServerName: strings.Split(c.host, ":")[0]}
	if c.cert != nil {
		// Not Certificates: those are shown only if the listener names their authority.
		secure.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.cert, nil }
	}
	if c.proto == "h3" {
		t := http3Transport(to, secure)
		return t, func() { t.Close() }
	}
	t := &http.Transport{DisableKeepAlives: c.proto == "", DisableCompression: true, TLSClientConfig: secure, Protocols: new(http.Protocols)}
	t.Protocols.SetHTTP1(c.proto == "")
	t.Protocols.SetHTTP2(c.proto == "h2")
	t.Protocols.SetUnencryptedHTTP2(c.proto == "h2c")
	t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		network := "tcp"
		if strings.HasPrefix(to, "/") {
			network = "unix"
		}
		return new(net.Dialer).DialContext(ctx, network, to)
	}
	return t, t.CloseIdleConnections
}

// http3Transport speaks HTTP/3 to that address, whatever the URL says.
func http3Transport(to string, secure *tls.Config) *quichttp3.Transport {
	return &quichttp3.Transport{TLSClientConfig: secure, DisableCompression: true, Dial: func(ctx context.Context, _ string, cfg *tls.Config, qc *quic.Config) (*quic.Conn, error) {
		return quic.DialAddrEarly(ctx, to, cfg, qc)
	}}
}

// get is ask for a path on the listener "public".
func (x *running) get(path string, header ...string) answer {
	x.t.Helper()
	c := call{path: path, header: map[string]string{}}
	for i := 0; i+1 < len(header); i += 2 {
		c.header[header[i]] = header[i+1]
	}
	return x.ask(c)
}

// want fails the test unless the answer has the status.
func (x *running) want(what string, a answer, status int) {
	x.t.Helper()
	if a.status != status {
		x.t.Errorf("%s: status %d, want %d\n%v\n%s", what, a.status, status, a.header, a.body)
	}
}

// equal fails the test unless got is want.
func (x *running) equal(what, got, want string) {
	x.t.Helper()
	if got != want {
		x.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

type lockedBuffer struct {
	mu   sync.Mutex
	b    bytes.Buffer
	more chan struct{} // closed by the next Write; nil when nobody waits
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.more != nil {
		close(b.more)
		b.more = nil
	}
	return b.b.Write(p)
}

// await returns when text has been written; false: not within patience.
func (b *lockedBuffer) await(text string) bool {
	late := time.After(patience)
	for {
		b.mu.Lock()
		if strings.Contains(b.b.String(), text) {
			b.mu.Unlock()
			return true
		}
		if b.more == nil {
			b.more = make(chan struct{})
		}
		more := b.more
		b.mu.Unlock()
		select {
		case <-more:
		case <-late:
			return false
		}
	}
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
