//go:build linux

package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// handshakes is a load generator: each request on a connection of its own, with
// a full handshake. It reports as h2load does.
func handshakes(target string, conns int, total time.Duration) error {
	var (
		good, failed atomic.Int64
		first        sync.Once
		reason       error
		wait         sync.WaitGroup
		end          = time.Now().Add(total)
		request      = (&benchCase{}).request()
		// No session cache: nothing is resumed. X25519 alone: the hybrid group
		// that Go prefers is unknown to OpenSSL 3.0, and the same exchange is
		// to be measured with all.
		config = &tls.Config{ServerName: serverName, InsecureSkipVerify: true, //nolint:gosec // own certificate, loopback
			MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519}}
	)
	for range conns {
		wait.Go(func() {
			for time.Now().Before(end) {
				if err := handshake(target, config, request); err != nil {
					failed.Add(1)
					first.Do(func() { reason = err })
					continue
				}
				good.Add(1)
			}
		})
	}
	wait.Wait()
	if reason != nil {
		fmt.Println("first failure:", reason)
	}
	fmt.Printf("requests: %d succeeded, %d failed, 0 errored, 0 timeout\nstatus codes: %d 2xx, 0 3xx, 0 4xx, 0 5xx\n", good.Load(), failed.Load(), good.Load())
	return nil
}

func handshake(target string, config *tls.Config, request []byte) error {
	plain, err := net.Dial("tcp", target)
	if err != nil {
		return err
	}
	defer plain.Close()
	_ = plain.(*net.TCPConn).SetLinger(0) // no TIME_WAIT: the ports would run out
	conn := tls.Client(plain, config)
	if _, err := conn.Write(request); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	if state := conn.ConnectionState(); state.DidResume || state.CipherSuite != tls.TLS_AES_128_GCM_SHA256 || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("resumed %v, %s, %s", state.DidResume, tls.CipherSuiteName(state.CipherSuite), resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
