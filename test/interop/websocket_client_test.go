package interop

import (
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/coder/websocket"
	"github.com/quic-go/quic-go"
	quichttp3 "github.com/quic-go/quic-go/http3"
	xhttp2 "golang.org/x/net/http2"

	"github.com/weirproxy/weir/test/process"
)

// socket is an open WebSocket.
type socket struct {
	*websocket.Conn
	ctx  context.Context
	head http.Header // of the response
}

// dialWebSocket opens one over the kind of downstream.
func (d downstream) dialWebSocket(t *testing.T, c *trust, address, path string) *socket {
	t.Helper()
	client := d.client(t, c, address)
	switch d.version {
	case "HTTP/2.0":
		client = tunnels{connectHTTP2(t, d, c, address)}
	case "HTTP/3.0":
		client = tunnels{connectHTTP3(t, c, address)}
	}
	ctx, cancel := context.WithTimeout(context.Background(), process.Patience)
	t.Cleanup(cancel)
	conn, resp, err := websocket.Dial(ctx, d.url(path), &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: client}, Subprotocols: []string{"chat"},
		CompressionMode: websocket.CompressionContextTakeover,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow() })
	conn.SetReadLimit(1 << 20)
	return &socket{Conn: conn, ctx: ctx, head: resp.Header}
}

// tunnels makes the extended CONNECT of another version of HTTP (RFC 8441, RFC
// 9220) of an upgrade of HTTP/1.1, which the WebSocket library knows.
type tunnels struct {
	connect func(req *http.Request) (*http.Response, io.ReadWriteCloser, error)
}

func (u tunnels) RoundTrip(req *http.Request) (*http.Response, error) {
	connect := req.Clone(req.Context())
	connect.Method = http.MethodConnect
	for _, name := range []string{"Connection", "Upgrade", "Sec-WebSocket-Key"} {
		connect.Header.Del(name)
	}
	resp, tunnel, err := u.connect(connect)
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	for _, name := range []string{"Connection", "Upgrade", "Sec-WebSocket-Accept"} {
		if resp.Header.Get(name) != "" {
			return nil, errors.New(name + " in the answer to an extended CONNECT")
		}
	}
	proof := sha1.Sum([]byte(req.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	resp.StatusCode, resp.Body = http.StatusSwitchingProtocols, tunnel
	resp.Header.Set("Connection", "Upgrade")
	resp.Header.Set("Upgrade", "websocket")
	resp.Header.Set("Sec-WebSocket-Accept", base64.StdEncoding.EncodeToString(proof[:]))
	return resp, nil
}

// connectHTTP2 uses a client of x/net, since that of net/http refuses :protocol.
//
//nolint:staticcheck // it is deprecated in favour of net/http
func connectHTTP2(t *testing.T, d downstream, c *trust, address string) func(*http.Request) (*http.Response, io.ReadWriteCloser, error) {
	transport := &xhttp2.Transport{
		AllowHTTP: true,
		DialTLSContext: func(ctx context.Context, _, _ string, _ *tls.Config) (net.Conn, error) {
			if !d.tls {
				return new(net.Dialer).DialContext(ctx, "tcp", address)
			}
			return (&tls.Dialer{Config: c.client("h2")}).DialContext(ctx, "tcp", address)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return func(req *http.Request) (*http.Response, io.ReadWriteCloser, error) {
		out, in := io.Pipe()
		req.Header.Set(":protocol", "websocket")
		req.Body, req.ContentLength = out, -1
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return nil, nil, err
		}
		return resp, &clientTunnel{resp.Body, in}, nil
	}
}

// clientTunnel is what a client of HTTP/2 has of its stream.
type clientTunnel struct {
	io.ReadCloser
	in *io.PipeWriter
}

func (t *clientTunnel) Write(b []byte) (int, error) { return t.in.Write(b) }
func (t *clientTunnel) Close() error                { t.in.Close(); return t.ReadCloser.Close() }

func connectHTTP3(t *testing.T, c *trust, address string) func(*http.Request) (*http.Response, io.ReadWriteCloser, error) {
	return func(req *http.Request) (*http.Response, io.ReadWriteCloser, error) {
		conn, err := quic.DialAddr(req.Context(), address, c.client("h3"), nil)
		if err != nil {
			return nil, nil, err
		}
		t.Cleanup(func() { _ = conn.CloseWithError(http3NoError, "") })
		client := new(quichttp3.Transport).NewClientConn(conn)
		select {
		case <-client.ReceivedSettings():
		case <-req.Context().Done():
			return nil, nil, req.Context().Err()
		}
		if !client.Settings().EnableExtendedConnect {
			return nil, nil, errors.New("extended CONNECT is not spoken")
		}
		stream, err := client.OpenRequestStream(req.Context())
		if err != nil {
			return nil, nil, err
		}
		req.Proto = "websocket" // where this library takes :protocol from
		if err := stream.SendRequestHeader(req); err != nil {
			return nil, nil, err
		}
		resp, err := stream.ReadResponse()
		return resp, stream, err
	}
}
