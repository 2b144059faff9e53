package pemfile

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"strings"
)

// Bounds of RSA keys: below, the key can be factored; above, one handshake
// costs so much that clients can stop the machine with them (CVE-2023-29409).
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// Weakness says why the key or the signature of a certificate must not be
// used, or "". The signature of a self-signed certificate is not looked at: it
// proves nothing.
func Weakness(cert *x509.Certificate) string {
	switch key := cert.PublicKey.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSABits {
			return fmt.Sprintf("its RSA key has %d bits, fewer than %d", bits, minRSABits)
		} else if bits > maxRSABits {
			return fmt.Sprintf("its RSA key has %d bits, more than %d", bits, maxRSABits)
		}
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P224() {
			return "its ECDSA key is on the curve P-224"
		}
	case ed25519.PublicKey:
	default:
		return "its key is neither RSA, ECDSA nor Ed25519"
	}
	if selfSigned(cert) {
		return ""
	}
	switch cert.SignatureAlgorithm {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		return "it is signed with " + cert.SignatureAlgorithm.String()
	}
	return ""
}

func selfSigned(cert *x509.Certificate) bool {
	return string(cert.RawIssuer) == string(cert.RawSubject)
}

// Names are the DNS names and wildcards that a leaf covers, lower case,
// without those that no name can match (a wildcard that is not the whole
// first label), which come back in odd.
func Names(leaf *x509.Certificate) (names, odd []string) {
	for _, name := range leaf.DNSNames {
		lower := strings.TrimSuffix(strings.ToLower(name), ".")
		if strings.Contains(strings.TrimPrefix(lower, "*."), "*") {
			odd = append(odd, name)
			continue
		}
		names = append(names, lower)
	}
	return names, odd
}

// Unprintable is the first name of the certificate with a NUL or another
// control byte in it, and whether there is one. Such names are made to be read
// differently by two programs.
func Unprintable(cert *x509.Certificate) (name string, found bool) {
	candidates := append([]string{cert.Subject.CommonName}, cert.DNSNames...)
	candidates = append(candidates, cert.EmailAddresses...)
	for _, uri := range cert.URIs {
		candidates = append(candidates, uri.String())
	}
	for _, name := range candidates {
		if strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
			return name, true
		}
	}
	return "", false
}

// BrokenAt is the place of the first certificate of a chain that the next one
// did not sign, or -1.
func BrokenAt(chain []*x509.Certificate) int {
	for i := 0; i+1 < len(chain); i++ {
		if string(chain[i].RawIssuer) != string(chain[i+1].RawSubject) {
			return i
		}
	}
	return -1
}
