package interop

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"
	quichttp3 "github.com/quic-go/quic-go/http3"
)

// serveWebSocket echoes the messages of a WebSocket, in whatever version of
// HTTP it begins.
func serveWebSocket(w http.ResponseWriter, r *http.Request) {
	version := r.Proto
	if r.Method == http.MethodConnect {
		if version == "websocket" { // where the HTTP/3 of quic-go puts :protocol
			version = "HTTP/3.0"
		}
		tunnel := &tunnelWriter{ResponseWriter: w, r: r}
		w, r = tunnel, tunnel.upgrade()
	}
	w.Header().Set("X-Upstream-Version", version)
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols: []string{"chat"}, CompressionMode: websocket.CompressionContextTakeover, InsecureSkipVerify: true,
	})
	if err != nil {
		return
	}
	defer c.CloseNow()
	c.SetReadLimit(1 << 20)
	for {
		kind, message, err := c.Read(r.Context())
		if err != nil {
			return
		}
		if err := c.Write(r.Context(), kind, message); err != nil {
			return
		}
	}
}

// tunnelWriter makes an upgrade of HTTP/1.1, which the WebSocket library
// knows, of an extended CONNECT (RFC 8441, RFC 9220).
type tunnelWriter struct {
	http.ResponseWriter
	r *http.Request
}

// upgrade is the request as HTTP/1.1 has it. A key that came all the same would
// be seen here.
func (t *tunnelWriter) upgrade() *http.Request {
	r := t.r.Clone(t.r.Context())
	r.Method, r.Proto, r.ProtoMajor, r.ProtoMinor = http.MethodGet, "HTTP/1.1", 1, 1
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", t.r.Proto)
	if protocol := t.r.Header.Get(":protocol"); protocol != "" { // where the HTTP/2 of Go puts it
		r.Header.Set("Upgrade", protocol)
	}
	r.Header.Add("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
	return r
}

func (t *tunnelWriter) WriteHeader(status int) {
	if status == http.StatusSwitchingProtocols {
		status = http.StatusOK
		for _, name := range []string{"Connection", "Upgrade", "Sec-WebSocket-Accept"} {
			t.Header().Del(name)
		}
	}
	t.ResponseWriter.WriteHeader(status)
}

func (t *tunnelWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if err := http.NewResponseController(t.ResponseWriter).Flush(); err != nil {
		return nil, nil, err
	}
	var carried io.ReadWriteCloser = &serverTunnel{t.r.Body, flushing{t.ResponseWriter}}
	if s, ok := t.ResponseWriter.(quichttp3.HTTPStreamer); ok {
		stream, err := s.HTTPStream()
		if err != nil {
			return nil, nil, err
		}
		carried = stream
	}
	nc := tunnelConn{carried}
	return nc, bufio.NewReadWriter(bufio.NewReader(nc), bufio.NewWriter(nc)), nil
}

// serverTunnel is what a handler of HTTP/2 has of its stream, which ends when
// the handler returns.
type serverTunnel struct {
	io.ReadCloser
	io.Writer
}

// tunnelConn is a net.Conn as far as the WebSocket library needs one.
type tunnelConn struct{ io.ReadWriteCloser }

var errNoDeadline = errors.New("a tunnel of this test has no deadline")

func (tunnelConn) LocalAddr() net.Addr              { return nil }
func (tunnelConn) RemoteAddr() net.Addr             { return nil }
func (tunnelConn) SetDeadline(time.Time) error      { return errNoDeadline }
func (tunnelConn) SetReadDeadline(time.Time) error  { return errNoDeadline }
func (tunnelConn) SetWriteDeadline(time.Time) error { return errNoDeadline }
