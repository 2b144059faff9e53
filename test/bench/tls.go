//go:build linux

package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirproxy/weir/test/testcert"
)

func sockaddr(a *net.TCPAddr) *unix.SockaddrInet4 {
	sa := &unix.SockaddrInet4{Port: a.Port}
	copy(sa.Addr[:], a.IP.To4())
	return sa
}

func writeCertificate(dir string) (cert, key string, err error) {
	pair, err := testcert.Issue(&x509.Certificate{Subject: pkix.Name{CommonName: "bench.example.com"}, DNSNames: []string{"bench.example.com"}}, nil)
	if err != nil {
		return "", "", err
	}
	cert, key = filepath.Join(dir, "site.crt"), filepath.Join(dir, "site.key")
	if err := os.WriteFile(cert, pair.CertPEM(), 0o600); err != nil {
		return "", "", err
	}
	return cert, key, os.WriteFile(key, pair.KeyPEM(), 0o600)
}

// runTLS is run with TLS clients: goroutines, because crypto/tls blocks. The
// generator costs more than the proxy here, so requests/s say little; CPU per
// request is the figure.
func runTLS(l load) (outcome, error) {
	upstream, err := net.ListenTCP("tcp", &net.TCPAddr{IP: l.upstream.Addr[:], Port: l.upstream.Port})
	if err != nil {
		return outcome{}, err
	}
	defer func() { _ = upstream.Close() }()
	go serveCanned(upstream, l.response)
	var (
		out      = outcome{latencies: new(latencies)}
		mu       sync.Mutex
		counting atomic.Bool
		done     = make(chan struct{})
		wait     sync.WaitGroup
		errs     = make(chan error, l.conns)
	)
	address := (&net.TCPAddr{IP: l.target.Addr[:], Port: l.target.Port}).String()
	for range l.conns {
		wait.Go(func() {
			errs <- tlsClient(l, address, done, func(d time.Duration) {
				if counting.Load() {
					mu.Lock()
					out.requests++
					out.latencies.add(d)
					mu.Unlock()
				}
			})
		})
	}
	time.Sleep(l.warm)
	l.afterWarmup()
	start := time.Now()
	counting.Store(true)
	time.Sleep(l.measure)
	counting.Store(false)
	out.elapsed = time.Since(start)
	close(done)
	wait.Wait()
	for range l.conns {
		if err := <-errs; err != nil {
			return out, err
		}
	}
	return out, nil
}

func tlsClient(l load, address string, done <-chan struct{}, count func(time.Duration)) error {
	conn, err := tls.Dial("tcp", address, &tls.Config{ServerName: "bench.example.com", InsecureSkipVerify: true}) //nolint:gosec // own certificate, loopback
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	in := bufio.NewReaderSize(conn, 16<<10)
	for {
		select {
		case <-done:
			return nil
		default:
		}
		start := time.Now()
		if _, err := conn.Write(l.request); err != nil {
			return err
		}
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			return err
		}
		n, err := io.Copy(io.Discard, resp.Body)
		if err != nil || n != int64(l.bodyBytes) {
			return fmt.Errorf("body of %d bytes, want %d: %w", n, l.bodyBytes, err)
		}
		count(time.Since(start))
	}
}

func serveCanned(l *net.TCPListener, response []byte) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			in := bufio.NewReader(conn)
			for {
				req, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, req.Body)
				if _, err := conn.Write(response); err != nil {
					return
				}
			}
		}()
	}
}
