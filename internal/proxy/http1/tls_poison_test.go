package http1

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http/httptest"
	"testing"

	"github.com/weirproxy/weir/stream"
)

// corked is a connection that sends what was written to it all at once.
type corked struct {
	net.Conn
	corked  bool
	pending []byte
}

func (c *corked) Write(p []byte) (int, error) {
	if !c.corked {
		return c.Conn.Write(p)
	}
	c.pending = append(c.pending, p...)
	return len(p), nil
}

// together sends each piece as a TLS record, all records in one segment.
func (c *corked) together(t *testing.T, over *tls.Conn, pieces []string) {
	c.corked = true
	for _, piece := range pieces {
		if _, err := over.Write([]byte(piece)); err != nil {
			t.Error(err)
		}
	}
	c.corked = false
	if _, err := c.Conn.Write(c.pending); err != nil {
		t.Error(err)
	}
	c.pending = nil
}

// What a TLS upstream sends behind a response may have been read off the socket
// already, and then nothing on the descriptor tells of it: it waits in the
// connection, as the rest of a record or as further records. It must never
// become the answer to the next request.
func TestBytesBehindAResponseOverTLS(t *testing.T) {
	const poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
	o := httptest.NewUnstartedServer(nil) // for its certificate
	o.StartTLS()
	defer o.Close()
	trust := x509.NewCertPool()
	trust.AddCert(o.Certificate())
	for _, c := range []struct {
		name     string
		pieces   []string
		reusable bool
	}{
		{"another record", []string{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst", poison}, false},
		{"the record of the body", []string{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "first" + poison}, false},
		{"a record behind the body", []string{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "first", poison}, false},
		{"behind a head without content", []string{"HTTP/1.1 204 No Content\r\n\r\n", poison}, false},
		{"nothing", []string{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "first"}, true},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(c.name+" "+tls.VersionName(version), func(t *testing.T) {
				up := newOrigin(t)
				pool := newPool(t, up)
				dial := func() (net.Conn, error) {
					return tls.Dial("tcp", up.ln.Addr().String(), &tls.Config{RootCAs: trust, ServerName: "example.com", MaxVersion: version})
				}
				served := make(chan struct{})
				go func() {
					defer close(served)
					raw := up.accept().nc
					conn := &corked{Conn: raw}
					over := tls.Server(conn, &tls.Config{Certificates: o.TLS.Certificates})
					p := newPeer(t, over)
					p.head()
					conn.together(t, over, c.pieces)
					if c.reusable {
						p.head()
						p.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond")
					}
				}()
				client, err := pool.getFrom(dial)
				if err != nil {
					t.Fatal(err)
				}
				ask := func() (string, *stream.Fault) {
					resp, err := client.Serve(context.Background(), &stream.Request{
						Method: "GET", Target: stream.Target{Host: "a", Path: "/"}, Body: stream.NoBody, Conn: &stream.Conn{},
					})
					if err != nil {
						return "", stream.AsFault(err)
					}
					defer resp.Body.Close()
					var b [100]byte
					n, _ := resp.Body.Read(b[:])
					return string(b[:n]), nil
				}
				if _, f := ask(); f != nil {
					t.Fatal(f)
				}
				reused := <-pool.freed
				if !c.reusable && !reused {
					<-served
					return // seen at once
				}
				got, f := ask()
				<-served
				switch {
				case c.reusable && (f != nil || got != "second"):
					t.Errorf("the connection was good, and gave %q, %v", got, f)
				case !c.reusable && (f == nil || f.Retry != stream.RetryUnsent):
					t.Errorf("the next request got %q, %v", got, f)
				}
			})
		}
	}
}
