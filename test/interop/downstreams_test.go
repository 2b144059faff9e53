package interop

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"testing"

	"github.com/quic-go/quic-go"
	quichttp3 "github.com/quic-go/quic-go/http3"
)

// downstream is a kind of client.
type downstream struct {
	name     string
	listener string
	tls      bool
	version  string
}

var downstreams = []downstream{
	{name: "h1", listener: "clear", version: "HTTP/1.1"},
	{name: "h1-tls", listener: "secure", tls: true, version: "HTTP/1.1"},
	{name: "h2c", listener: "clear", version: "HTTP/2.0"},
	{name: "h2-tls", listener: "secure", tls: true, version: "HTTP/2.0"},
	{name: "h3", listener: "secure", tls: true, version: "HTTP/3.0"},
}

func (d downstream) url(path string) string {
	if d.tls {
		return "https://site.test" + path
	}
	return "http://site.test" + path
}

// client is a new client of the kind, without connections, for the listener at
// address.
func (d downstream) client(t testing.TB, c *trust, address string) http.RoundTripper {
	t.Helper()
	if d.version == "HTTP/3.0" {
		transport := &quichttp3.Transport{
			TLSClientConfig: c.client(), DisableCompression: true,
			Dial: func(ctx context.Context, _ string, config *tls.Config, quicConfig *quic.Config) (*quic.Conn, error) {
				return quic.DialAddr(ctx, address, config, quicConfig)
			},
		}
		t.Cleanup(func() { transport.Close() })
		return transport
	}
	transport := &http.Transport{
		TLSClientConfig: c.client(), DisableCompression: true, Protocols: new(http.Protocols),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		},
	}
	switch {
	case d.name == "h2c":
		transport.Protocols.SetUnencryptedHTTP2(true)
	case d.version == "HTTP/2.0":
		transport.Protocols.SetHTTP2(true)
	default:
		transport.Protocols.SetHTTP1(true)
	}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}
