package tlsedge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/weirproxy/weir/stream"
)

// fault says why the handshake with an endpoint failed, and what to do. No
// byte of a request has been sent yet, so any request may try again.
func (c *Client) fault(ctx context.Context, err error, name string) error {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return &stream.Fault{Kind: stream.ClientGone, Retry: stream.RetryNever, Cause: context.Cause(ctx)}
	case ctx.Err() != nil, errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return stream.Faultf(stream.ConnectTimeout, stream.RetryUnsent,
			"the TLS handshake with %q was not over in time; see connect_timeout", name)
	}
	return &stream.Fault{Kind: stream.TLSFailed, Retry: stream.RetryUnsent, Cause: &advised{advice: c.advice(err, name), cause: err}}
}

// advised puts advice in front of what went wrong.
type advised struct {
	advice string
	cause  error
}

func (a *advised) Error() string {
	if a.advice == "" {
		return fmt.Sprintf("TLS handshake: %v", a.cause)
	}
	return a.advice
}

func (a *advised) Unwrap() error { return a.cause }

// advice names the setting of the cluster that fits the error; "" when there
// is none.
func (c *Client) advice(err error, name string) string {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &unknown):
		return c.unknownAuthority(unknown.Cert)
	case errors.As(err, &host):
		return fmt.Sprintf("the certificate of the endpoint is for %s, not for %q; set tls.server_name or tls.sans of the cluster",
			names(host.Certificate), name)
	case errors.As(err, &invalid):
		return invalidAdvice(&invalid)
	case errors.As(err, &record):
		return "the endpoint does not speak TLS on that port; use its TLS port, or take tls out of the cluster"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fmt.Sprintf("the endpoint closed the connection during the TLS handshake (server name %q)", name)
	}
	return alertAdvice(err, name)
}

func (c *Client) unknownAuthority(cert *x509.Certificate) string {
	from, issuer := "of the system", "unknown"
	if c.roots != nil {
		from = "in tls.ca"
	}
	if cert != nil {
		issuer = short(cert.Issuer.String())
	}
	return fmt.Sprintf("the certificate of the endpoint is signed by %q, which is not among the authorities %s; "+
		"set tls.ca of the cluster to the bundle with that authority (or let the endpoint send its intermediate certificates)", issuer, from)
}

func invalidAdvice(invalid *x509.CertificateInvalidError) string {
	cert := invalid.Cert
	if invalid.Reason != x509.Expired || cert == nil {
		return fmt.Sprintf("the certificate of the endpoint is not valid: %s; make a new one", short(invalid.Error()))
	}
	if now := time.Now(); now.Before(cert.NotBefore) {
		return fmt.Sprintf("the certificate of the endpoint (%s) is not valid before %s and the clock here says %s; check both clocks",
			names(cert), cert.NotBefore.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("the certificate of the endpoint (%s) expired at %s; renew it there",
		names(cert), cert.NotAfter.UTC().Format(time.RFC3339))
}

// alertAdvice reads the alerts that an endpoint sends. They have no type of
// their own in the standard library; a test holds the words.
func alertAdvice(err error, name string) string {
	var remote *net.OpError
	if !errors.As(err, &remote) || remote.Op != "remote error" {
		return ""
	}
	alert := remote.Err.Error()
	for _, known := range [...]struct{ words, advice string }{
		{"certificate required", "the endpoint wants a client certificate; set tls.certificate of the cluster"},
		{"bad certificate", "the endpoint refused the client certificate (or wants one); check tls.certificate of the cluster"},
		{"unknown certificate", "the endpoint does not know the authority of the client certificate; check tls.certificate of the cluster"},
		{"expired certificate", "the client certificate has expired; renew tls.certificate of the cluster"},
		{"protocol version", "the endpoint speaks no TLS version that is allowed here; see tls.min_version of the cluster"},
		{"handshake failure", "the endpoint wants a client certificate (set tls.certificate of the cluster), or shares no cipher suite with us"},
		{"no application protocol", "the endpoint does not offer http/1.1 by ALPN"},
		{"unrecognized name", fmt.Sprintf("the endpoint does not know the server name %q; set tls.server_name of the cluster", name)},
	} {
		if strings.Contains(alert, known.words) {
			return known.advice + " (alert: " + alert + ")"
		}
	}
	return ""
}

// names lists what a certificate is for, quoted and bounded: it is what a peer
// sent.
func names(cert *x509.Certificate) string {
	if cert == nil {
		return "nobody"
	}
	list := append([]string(nil), cert.DNSNames...)
	for _, ip := range cert.IPAddresses {
		list = append(list, ip.String())
	}
	for _, uri := range cert.URIs {
		list = append(list, uri.String())
	}
	if len(list) == 0 {
		return fmt.Sprintf("the subject %q without any subject alternative name", short(cert.Subject.String()))
	}
	more := ""
	if len(list) > 5 {
		more = fmt.Sprintf(" and %d more", len(list)-5)
		list = list[:5]
	}
	for i := range list {
		list[i] = fmt.Sprintf("%q", short(list[i]))
	}
	return strings.Join(list, ", ") + more
}

func short(text string) string {
	if len(text) > 200 {
		return text[:200] + "..."
	}
	return text
}
