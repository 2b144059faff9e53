package http1

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/weirproxy/weir/internal/peek"
	"github.com/weirproxy/weir/stream"
)

// over TLS neither half has a descriptor to itself: the plain paths.
func TestBothHalvesOverTLS(t *testing.T) {
	o := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		io.WriteString(w, r.Proto+" "+strings.Repeat("x", len(b)))
	}))
	t.Cleanup(o.Close)
	trust := x509.NewCertPool()
	trust.AddCert(o.Certificate())
	pool := newPool(t, &origin{t: t, ln: o.Listener})
	dial := func() (net.Conn, error) {
		return tls.Dial("tcp", o.Listener.Addr().String(), &tls.Config{RootCAs: trust, ServerName: "example.com"})
	}
	service := stream.ServiceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
		if req.Target.Scheme != "https" {
			return text(500, "scheme "+req.Target.Scheme), nil
		}
		c, err := pool.getFrom(dial)
		if err != nil {
			return text(502, err.Error()), nil
		}
		return c.Serve(ctx, req)
	})
	e := newEdge(t, service)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.goes.run(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			e.goes.run(func() {
				f := facts(nc)
				f.TLS = new(stream.TLS)
				e.Serve(context.Background(), tls.Server(nc, &tls.Config{Certificates: o.TLS.Certificates}), f)
			})
		}
	})
	t.Cleanup(func() { ln.Close() })

	nc, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{RootCAs: trust, ServerName: "example.com"})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	r := bufio.NewReader(nc)
	for _, size := range []int{0, 1, 10 << 10, 100 << 10, 0} {
		req, _ := http.NewRequest("POST", "https://example.com/", strings.NewReader(strings.Repeat("y", size)))
		if err := req.Write(nc); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(r, req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		if want := "HTTP/1.1 " + strings.Repeat("x", size); err != nil || string(b) != want {
			t.Errorf("size %d: status %d, %d bytes, %v", size, resp.StatusCode, len(b), err)
		}
		pool.wantFreed(true)
	}
	if pool.made != 1 {
		t.Errorf("the proxy needed %d connections, want 1", pool.made)
	}

	// The upstream closes the idle connection: seen before anything is sent.
	o.CloseClientConnections()
	c := pool.idle[0]
	pool.idle = nil
	if err := c.peeker.Read(func(fd uintptr) bool { err := peek.Look(fd); return err == nil || err == io.EOF }); err != nil {
		t.Fatal(err)
	}
	_, err = c.Serve(context.Background(), newPost(stream.BytesBody([]byte("abc")), 3))
	if f := stream.AsFault(err); err == nil || f.Retry != stream.RetryUnsent || f.Kind != stream.UpstreamClosed {
		t.Errorf("got %v", err)
	}
}
