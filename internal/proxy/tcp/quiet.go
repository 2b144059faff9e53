package tcp

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
)

// quietReader reads a connection whose readiness cannot be seen, such as TLS,
// and waits for it without memory to read into: it waits for one byte, and then
// reads what came with it.
type quietReader struct {
	nc    net.Conn
	first [1]byte
	held  bool // first is filled
	// cut says that somebody has set, or is about to set, a deadline that has
	// passed, for good.
	cut atomic.Bool
}

// Await waits until Read has something to give.
func (q *quietReader) Await() error {
	if q.held {
		return nil
	}
	n, err := q.nc.Read(q.first[:])
	q.held = n > 0
	if q.held {
		return nil // an error comes again
	}
	return err
}

// Read reads the byte that Await got and what is there behind it, without
// waiting. A deadline of TLS that has passed ends a read, not the connection.
func (q *quietReader) Read(p []byte) (int, error) {
	if !q.held || len(p) == 0 {
		return q.nc.Read(p)
	}
	p[0], q.held = q.first[0], false
	if len(p) == 1 {
		return 1, nil
	}
	if err := q.nc.SetReadDeadline(longAgo); err != nil {
		return 1, nil
	}
	n, err := q.nc.Read(p[1:])
	_ = q.nc.SetReadDeadline(noDeadline) // if it fails, so does the next read
	if q.cut.Load() {
		_ = q.nc.SetReadDeadline(longAgo)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return n + 1, err
}
