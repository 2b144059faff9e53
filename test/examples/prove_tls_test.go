package examples

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func setupTLS(*testing.T) map[string]string {
	return map[string]string{public: anywhere, "127.0.0.1:8443": anywhere}
}

func proveTLS(t *testing.T, x *running) {
	for host, cert := range map[string]string{"shop.test": "site", "a.tenants.test": "wildcard"} {
		a := x.ask(call{listener: "secure", path: "/", host: host})
		x.want(host, a, 200)
		x.equal(host, a.cert, cert)
	}
	if _, err := x.try(call{listener: "secure", path: "/", host: "other.test"}); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
		t.Errorf("a name without a certificate: %v, want a refusal", err)
	}
	a := x.ask(call{listener: "web", path: "/cart?a=1", host: "shop.test"})
	x.want("http", a, 308)
	x.equal("http", a.header.Get("Location"), "https://shop.test:8443/cart?a=1")
	proveRotation(t, x)
}

func proveRotation(t *testing.T, x *running) {
	next, err := newPair("site-2", "DNS:shop.test", nil)
	if err != nil {
		t.Fatal(err)
	}
	x.roots.AddCert(next.Leaf)
	for file, content := range map[string][]byte{"site.crt": next.CertPEM(), "site.key": next.KeyPEM()} {
		if err := os.WriteFile(filepath.Join(x.dir, "certs", file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	x.reload(t)
	x.equal("after the rotation", x.ask(call{listener: "secure", path: "/", host: "shop.test"}).cert, "site-2")
	if err := os.WriteFile(filepath.Join(x.dir, "certs", "site.crt"), []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	x.reload(t)
	x.equal("after a broken one", x.ask(call{listener: "secure", path: "/", host: "shop.test"}).cert, "site-2")
}

func setupMTLS(t *testing.T) map[string]string {
	return map[string]string{
		"127.0.0.1:8443": anywhere, "127.0.0.1:9443": serveTLS(t, echo("api"), "api", "services-ca"),
	}
}

func proveMTLS(t *testing.T, x *running) {
	ask := call{listener: "secure", host: "shop.test", path: "/"}
	a := x.ask(ask)
	x.want("without a certificate", a, 200)
	x.equal("Weir's certificate", saw(t, a).ClientID, "spiffe://example.test/service/edge")
	ask.path = "/admin"
	x.want("admin without a certificate", x.ask(ask), 421)
	ask.cert = pki(t).tls("alice")
	x.want("admin with a certificate", x.ask(ask), 200)
	ask.cert = pki(t).tls("edge")
	if _, err := x.try(ask); err == nil {
		t.Error("a certificate of another authority was let in")
	}
	x.stop()
	if log := x.stdout.String(); !strings.Contains(log, `"identity":"spiffe://example.test/user/alice"`) {
		t.Errorf("the access log does not name alice:\n%s", log)
	}
}

func TestMTLSOtherIdentity(t *testing.T) {
	content, err := os.ReadFile("../../examples/mtls.yaml")
	if err != nil {
		t.Fatal(err)
	}
	x := start(t, relocate(t, string(content), map[string]string{
		"127.0.0.1:8443": anywhere, "127.0.0.1:9443": serveTLS(t, echo("other"), "other", "services-ca"),
	}))
	a := x.ask(call{listener: "secure", host: "shop.test", path: "/"})
	x.want("another id", a, 502)
	x.equal("another id", a.header.Get("Proxy-Status"), `weir; error=tls_protocol_error; details="tls_failed"`)
}

func setupHTTPSUpstream(t *testing.T) map[string]string {
	return map[string]string{public: anywhere, "127.0.0.1:9443": serveTLS(t, echo("api"), "api", "")}
}

func proveHTTPSUpstream(t *testing.T, x *running) {
	a := x.get("/")
	x.want("verified", a, 200)
	x.equal("SNI", saw(t, a).ServerName, "api.internal.test")
	a = x.get("/wrong")
	x.want("another name", a, 502)
	x.stop()
	if log := x.stdout.String(); !strings.Contains(log, `"fault":"tls_failed"`) {
		t.Errorf("the access log does not say why:\n%s", log)
	}
}
