package databases

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirproxy/weir/internal/postgrestest"
	"github.com/weirproxy/weir/internal/redis/redistest"
	"github.com/weirproxy/weir/test/process"
	"github.com/weirproxy/weir/test/testcert"
)

func TestMain(m *testing.M) { process.Main(m) }

// files are certificates by the name of their file.
type files struct {
	dir   string
	pairs map[string]*testcert.Pair
}

// issue makes NAME.crt and NAME.key, signed by issuer ("": an authority).
func (f *files) issue(t *testing.T, name, issuer string, names ...string) {
	t.Helper()
	pair, err := testcert.Issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: names, IsCA: issuer == "", BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, f.pairs[issuer])
	if err != nil {
		t.Fatal(err)
	}
	f.pairs[name] = pair
	for file, content := range map[string][]byte{name + ".crt": pair.CertPEM(), name + ".key": pair.KeyPEM()} {
		if err := os.WriteFile(filepath.Join(f.dir, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func (f *files) path(name string) string { return filepath.Join(f.dir, name) }

func newFiles(t *testing.T) *files {
	dir, err := os.MkdirTemp("", "weir") // short: the name of a socket is bounded
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	f := &files{dir: dir, pairs: map[string]*testcert.Pair{}}
	f.issue(t, "ca", "")
	f.issue(t, "stranger", "")
	f.issue(t, "server", "ca", "db.test")
	f.issue(t, "client", "ca")
	f.issue(t, "nobody", "stranger")
	return f
}

// asked is a cluster and what its check finds: why it is unfit, or "" for fit.
type asked struct{ name, tls, want string }

const trusted = "ca: {file: ca.crt}, server_name: db.test"

// shows is the setting with which a client shows a certificate.
func shows(name string) string {
	return fmt.Sprintf(", certificate: {cert: {file: %s.crt}, key: {file: %s.key}}", name, name)
}

// run runs weir with a cluster for each case.
func run(t *testing.T, f *files, address, health string, cases []asked) *process.Process {
	t.Helper()
	document := fmt.Sprintf("admin: {address: \"unix:%s\"}\nlisteners: [{name: front, protocol: tcp, address: \"127.0.0.1:0\"}]\n"+
		"routes: [{name: all, protocol: tcp, to: [{cluster: %s}]}]\nclusters:\n", process.AdminSocket(f.dir), cases[0].name)
	for _, c := range cases {
		document += fmt.Sprintf("  - {name: %s, endpoints: [%q], tls: {%s}, health: {%s, interval: 100ms, timeout: 20s, healthy: 1, unhealthy: 1}}\n",
			c.name, address, c.tls, health)
	}
	return process.Start(t, f.dir, document)
}

// prove asks a server in all cases. Those who find it fit ask before it runs, too,
// so that to be fit is a change that weir speaks of.
func prove(t *testing.T, f *files, address, health string, start func() (stop func()), cases []asked) {
	t.Helper()
	var good, bad []asked
	for _, c := range cases {
		if c.want == "" {
			good = append(good, c)
		} else {
			bad = append(bad, c)
		}
	}
	p := run(t, f, address, health, good)
	for _, c := range good {
		p.Said(t, "cluster="+c.name+" endpoint="+address+" health=unfit")
	}
	stop := start()
	defer stop()
	for _, c := range good {
		p.Said(t, "cluster="+c.name+" endpoint="+address+" health=fit")
	}
	p.Stop(t)
	p = run(t, f, address, health, bad)
	for _, c := range bad {
		if got := p.Said(t, "cluster="+c.name+" endpoint="+address+" health=unfit"); !strings.Contains(got, c.want) {
			t.Errorf("%s: %s, want the reason %q", c.name, got, c.want)
		}
	}
	p.Stop(t)
}

// cases are those that both have.
var cases = []asked{
	{"trusted", trusted, ""},
	{"known", trusted + shows("client"), ""},
	{"unverified", "verify: off" + shows("client"), ""},
	{"mistrusted", "ca: {file: stranger.crt}, server_name: db.test", "is not among the authorities in tls.ca"},
	{"misnamed", "ca: {file: ca.crt}", "127.0.0.1"},
}

func TestPostgres(t *testing.T) {
	f, server := newFiles(t), postgrestest.New(t)
	server.Write("data/pg_hba.conf", "hostssl all all 127.0.0.1/32 scram-sha-256\nlocal all all scram-sha-256\n")
	settings := []string{"ssl=on"}
	for setting, name := range map[string]string{"ssl_cert_file": "server.crt", "ssl_key_file": "server.key", "ssl_ca_file": "ca.crt"} {
		content, err := os.ReadFile(f.path(name))
		if err != nil {
			t.Fatal(err)
		}
		settings = append(settings, setting+"="+server.Write(name, string(content)))
	}
	address, port := free(t)
	const ready = "database system is ready to accept connections"
	prove(t, f, address, "type: postgres", func() func() {
		return server.Start(ready, append(settings, "listen_addresses=127.0.0.1", "port="+port)...)
	}, cases)
	address, port = free(t)
	defer server.Start(ready, "listen_addresses=127.0.0.1", "port="+port)()
	p := run(t, f, address, "type: postgres", cases[:1])
	if got := p.Said(t, "cluster=trusted endpoint="+address+" health=unfit"); !strings.Contains(got, "does not speak TLS") {
		t.Errorf("a server without TLS: %s", got)
	}
	p.Stop(t)
}

func TestRedis(t *testing.T) {
	f := newFiles(t)
	if err := os.WriteFile(f.path("password"), []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	server := redistest.NewTLS(t, f.path("server.crt"), f.path("server.key"), f.path("ca.crt"), true, "--requirepass", "s3cret")
	// It wants a certificate of everybody. (PostgreSQL says whose it takes, and gets
	// none from others; what that means is a matter of each login.)
	demanding := []asked{{"unknown", trusted + shows("nobody"), "unknown certificate authority"}}
	for _, c := range cases {
		if c.name == "trusted" {
			c.want = "certificate required"
		}
		demanding = append(demanding, c)
	}
	prove(t, f, server.Address(), "type: redis, password: {file: password}", func() func() {
		server.Start()
		return server.Kill
	}, demanding)

	plain := redistest.NewTCP(t)
	plain.Start()
	p := run(t, f, plain.Address(), "type: redis", cases[:1])
	if got := p.Said(t, "cluster=trusted endpoint="+plain.Address()+" health=unfit"); !strings.Contains(got, "the TLS handshake") {
		t.Errorf("a server without TLS: %s", got)
	}
	p.Stop(t)
}

// free is an address of the loopback network that was free a moment ago.
func free(t *testing.T) (address, port string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, err = net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return ln.Addr().String(), port
}
