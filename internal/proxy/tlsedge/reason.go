package tlsedge

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/weirproxy/weir/internal/watchdog"
)

// Reason is why a handshake with a client failed: metric label and log field.
type Reason uint8

// The reasons.
const (
	Other Reason = iota
	NoSharedVersion
	NoSharedCipher
	NoSharedProtocol // ALPN
	UnknownName
	NoClientCertificate
	BadClientCertificate
	RefusedByClient // the client sent an alert: mostly, it does not trust the certificate
	Busy            // max_handshakes
	Timeout
	Canceled // the listener ended
	Closed   // the client closed or reset the connection
	NotTLS
	NumReasons
)

var reasonNames = [NumReasons]string{
	"other", "version", "no_shared_cipher", "no_shared_protocol", "unknown_name", "no_client_certificate",
	"bad_client_certificate", "refused_by_client", "busy", "timeout", "canceled", "eof", "not_tls",
}

func (r Reason) String() string { return reasonNames[r] }

// Failure is why a handshake with a client failed.
type Failure struct {
	Reason Reason
	Cause  error // may carry what the client sent, quoted
}

func (f *Failure) Error() string {
	if f.Cause == nil {
		return "tls handshake: " + f.Reason.String()
	}
	return fmt.Sprintf("tls handshake: %s: %v", f.Reason, f.Cause)
}

func (f *Failure) Unwrap() error { return f.Cause }

// reasonOf asks our own facts first, then the types of errors, then, where the
// standard library has no type, their words (a test holds each of them).
func reasonOf(err error, hs *handshake, verdict watchdog.Verdict) Reason {
	switch {
	case hs.unknownName:
		return UnknownName
	case hs.noSlot && verdict != watchdog.Canceled:
		return Busy
	case verdict == watchdog.Canceled:
		return Canceled
	case verdict != watchdog.None, errors.Is(err, os.ErrDeadlineExceeded):
		return Timeout
	}
	var names *nameError
	var verify *tls.CertificateVerificationError
	if errors.As(err, &names) || errors.As(err, &verify) {
		return BadClientCertificate
	}
	var record tls.RecordHeaderError
	if errors.As(err, &record) {
		return NotTLS
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return Closed
	}
	return reasonByWords(err.Error())
}

func reasonByWords(text string) Reason {
	for _, known := range [...]struct {
		words  string
		reason Reason
	}{
		{"remote error: ", RefusedByClient},
		{"client didn't provide a certificate", NoClientCertificate},
		{"failed to parse client certificate", BadClientCertificate},
		{"client sent certificate containing RSA key larger", BadClientCertificate},
		{"by the client certificate", BadClientCertificate},
		{"client certificate used with invalid signature", BadClientCertificate},
		{"client certificate contains an unsupported public key", BadClientCertificate},
		{"offered only unsupported versions", NoSharedVersion},
		{"offered TLS version older", NoSharedVersion},
		{"inappropriate protocol fallback", NoSharedVersion},
		{"no cipher suite supported by both", NoSharedCipher},
		{"no key exchanges supported by both", NoSharedCipher},
		{"no supported elliptic curves", NoSharedCipher},
		{"any of the certificate's signature algorithms", NoSharedCipher},
		{"unsupported application protocols", NoSharedProtocol},
	} {
		if strings.Contains(text, known.words) {
			return known.reason
		}
	}
	return Other
}
