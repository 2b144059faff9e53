// Package prefixconn is a connection of which something was read already, by
// someone who had to see how it begins: that comes first, then the rest.
package prefixconn

import "net"

// Conn is a net.Conn with bytes in front. It is as safe for concurrent use as
// the connection below it, with one reader at a time.
type Conn struct {
	net.Conn
	ahead []byte
}

// New puts ahead, which it keeps, in front of nc. Without any it is nc itself.
func New(nc net.Conn, ahead []byte) net.Conn {
	if len(ahead) == 0 {
		return nc
	}
	return &Conn{Conn: nc, ahead: ahead}
}

// Read reads what is ahead, then from the connection.
func (c *Conn) Read(p []byte) (int, error) {
	if len(c.ahead) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.ahead)
	if c.ahead = c.ahead[n:]; len(c.ahead) == 0 {
		c.ahead = nil
	}
	return n, nil
}

// Buffered is how much is ahead still.
func (c *Conn) Buffered() int { return len(c.ahead) }

// NetConn is the connection below, as with crypto/tls.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// CloseWrite ends the writing side, if the connection can.
func (c *Conn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return c.Close()
}
