package conformance

import (
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/weirproxy/weir/test/process"
	"github.com/weirproxy/weir/test/testcert"
)

func TestMain(m *testing.M) { process.Main(m) }

// front is weir with a listener in the clear and one under TLS.
type front struct {
	*process.Process
	roots *x509.CertPool
}

// start runs weir in front of one HTTP/2 upstream in the clear.
func start(t *testing.T, upstream net.Addr) *front {
	t.Helper()
	dir := t.TempDir()
	site, err := testcert.Issue(&x509.Certificate{
		DNSNames: []string{"site.test"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"site.crt": site.CertPEM(), "site.key": site.KeyPEM()} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := &front{roots: x509.NewCertPool()}
	f.roots.AddCert(site.Leaf)
	f.Process = process.Start(t, dir, fmt.Sprintf(`
admin: {address: "unix:%s"}
listeners:
  - {name: clear, address: "127.0.0.1:0"}
  - {name: secure, address: "127.0.0.1:0", tls: {certificates: [{cert: {file: site.crt}, key: {file: site.key}}]}}
clusters:
  - {name: upstream, protocol: h2c, endpoints: [%q]}
routes:
  - {name: all, to: [{cluster: upstream}]}
`, process.AdminSocket(dir), upstream))
	t.Cleanup(func() { f.Stop(t) })
	return f
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}
