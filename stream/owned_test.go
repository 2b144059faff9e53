package stream

import (
	"strings"
	"testing"
)

func TestOwner(t *testing.T) {
	for _, c := range []struct {
		name string
		want Ownership
	}{
		{"X-Forwarded-For", OwnedWritten},
		{"x-forwarded-host", OwnedWritten},
		{"X-FORWARDED-PROTO", OwnedWritten},
		{"X-Forwarded-Port", OwnedWritten},
		{"X-Real-IP", OwnedWritten},
		{"X-Request-Id", OwnedWritten},
		{"Forwarded", OwnedWritten},
		{"X-Forwarded", OwnedVouched},
		{"X-Forwarded-Prefix", OwnedVouched},
		{"X-Forwarded-Uri", OwnedVouched}, // oauth2-proxy CVE-2026-40575
		{"X-Forwarded-Server", OwnedVouched},
		{"X-Original-URL", OwnedVouched},
		{"X-Original-Forwarded-For", OwnedVouched},
		{"True-Client-IP", OwnedVouched}, // chi GO-2026-5774
		{"CF-Connecting-IP", OwnedVouched},
		{"WL-Proxy-Client-IP", OwnedVouched},
		{"X-Url-Scheme", OwnedVouched},
		{"X-Host", OwnedVouched},
		{"x-envoy-original-path", OwnedVouched}, // Envoy CVE-2024-45806
		{"X-Remote-User", OwnedVouched},
		{"X-Remote-Extra-Scopes", OwnedVouched},
		{"Remote-User", OwnedVouched},
		{"X-WEBAUTH-USER", OwnedVouched},
		{"X-Auth-Request-Email", OwnedVouched}, // Caddy CVE-2026-30851
		{"X-Amzn-Mtls-Clientcert-Leaf", OwnedVouched},
		{"X-SSL-Cert", OwnedReserved},
		{"X-Forwarded-Client-Cert", OwnedReserved},
		{"X-Client-Cert", OwnedReserved},
		{"X-Client-Cert-Subject", OwnedReserved},
		{"Client-Cert-Chain", OwnedReserved},
		{"SSL-Client-Verify", OwnedReserved},
		{"X-Weir-Anything", OwnedReserved},
		{"Proxy", OwnedReserved}, // CVE-2016-5385

		{"X_Forwarded_For", OwnedReserved},
		{"x-forwarded_for", OwnedReserved},
		{"X.Forwarded.For", OwnedReserved},
		{"X_Forwarded_Prefix", OwnedReserved},
		{"X_Real_IP", OwnedReserved},
		{"REMOTE_USER", OwnedReserved},
		{"X_Remote_User", OwnedReserved},
		{"X_Request_Id", OwnedReserved},
		{"SSL_CLIENT_CERT", OwnedReserved},
		{"X_WEIR_x", OwnedReserved},
		{"Content_Length", OwnedReserved},
		{"Transfer_Encoding", OwnedReserved},

		{"", NotOwned},
		{"x", NotOwned},
		{"X-", NotOwned},
		{"Host", NotOwned},
		{"Via", NotOwned},
		{"Authorization", NotOwned},
		{"X-Real-IPs", NotOwned},
		{"X-Team", NotOwned},
		{"X_Team", NotOwned},
		{"Client-ID", NotOwned},
		{"Remote-Users", NotOwned},
		{"X-Hosts", NotOwned},
		{"X-Requested-With", NotOwned},
		{"Proxy-Authorization", NotOwned},
		{"X-Request-Identity", NotOwned},
	} {
		field := Field{Name: c.name, ID: Lookup(c.name)}
		if got := Owner(&field); got != c.want {
			t.Errorf("Owner(%q) = %d, want %d", c.name, got, c.want)
		}
		if got := Owned(c.name); got != (c.want != NotOwned) {
			t.Errorf("Owned(%q) = %v", c.name, got)
		}
	}
}

// Whatever byte a name has for its "-", an upstream may fold it: no spelling
// of an owned name may be free.
func TestOwnedInEverySpelling(t *testing.T) {
	names := []string{"X-Forwarded-For", "X-Real-IP", "X-Request-Id", "X-Forwarded-Client-Cert", "X-Weir-Route"}
	for _, name := range names {
		for _, dash := range "-_.!#$%&'*+^`|~" {
			for _, spelled := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
				if s := strings.ReplaceAll(spelled, "-", string(dash)); !Owned(s) {
					t.Errorf("%q is not owned", s)
				}
			}
		}
	}
}

func BenchmarkOwner(b *testing.B) {
	var fields []Field
	for _, name := range []string{
		"Host", "User-Agent", "Accept", "Accept-Encoding", "Cookie", "Sec-Fetch-Mode",
		"X-Tenant", "sec-ch-ua-platform", "X-Forwarded-Prefix", "Referer",
	} {
		fields = append(fields, Field{Name: name, ID: Lookup(name)})
	}
	b.ReportAllocs()
	for b.Loop() {
		for i := range fields {
			Owner(&fields[i])
		}
	}
}
