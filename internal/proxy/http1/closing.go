package http1

import (
	"errors"
	"net"
	"syscall"

	"github.com/weirproxy/weir/internal/peek"
	"github.com/weirproxy/weir/stream"
)

// halfCloser is a connection whose two directions close apart: TCP, Unix and TLS.
type halfCloser interface{ CloseWrite() error }

// closeWrite tells the peer that nothing more comes.
func closeWrite(nc net.Conn) error {
	if h, ok := nc.(halfCloser); ok {
		return h.CloseWrite()
	}
	return nil
}

// plain is the connection under nc: under TLS, the one that carries it.
func plain(nc net.Conn) net.Conn {
	for {
		t, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return nc
		}
		nc = t.NetConn()
	}
}

// reset closes nc so that the peer sees an error and no orderly end.
func reset(nc net.Conn) {
	nc = plain(nc)
	if t, ok := nc.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // without it the close is an orderly one
	}
	nc.Close()
}

// hangUp ends the exchange, and the connection, without a response.
func (c *serverConn) hangUp(f *stream.Fault) {
	c.seal()
	c.broken(f)
	c.srv.Stats.Cut.Add(1)
	_ = c.body.Close() // never fails
	c.finish()
	if f.Hangup == stream.HalfClose {
		c.linger()
		return
	}
	reset(c.nc)
}

// maxLinger bounds what is read and thrown away before a close.
const maxLinger = 1 << 20

// linger lets the client read the last response before the connection closes
// (RFC 9112 section 9.6): closed with unread bytes it would be reset, and the
// reset may overtake the response. Nothing that is read here is looked at.
func (c *serverConn) linger() {
	if closeWrite(c.nc) != nil {
		return
	}
	c.body.guard.Rest()
	c.drainMu.Lock()
	c.nc.SetDeadline(noDeadline)
	c.drainMu.Unlock()
	c.enter(stream.PhaseLinger)
	c.src.release()
	for total := 0; total < maxLinger && c.ctx.Err() == nil; {
		if c.src.fill() != nil {
			return
		}
		total += c.src.buffered()
		c.guard.Moved(c.src.buffered())
		c.src.release()
	}
	// A client that sends on may not have read the response yet. It is held up,
	// and has the rest of the phase to do so.
	if c.prober != nil && c.ctx.Err() == nil {
		_ = c.prober.Read(peek.Ended)
	}
}

// probe asks the descriptor, on the dog's goroutine, whether the client has
// closed or reset the connection while it waits for a response. A client that
// only closed its sending side counts as gone too: the two look the same.
func (c *serverConn) probe(phase uint8) bool {
	if stream.Phase(phase) != stream.PhaseWait || c.prober == nil {
		return false
	}
	c.peeked = false
	return c.prober.Control(c.peekFn) == nil && c.peeked
}

func (c *serverConn) peek(fd uintptr) {
	if c.src.raw == nil { // TLS, whose goodbye is bytes to read
		c.peeked = peek.Ended(fd)
		return
	}
	err := peek.Look(fd)
	c.peeked = err != nil && !errors.Is(err, syscall.EAGAIN)
}
