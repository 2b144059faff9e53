package interop

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
)

// secured is nc, over TLS if the kind of upstream is.
func (u upstream) secured(c *trust, nc net.Conn) net.Conn {
	switch {
	case !u.tls:
		return nc
	case u.version == "HTTP/2.0":
		return tls.Server(nc, c.server("h2"))
	}
	return tls.Server(nc, c.server("http/1.1"))
}

// http1Peer answers one request on a connection, which then ends.
type http1Peer struct {
	nc      net.Conn
	tcp     *net.TCPConn
	in      *bufio.Reader
	req     *http.Request
	chunked bool
	leaving func() <-chan struct{}
}

func (th *theatre) performHTTP1(nc net.Conn, tcp *net.TCPConn) {
	in := bufio.NewReader(nc)
	req, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	left := make(chan struct{})
	p := &http1Peer{nc: nc, tcp: tcp, in: in, req: req}
	p.leaving = sync.OnceValue(func() <-chan struct{} {
		if req.ContentLength != 0 { // it is not read: nothing tells that the client left
			return left
		}
		go func() { // ends with the connection
			defer close(left)
			_, _ = io.Copy(io.Discard, in)
		}()
		return left
	})
	th.run(req.URL.Path, p)
	_ = nc.Close()
}

func (p *http1Peer) head(status, length int) {
	if length < 0 {
		p.chunked = true
		fmt.Fprintf(p.nc, "HTTP/1.1 %d Scripted\r\nTransfer-Encoding: chunked\r\n\r\n", status)
		return
	}
	fmt.Fprintf(p.nc, "HTTP/1.1 %d Scripted\r\nContent-Length: %d\r\n\r\n", status, length)
}

func (p *http1Peer) data(content string) {
	if p.chunked {
		fmt.Fprintf(p.nc, "%x\r\n%s\r\n", len(content), content)
		return
	}
	_, _ = io.WriteString(p.nc, content)
}

func (p *http1Peer) end() {
	if p.chunked {
		_, _ = io.WriteString(p.nc, "0\r\n\r\n")
	}
}

func (p *http1Peer) reset() {
	_ = p.tcp.SetLinger(0)
	p.tcp.Close()
}

func (p *http1Peer) hangUp() { p.nc.Close() }

func (p *http1Peer) gone() <-chan struct{} { return p.leaving() }
