//go:build linux

package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// benchCase is one kind of traffic.
type benchCase struct {
	name      string
	conns     int
	streams   int // under way at once on each connection; 0: HTTP/1.1, one
	method    string
	send      int // request body bytes
	response  int // response body bytes
	routes    int
	tls       bool
	close     bool   // a new connection for every request
	handshake bool   // the same, and TLS with each
	grpc      bool   // HTTP/2 to the upstream, too: unary calls
	tcp       bool   // the proxy carries bytes
	peers     string // the proxies that can do it; empty: all
	unit      string // what else is counted per CPU second
	feature   feature
}

func cases() []benchCase {
	return append([]benchCase{
		{name: "64 conns, 100 B", conns: 64, response: 100},
		{name: "1000 conns, 100 B", conns: 1000, response: 100},
		{name: "64 conns, 10 KiB", conns: 64, response: 10 << 10},
		{name: "64 conns, 1 MiB", conns: 64, response: 1 << 20},
		{name: "64 conns, POST 10 KiB", conns: 64, method: "POST", send: 10 << 10, response: 100},
		{name: "new connection each", conns: 64, response: 100, close: true},
		{name: "10,000 routes", conns: 64, response: 100, routes: 10_000},
		{name: "TLS 1.3, 64 conns, 100 B", conns: 64, response: 100, tls: true},
		{name: "TLS 1.3, h2, 10 x 100 streams, 100 B", conns: 10, streams: 100, response: 100, tls: true},
		{name: "TLS 1.3, full handshake each", conns: 32, response: 100, tls: true, handshake: true, unit: unitHandshakes},
		{name: "h2, 10 x 100 streams, 100 B", conns: 10, streams: 100, response: 100},
		{name: "gRPC unary, 10 x 100 streams, 100 B", conns: 10, streams: 100, send: 100, response: 100, grpc: true, peers: "haproxy weir httputil"},
		{name: "TCP, 64 conns, 1 MiB", conns: 64, response: 1 << 20, tcp: true, peers: "nginx haproxy weir", unit: unitBytes},
	}, featureCases()...)
}

const (
	unitHandshakes = "handshakes"
	unitBytes      = "MB"
)

func (c *benchCase) has(proxy string) bool {
	return c.peers == "" || slices.Contains(strings.Fields(c.peers), proxy)
}

// external: the clients are another program, because they speak what the loop
// does not.
func (c *benchCase) external() bool { return c.tls || c.streams > 0 }

// perRequest is how many units one request is.
func (c *benchCase) perRequest() float64 {
	if c.unit == unitBytes {
		return float64(c.response) / 1e6
	}
	return 1
}

// path is what the clients ask for: with many routes, one in their middle.
func (c *benchCase) path() string {
	switch {
	case c.routes > 0:
		return routePath(c.routes/2) + "/items"
	case c.grpc:
		return "/bench.Echo/Unary"
	}
	return "/items/42?page=7"
}

func routePath(n int) string { return fmt.Sprintf("/service-%05d/v1", n) }

func (c *benchCase) request() []byte {
	method := c.method
	if method == "" {
		method = "GET"
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: bench.example.com\r\nUser-Agent: weir-bench/1\r\nAccept: */*\r\nAccept-Encoding: gzip, br\r\n", method, c.path())
	if c.send > 0 {
		fmt.Fprintf(&b, "Content-Type: application/octet-stream\r\nContent-Length: %d\r\n", c.send)
	}
	b.WriteString("\r\n")
	b.Write(bytes.Repeat([]byte("x"), c.send))
	return b.Bytes()
}

func (c *benchCase) answer() []byte {
	var b bytes.Buffer
	extra := "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
	if c.feature.cacheable { // without a date: that one would be long ago
		extra = "Cache-Control: max-age=3600\r\n"
	}
	fmt.Fprintf(&b, "HTTP/1.1 200 OK\r\n%sContent-Type: text/plain\r\nServer: canned\r\nContent-Length: %d\r\n\r\n", extra, c.response)
	b.Write(bytes.Repeat([]byte("y"), c.response))
	return b.Bytes()
}

// message is a gRPC message of n bytes, in its frame: not compressed, length.
func message(n int) []byte {
	return append([]byte{0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, bytes.Repeat([]byte("z"), n)...)
}
