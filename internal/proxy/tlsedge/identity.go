package tlsedge

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"github.com/weirproxy/weir/internal/pemfile"
	"github.com/weirproxy/weir/stream"
)

// nameError refuses a certificate because of a name in it.
type nameError struct{ name string }

func (e *nameError) Error() string {
	return fmt.Sprintf("the client certificate has a control character in the name %q", e.name)
}

// verifyNames refuses certificates with names made to be read differently by
// two programs (CVE-2025-66220, CVE-2026-47778). It runs on resumption, too.
func verifyNames(cs tls.ConnectionState) error {
	if len(cs.PeerCertificates) == 0 {
		return nil
	}
	leaf := cs.PeerCertificates[0]
	if name, found := pemfile.Unprintable(leaf); found {
		return &nameError{name}
	}
	if subject := leaf.Subject.String(); strings.ContainsFunc(subject, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		return &nameError{subject}
	}
	return nil
}

// identityOf is who a verified certificate names.
func identityOf(leaf *x509.Certificate) *stream.Identity {
	sum := sha256.Sum256(leaf.Raw)
	id := &stream.Identity{
		Subject: leaf.Subject.String(), DNSNames: leaf.DNSNames, Emails: leaf.EmailAddresses,
		SPIFFE: spiffeID(leaf), Fingerprint: hex.EncodeToString(sum[:]), NotAfter: leaf.NotAfter,
	}
	for _, uri := range leaf.URIs {
		id.URIs = append(id.URIs, uri.String())
	}
	for _, ip := range leaf.IPAddresses {
		if addr, ok := netip.AddrFromSlice(ip); ok {
			id.IPs = append(id.IPs, addr.Unmap())
		}
	}
	return id
}

// maxSPIFFE is the longest id that must be supported (SPIFFE-ID section 2.3).
const maxSPIFFE = 2048

// spiffeID is the id of an X.509-SVID, or "". An SVID is no CA and has exactly
// one URI (X509-SVID sections 2 and 4.1); with several, two readers could take
// a different one.
func spiffeID(leaf *x509.Certificate) string {
	if len(leaf.URIs) != 1 || leaf.IsCA || !wellFormedSPIFFE(leaf.URIs[0]) {
		return ""
	}
	return leaf.URIs[0].String()
}

func wellFormedSPIFFE(uri *url.URL) bool {
	text := uri.String()
	if uri.Scheme != "spiffe" || len(text) > maxSPIFFE || uri.ForceQuery || uri.RawQuery != "" ||
		uri.Fragment != "" || uri.User != nil || uri.Opaque != "" {
		return false
	}
	// What follows must be all of the text: no port, no escape, no "#" that the
	// parsed form has forgotten.
	if text != "spiffe://"+uri.Host+uri.Path || !wellFormedTrustDomain(uri.Host) {
		return false
	}
	if uri.Path == "" {
		return true
	}
	for _, segment := range strings.Split(uri.Path[1:], "/") {
		if segment == "" || segment == "." || segment == ".." || !only(segment, true) {
			return false
		}
	}
	return true
}

func wellFormedTrustDomain(host string) bool {
	return host != "" && len(host) <= 255 && only(host, false)
}

// only tells whether text has letters, digits, ".", "-" and "_" only
// (SPIFFE-ID sections 2.1 and 2.2).
func only(text string, upper bool) bool {
	for i := 0; i < len(text); i++ {
		if c := text[i]; !hostByte(c) && (!upper || c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}
