package tcp

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"

	"github.com/weirproxy/weir/internal/peek"
	"github.com/weirproxy/weir/stream"
)

var errClosed = errors.New("the tunnel is closed")

// tunnel is the body of a response that is a connection. One goroutine may be
// in Read or Await and one in Write; Close ends both. Whoever carries it judges
// its silence: the bytes may pass by it (Socket).
type tunnel struct {
	stream.Response

	ctx   context.Context
	stop  func() bool // ends the watch of ctx
	nc    net.Conn
	quiet quietReader     // of nc
	raw   syscall.RawConn // nil unless nc is a plain socket
	peek  func(fd uintptr) bool
	err   error // of the last peek
	over  func()

	mu     sync.Mutex
	ended  bool // CloseWrite was called
	closed bool
}

var (
	_ stream.Socketed = (*tunnel)(nil)
	_ stream.Awaiter  = (*tunnel)(nil)
	_ stream.Whole    = (*tunnel)(nil)
)

// open makes the response that nc is. over is called once, when it is closed.
func open(ctx context.Context, nc net.Conn, over func()) *stream.Response {
	t := &tunnel{ctx: ctx, nc: nc, raw: rawConn(nc), over: over}
	t.quiet.nc = nc
	t.stop = context.AfterFunc(ctx, t.poke)
	t.Status, t.Length, t.Body = 200, -1, t
	return &t.Response
}

// poke wakes whatever read or write is blocked, for good.
func (t *tunnel) poke() {
	t.quiet.cut.Store(true)
	t.nc.SetDeadline(longAgo)
}

// Socket is the connection, if it is a plain socket; see stream.Socketed.
func (t *tunnel) Socket() net.Conn {
	if t.raw == nil {
		return nil
	}
	return t.nc
}

// Await waits until Read has something to give.
func (t *tunnel) Await() error {
	if t.raw == nil {
		return t.fault(t.quiet.Await())
	}
	if t.peek == nil {
		t.peek = t.look
	}
	if err := t.raw.Read(t.peek); err != nil {
		return t.fault(err)
	}
	return t.fault(t.err)
}

func (t *tunnel) look(fd uintptr) bool {
	t.err = peek.Look(fd)
	return !errors.Is(t.err, syscall.EAGAIN)
}

// Read reads what the upstream sends.
func (t *tunnel) Read(p []byte) (int, error) {
	n, err := t.quiet.Read(p)
	return n, t.fault(err)
}

// Write sends to the upstream.
func (t *tunnel) Write(p []byte) (int, error) {
	n, err := t.nc.Write(p)
	return n, t.fault(err)
}

// CloseWrite tells the upstream that nothing more comes.
func (t *tunnel) CloseWrite() error {
	t.mu.Lock()
	t.ended = true
	t.mu.Unlock()
	return t.fault(closeWrite(t.nc))
}

// Close ends both directions. An upstream that was not told the end in order
// sees an error: it must not take a part for the whole.
func (t *tunnel) Close() error {
	t.mu.Lock()
	first, ended := !t.closed, t.ended
	t.closed = true
	t.mu.Unlock()
	if !first {
		return nil
	}
	t.stop()
	if ended {
		_ = t.nc.Close()
	} else {
		reset(t.nc)
	}
	t.over()
	return nil
}

// Trailer is nil; see stream.Body.
func (t *tunnel) Trailer() *stream.Header { return nil }

// Bytes says that nobody knows what comes; see stream.Whole.
func (t *tunnel) Bytes() ([]byte, bool) { return nil, false }

// fault says in our words why the upstream side failed; nil and io.EOF stay
// what they are.
func (t *tunnel) fault(err error) error {
	switch {
	case err == nil || err == io.EOF:
		return err
	case t.ctx.Err() != nil:
		return &stream.Fault{Kind: stream.ClientGone, Cause: context.Cause(t.ctx)}
	case errors.Is(err, net.ErrClosed):
		return &stream.Fault{Kind: stream.UpstreamClosed, Cause: errClosed}
	}
	return upstreamFault(err)
}
