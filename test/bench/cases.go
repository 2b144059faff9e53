//go:build linux

package main

import (
	"bytes"
	"fmt"
)

// benchCase is one kind of traffic.
type benchCase struct {
	name     string
	conns    int
	method   string
	send     int // request body bytes
	response int // response body bytes
	routes   int
	tls      bool
	close    bool // a new connection for every request
}

func cases() []benchCase {
	return []benchCase{
		{name: "64 conns, 100 B", conns: 64, response: 100},
		{name: "1000 conns, 100 B", conns: 1000, response: 100},
		{name: "64 conns, 10 KiB", conns: 64, response: 10 << 10},
		{name: "64 conns, 1 MiB", conns: 64, response: 1 << 20},
		{name: "64 conns, POST 10 KiB", conns: 64, method: "POST", send: 10 << 10, response: 100},
		{name: "new connection each", conns: 64, response: 100, close: true},
		{name: "TLS keep-alive, 100 B", conns: 64, response: 100, tls: true},
		{name: "10,000 routes", conns: 64, response: 100, routes: 10_000},
	}
}

// path is what the clients ask for: with many routes, one in their middle.
func (c *benchCase) path() string {
	if c.routes > 0 {
		return routePath(c.routes/2) + "/items"
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
	fmt.Fprintf(&b, "HTTP/1.1 200 OK\r\nDate: Mon, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: text/plain\r\nServer: canned\r\nContent-Length: %d\r\n\r\n", c.response)
	b.Write(bytes.Repeat([]byte("y"), c.response))
	return b.Bytes()
}
