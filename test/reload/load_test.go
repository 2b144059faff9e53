package reload

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// content is what requests carry and get back.
var content = strings.Repeat("weir", 500)

func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil || string(body) != content {
		http.Error(w, "the request is not whole", http.StatusBadRequest)
		return
	}
	_, _ = io.WriteString(w, content)
}

func listen(t *testing.T) net.Listener {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// load is clients that send one request after the other. They never send a
// request twice: what would hide a failure from a user is not done here.
type load struct {
	plain, secure string
	roots         *tls.Config

	requests, connections atomic.Int64
	clients               sync.WaitGroup
	mu                    sync.Mutex
	failures              []string
}

// begin starts the clients, which end with ctx.
func (l *load) begin(ctx context.Context) {
	for _, perConnection := range []int{1, 1, 10, 1 << 30, 1 << 30} { // new connections, and kept ones
		for _, secure := range []bool{false, true} {
			l.clients.Go(func() {
				for ctx.Err() == nil {
					l.serve(ctx, secure, perConnection)
				}
			})
		}
	}
}

func (l *load) end() []string {
	l.clients.Wait()
	return l.failures
}

// once shows that everything works, and warms up what is made only once.
func (l *load) once(t *testing.T) {
	for _, secure := range []bool{false, true} {
		l.serve(context.Background(), secure, 2)
	}
	for _, failure := range l.end() {
		t.Fatal(failure)
	}
}

func (l *load) failed(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.failures) < 10 {
		l.failures = append(l.failures, fmt.Sprintf(format, args...))
	}
}

// serve sends up to n requests on a connection.
func (l *load) serve(ctx context.Context, secure bool, n int) {
	conn, err := l.connect(secure)
	if err != nil {
		l.failed("connect (TLS %v): %v", secure, err)
		return
	}
	defer conn.Close()
	l.connections.Add(1)
	in := bufio.NewReader(conn)
	for i := 0; i < n && ctx.Err() == nil; i++ {
		again, err := exchange(conn, in, i)
		if err != nil {
			l.failed("request %d of a connection (TLS %v): %v", i+1, secure, err)
			return
		}
		l.requests.Add(1)
		if !again {
			return
		}
	}
}

func (l *load) connect(secure bool) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	if !secure {
		return dialer.Dial("tcp", l.plain)
	}
	return tls.DialWithDialer(dialer, "tcp", l.secure, l.roots)
}

// exchange sends one request and wants its answer. again: the connection takes
// another.
func exchange(conn net.Conn, in *bufio.Reader, i int) (again bool, err error) {
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, request(i)); err != nil {
		return false, fmt.Errorf("sending: %w", err)
	}
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return false, fmt.Errorf("no answer: %w", err)
	}
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return false, fmt.Errorf("inside the answer: %w", err)
	case resp.StatusCode != http.StatusOK:
		return false, fmt.Errorf("status %s, %s: %s", resp.Status, resp.Header.Get("Proxy-Status"), body)
	case string(body) != content:
		return false, fmt.Errorf("the answer has %d bytes, not %d", len(body), len(content))
	}
	return !resp.Close, nil
}

// request is one that may not be sent twice, with and without length.
func request(i int) string {
	const head = "POST /echo HTTP/1.1\r\nHost: site.example\r\n"
	if i%2 == 0 {
		return fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(content), content)
	}
	return fmt.Sprintf("%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", head, len(content), content)
}

// roots trust the key of the document: its certificate changes, and a client
// that dials cannot know to which.
func (d *document) roots(t *testing.T) *tls.Config {
	return &tls.Config{
		ServerName: "site.example", InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			return verifyKey(s.PeerCertificates[0], d)
		},
	}
}

func verifyKey(cert *x509.Certificate, d *document) error {
	if !d.key.PublicKey.Equal(cert.PublicKey) {
		return fmt.Errorf("a certificate of another key")
	}
	return nil
}
