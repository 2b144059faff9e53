package udp

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/weirproxy/weir/stream"
)

// flow is the upstream end of a session: a socket of its own. One goroutine may
// be in Read or Await and one in Write; Close ends both.
type flow struct {
	t   *Transport
	nc  net.Conn
	req *stream.Request
	raw syscall.RawConn // nil: nc gives no access to its socket

	// What was read ahead; of the reading goroutine.
	have    *[maxDatagram]byte // nil: nothing
	size    int
	readErr error
	readFn  func(fd uintptr) bool

	// What is written; of the writing goroutine.
	out      []byte
	writeErr error
	writeFn  func(fd uintptr) bool

	mu     sync.Mutex
	closed bool
}

var (
	_ stream.Duplex  = (*flow)(nil)
	_ stream.Awaiter = (*flow)(nil)
)

func newFlow(t *Transport, nc net.Conn, req *stream.Request) *flow {
	f := &flow{t: t, nc: nc, req: req}
	if s, ok := nc.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			f.raw = raw
		}
	}
	f.readFn, f.writeFn = f.receive, f.transmit
	return f
}

// Await waits until there is a datagram, without a buffer meanwhile.
func (f *flow) Await() error {
	if err := f.fill(); err != nil {
		return f.failed(err)
	}
	return nil
}

// Read reads one datagram. What p has no room for is lost.
func (f *flow) Read(p []byte) (int, error) {
	if err := f.fill(); err != nil {
		return 0, f.failed(err)
	}
	n := copy(p, f.have[:f.size])
	f.drop()
	f.t.cfg.Stats.DatagramsIn.Add(1)
	return n, nil
}

// fill reads a datagram ahead.
func (f *flow) fill() error {
	if f.have != nil {
		return nil
	}
	if f.raw == nil {
		f.have = buffers.Get().(*[maxDatagram]byte)
		if f.size, f.readErr = f.nc.Read(f.have[:]); f.readErr != nil {
			f.drop()
		}
		return f.readErr
	}
	if err := f.raw.Read(f.readFn); err != nil {
		return err
	}
	return f.readErr
}

// receive reads without waiting. It reports false when there is nothing.
func (f *flow) receive(fd uintptr) bool {
	f.have = buffers.Get().(*[maxDatagram]byte)
	for {
		f.size, f.readErr = syscall.Read(int(fd), f.have[:])
		switch {
		case f.readErr == nil:
			return true
		case errors.Is(f.readErr, syscall.EINTR):
			continue
		}
		f.drop()
		return !errors.Is(f.readErr, syscall.EAGAIN)
	}
}

// drop gives up what was read ahead.
func (f *flow) drop() {
	if f.have != nil {
		buffers.Put(f.have)
		f.have = nil
	}
}

// Write sends one datagram, or drops it when it would have to wait.
func (f *flow) Write(p []byte) (int, error) {
	if err := f.send(p); err != nil {
		return 0, f.failed(err)
	}
	return len(p), nil
}

func (f *flow) send(p []byte) error {
	err := f.write(p)
	switch {
	case err == nil:
		f.t.cfg.Stats.DatagramsOut.Add(1)
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOBUFS), errors.Is(err, syscall.EMSGSIZE):
		f.t.cfg.Stats.Dropped.Add(1)
	default:
		return err
	}
	return nil
}

func (f *flow) write(p []byte) error {
	if f.raw == nil {
		_, err := f.nc.Write(p)
		return err
	}
	f.out = p
	err := f.raw.Write(f.writeFn)
	f.out = nil
	if err != nil {
		return err
	}
	return f.writeErr
}

// transmit writes without waiting.
func (f *flow) transmit(fd uintptr) bool {
	for {
		if _, f.writeErr = syscall.Write(int(fd), f.out); !errors.Is(f.writeErr, syscall.EINTR) {
			return true
		}
	}
}

// CloseWrite does nothing: UDP has no end.
func (f *flow) CloseWrite() error { return nil }

// Trailer is nil; see stream.Body.
func (f *flow) Trailer() *stream.Header { return nil }

// Close ends the session with the endpoint.
func (f *flow) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	f.closed = true
	_ = f.nc.Close()
	f.req.Exchange.UpstreamEnd = time.Now()
	f.t.closed()
	f.t.cfg.Endpoint.Ended()
	return nil
}

// failed is the fault of a session that the endpoint had answered, or let be.
// It counts against the endpoint.
func (f *flow) failed(err error) *stream.Fault {
	fault := f.faultOf(err)
	if fault.Kind == stream.UpstreamReset {
		f.t.cfg.Endpoint.Failed()
	}
	return fault
}

// faultOf says in our words what is wrong with the socket.
func (f *flow) faultOf(err error) *stream.Fault {
	if errors.Is(err, syscall.ECONNREFUSED) {
		f.t.cfg.Stats.Refused.Add(1)
		return &stream.Fault{Kind: stream.UpstreamReset, Cause: err}
	}
	return &stream.Fault{Kind: stream.UpstreamClosed, Cause: err}
}
