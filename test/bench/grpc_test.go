//go:build linux

package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// The canned gRPC server answers a client that looks at everything: the first
// call fills the dynamic table, the next ones use it.
func TestGRPCUpstream(t *testing.T) {
	address, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	more := make(chan struct{})
	lp, err := newLoop(load{upstream: sockaddr(address), grpc: message(100), more: more, cpu: func() (time.Duration, error) { return 0, nil }})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		_, err := lp.run()
		lp.close()
		ended <- err
	}()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	for range 3 {
		call(t, transport, address)
	}
	transport.CloseIdleConnections()
	close(more)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func call(t *testing.T, transport http.RoundTripper, address net.Addr) {
	t.Helper()
	req, err := http.NewRequest("POST", "http://"+address.String()+"/bench.Echo/Unary", bytes.NewReader(message(100)))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/grpc" || !bytes.Equal(body, message(100)) || resp.Trailer.Get("Grpc-Status") != "0" {
		t.Fatalf("%s, %v, %d bytes, trailer %v", resp.Status, resp.Header, len(body), resp.Trailer)
	}
}
