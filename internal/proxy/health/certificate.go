package health

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"
)

// expired is a certificate whose time is over.
type expired struct{ at time.Time }

func (e *expired) Error() string {
	return "the certificate of the endpoint expired on " + e.at.UTC().Format("2006-01-02 15:04 MST")
}

// namesExpiry says first what is to be done when a handshake failed because the
// certificate is too old.
func namesExpiry(err error) error {
	var invalid x509.CertificateInvalidError
	if !errors.As(err, &invalid) || invalid.Reason != x509.Expired || invalid.Cert == nil || time.Now().Before(invalid.Cert.NotAfter) {
		return err
	}
	if invalid.Cert.IsCA {
		return fmt.Errorf("a CA of the certificate of the endpoint: %w", err)
	}
	return &expired{invalid.Cert.NotAfter}
}

// checkExpiry looks at the certificate that the endpoint showed, also where the
// handshake does not verify it.
func checkExpiry(nc net.Conn) error {
	conn, ok := nc.(interface{ ConnectionState() tls.ConnectionState })
	if !ok {
		return errors.New("the cluster speaks no TLS: add tls: {} to it, or write type: tcp")
	}
	chain := conn.ConnectionState().PeerCertificates
	if len(chain) == 0 {
		return errors.New("the endpoint showed no certificate")
	}
	if time.Now().After(chain[0].NotAfter) {
		return &expired{chain[0].NotAfter}
	}
	return nil
}
