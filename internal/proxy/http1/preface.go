package http1

import (
	"bytes"

	"github.com/weirproxy/weir/stream"
)

// http2Preface begins a connection of a client that knows that HTTP/2 is spoken
// (RFC 9113 section 3.4). No request of HTTP/1 begins with it.
const http2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// beginsHTTP2 tells whether the preface, or a part of it and nothing else, is
// there. On TLS the client has agreed on HTTP/1.1, and is held to it: two
// protocols on one connection are what request smuggling is made of.
func (c *serverConn) beginsHTTP2() (whole, part bool) {
	b := c.src.bytes()
	if len(b) == 0 || b[0] != http2Preface[0] || c.facts.TLS != nil || c.blank {
		return false, false
	}
	n := min(len(b), len(http2Preface))
	same := string(b[:n]) == http2Preface[:n]
	return same && n == len(http2Preface), same
}

// handOver makes the connection one that ServerConfig.HTTP2 can have: no phase
// is watched any more, and no deadline is left on it.
func (c *serverConn) handOver() {
	if !c.guard.Rest() { // the preface came as its time ran out
		c.nc.SetDeadline(noDeadline)
		c.refuse(&stream.Fault{Kind: stream.HeadTimeout})
		return
	}
	c.ahead = bytes.Clone(c.src.bytes())
}
