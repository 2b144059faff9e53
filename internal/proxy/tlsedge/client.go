package tlsedge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/pemfile"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

// maxSessions bounds the sessions kept for resumption, some 2 KiB each.
const maxSessions = 64

// ClientStats are the counters of a Client.
type ClientStats struct {
	Done       atomic.Int64
	Resumed    atomic.Int64
	Failed     atomic.Int64
	Unverified atomic.Int64 // handshakes of Done with verification off
}

// Client begins TLS towards the endpoints of one cluster. Sessions live and
// die with it: a change of trust makes a new Client, which resumes nothing of
// the old one.
type Client struct {
	Stats ClientStats

	base       *tls.Config
	roots      *x509.CertPool // nil: of the system
	serverName string         // "" : the host of the endpoint
	sans       []string       // instead of the host, when not empty
	verify     bool
}

// NewClientConfig compiles how a cluster speaks TLS.
func NewClientConfig(spec *config.ClusterTLS, material *snapshot.ClusterTLS) (*Client, error) {
	if material == nil {
		material = &snapshot.ClusterTLS{}
	}
	c := &Client{serverName: spec.ServerName}
	c.base = &tls.Config{
		CipherSuites:       suites12[:],
		ClientSessionCache: tls.NewLRUClientSessionCache(maxSessions),
	}
	var err error
	if c.base.MinVersion, err = minVersion(spec.MinVersion); err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	switch spec.Verify {
	case "", "full":
		c.verify = true
	case "off":
	default:
		return nil, fmt.Errorf("tls: verify %q is neither full nor off", spec.Verify)
	}
	if err := c.trust(spec, material); err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	if material.Cert != nil {
		cert, err := loadPair(material.Cert)
		if err != nil {
			return nil, fmt.Errorf("tls: certificate: %w", err)
		}
		c.base.Certificates = []tls.Certificate{cert}
	} else if spec.Certificate != nil {
		return nil, errors.New("tls: certificate is configured and its content is missing")
	}
	return c, nil
}

func (c *Client) trust(spec *config.ClusterTLS, material *snapshot.ClusterTLS) error {
	if !material.CA.Empty() {
		bundle, err := pemfile.Certificates(material.CA.Reveal())
		if err != nil {
			return fmt.Errorf("ca %w", err)
		}
		c.roots = x509.NewCertPool()
		for _, cert := range bundle {
			c.roots.AddCert(cert)
		}
	} else if spec.CA != nil {
		return errors.New("ca is configured and its content is missing or empty")
	}
	c.base.RootCAs = c.roots
	for _, san := range spec.SANs {
		if !strings.HasPrefix(san, "spiffe://") {
			if san = serverName(san); san == "" {
				return errors.New("sans has an entry that is neither a DNS name nor a spiffe:// URI")
			}
		}
		c.sans = append(c.sans, san)
	}
	switch {
	case !c.verify:
		c.base.InsecureSkipVerify = true
	case len(c.sans) > 0:
		// The standard library can only compare one name, so it is told to skip
		// its check, and verifySANs does all of it: the chain, then the names.
		c.base.InsecureSkipVerify = true
		c.base.VerifyConnection = c.verifySANs
	}
	return nil
}

// Verifies tells whether endpoints must prove who they are. When they need
// not, the engine warns.
func (c *Client) Verifies() bool { return c.verify }

// Anew is a client with the same trust that resumes nothing: each of its
// handshakes shows the certificate that the endpoint has now.
func (c *Client) Anew() *Client {
	anew := &Client{base: c.base.Clone(), roots: c.roots, serverName: c.serverName, sans: c.sans, verify: c.verify}
	anew.base.ClientSessionCache = nil
	return anew
}

// Handshake begins TLS on nc, a new connection to the endpoint whose host is
// written as host (a name, an address, or the path of a Unix socket). protos
// are offered by ALPN, the preferred first; without any there is no ALPN, and
// agreed is "". ctx bounds it. An error is a *stream.Fault, and nc is closed.
func (c *Client) Handshake(ctx context.Context, nc net.Conn, host string, protos ...string) (_ net.Conn, agreed string, err error) {
	name := c.serverName
	if name == "" {
		name = hostName(host)
	}
	cfg := c.base.Clone()
	cfg.ServerName, cfg.NextProtos = name, protos
	if name == "" && !cfg.InsecureSkipVerify {
		nc.Close()
		c.Stats.Failed.Add(1)
		return nil, "", stream.Faultf(stream.TLSFailed, stream.RetryUnsent,
			"no name to verify the endpoint %q by; set tls.server_name or tls.sans of the cluster", host)
	}
	tc := tls.Client(nc, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		nc.Close()
		c.Stats.Failed.Add(1)
		return nil, "", c.fault(ctx, err, name)
	}
	c.Stats.Done.Add(1)
	state := tc.ConnectionState()
	if state.DidResume {
		c.Stats.Resumed.Add(1)
	}
	if !c.verify {
		c.Stats.Unverified.Add(1)
	}
	return tc, state.NegotiatedProtocol, nil
}

// hostName is what can stand in a certificate for a host: the name, or the
// address without brackets and zone.
func hostName(host string) string {
	bare := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if addr, err := netip.ParseAddr(bare); err == nil {
		return addr.WithZone("").String()
	}
	return serverName(host)
}

// errSANs is a certificate that verified and is for someone else.
type errSANs struct {
	want []string
	leaf *x509.Certificate
}

func (e *errSANs) Error() string {
	return fmt.Sprintf("the certificate is for %s and for none of tls.sans %q; set tls.sans of the cluster to what its endpoints are", names(e.leaf), e.want)
}

// verifySANs verifies the chain as the standard library does, then looks for
// one of the names. It runs on resumption, too.
func (c *Client) verifySANs(cs tls.ConnectionState) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("the endpoint showed no certificate")
	}
	leaf := cs.PeerCertificates[0]
	options := x509.VerifyOptions{Roots: c.roots, Intermediates: x509.NewCertPool()}
	for _, cert := range cs.PeerCertificates[1:] {
		options.Intermediates.AddCert(cert)
	}
	if _, err := leaf.Verify(options); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates, Err: err}
	}
	if name, found := pemfile.Unprintable(leaf); found {
		return fmt.Errorf("the certificate has a control character in the name %q", name)
	}
	id := spiffeID(leaf)
	if slices.ContainsFunc(c.sans, func(san string) bool {
		if strings.HasPrefix(san, "spiffe://") {
			return san == id
		}
		return leaf.VerifyHostname(san) == nil
	}) {
		return nil
	}
	return &errSANs{want: c.sans, leaf: leaf}
}
