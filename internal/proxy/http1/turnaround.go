package http1

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/weirproxy/weir/internal/peek"
	"github.com/weirproxy/weir/stream"
)

// turnState is how far a request has come.
type turnState uint8

const (
	turnUnsent turnState = iota
	turnPart             // some bytes of the head, or of what is one with it, have left
	turnSent             // all of that has left; a body may still follow
)

// turnaround is the way from a request to the first bytes of its response.
//
// On a plain socket it is one RawConn.Read. That call forgets, before it calls
// back, that the descriptor was ever readable, and the poller then reports new
// readiness once. So the first callback must find the descriptor empty by a
// read. On a pooled connection that very read is also the check that the
// upstream has not closed it, or sent bytes that no request asked for, since
// its last use; and nothing was sent then, so any request may be sent again
// elsewhere. The callback goes on to write the request; the second one reads.
// Against a write and a read of package net the check costs nothing, and the
// goroutine holds no page while it waits.
type turnaround struct {
	state turnState
	stale bool                  // nothing was sent, the connection is dead
	err   error                 // of the write, or what the stale read found
	step  func(fd uintptr) bool // Client.step, bound once
}

func (t *turnaround) begin() { t.state, t.stale, t.err = turnUnsent, false, nil }

// send sends the request and waits for the first bytes of the response.
func (c *Client) send() *stream.Fault {
	deadline := c.req.Deadline
	if !deadline.IsZero() {
		now := c.startOfSend()
		if !now.Before(deadline) {
			return &stream.Fault{Kind: stream.UpstreamTimeout, Retry: stream.RetryUnsent, Cause: errDeadlinePast}
		}
		if !c.out.inline { // it counts from the end of the upload
			c.up.budget, deadline = deadline.Sub(now), time.Time{}
		} else if deadline.Sub(now) < deadlineNear {
			c.precise = true
			_ = c.nc.SetReadDeadline(deadline)
		}
	}
	c.touched = true
	if c.src.raw == nil {
		return c.sendPlain(deadline)
	}
	c.guard.EnterUntil(uint8(stream.PhaseUpstreamHead), c.ctx, deadline)
	err := c.src.raw.Read(c.turn.step)
	switch {
	case c.turn.stale:
		return c.staleFault()
	case err != nil:
		return c.headFault(err)
	case c.turn.state == turnSent:
		if c.src.err != nil {
			return c.headFault(c.src.err)
		}
		return nil
	case c.turn.err != nil:
		return c.headFault(c.turn.err)
	}
	return c.sendRest(deadline)
}

// startOfSend is the time. Where nothing can have taken any since the attempt began,
// neither a connection nor a body, the cluster stage has just looked.
func (c *Client) startOfSend() time.Time {
	x := &c.req.Exchange
	if x.Reused && c.req.Length == 0 && !x.AttemptStart.IsZero() {
		return x.AttemptStart
	}
	return time.Now()
}

// step is the callback of RawConn.Read.
func (c *Client) step(fd uintptr) bool {
	t := &c.turn
	if t.state == turnSent {
		return c.src.tryRead(fd)
	}
	if _, err := readNow(fd, c.src.first[:]); !errors.Is(err, syscall.EAGAIN) {
		t.stale, t.err = true, err
		return true
	}
	n, err := writeNow(fd, c.out.bytes, nil)
	if n > 0 {
		t.state = turnPart
	}
	if n < len(c.out.bytes) {
		if !errors.Is(err, syscall.EAGAIN) {
			t.err = err
		}
		c.out.bytes = c.out.bytes[n:]
		return true
	}
	c.sent()
	return false
}

// sent is what follows the last byte of the head, or of what is one with it.
func (c *Client) sent() {
	c.turn.state = turnSent
	c.src.err = nil
	c.out.release()
	if c.out.inline {
		c.req.Body.Close() // its memory is free while we wait
	} else {
		c.up.start()
	}
}

// sendRest goes on where the socket was full.
func (c *Client) sendRest(deadline time.Time) *stream.Fault {
	c.guard.EnterUntil(uint8(stream.PhaseUpstreamSend), c.ctx, deadline)
	n, err := c.nc.Write(c.out.bytes)
	if n > 0 {
		c.turn.state = turnPart
	}
	if err != nil {
		return c.headFault(err)
	}
	c.sent()
	c.guard.EnterUntil(uint8(stream.PhaseUpstreamHead), c.ctx, deadline)
	if err := c.src.await(); err != nil {
		return c.headFault(err)
	}
	return nil
}

// sendPlain is send where the descriptor is not ours to use, such as TLS. On
// one that was used before, anything to read means that it is dead: the end of
// TLS comes as bytes too.
func (c *Client) sendPlain(deadline time.Time) *stream.Fault {
	if c.exchanges > 1 {
		if err := c.unasked(deadline); !errors.Is(err, syscall.EAGAIN) {
			c.turn.stale, c.turn.err = true, err
			return c.staleFault()
		}
	}
	return c.sendRest(deadline)
}

// unasked looks for bytes that no request asked for, as readNow does on a plain
// socket: nil is some, syscall.EAGAIN none. They may be on the descriptor, or
// off it already and held by nc, as the rest of a TLS record or as another one.
// For these, a read whose deadline has passed gives what is held, and asks the
// descriptor for nothing.
func (c *Client) unasked(deadline time.Time) error {
	_ = c.nc.SetReadDeadline(longAgo)
	n, err := c.nc.Read(c.src.first[:])
	if c.precise {
		_ = c.nc.SetReadDeadline(deadline)
	} else {
		_ = c.nc.SetReadDeadline(noDeadline)
	}
	switch {
	case n > 0:
		return nil
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return err
	case c.peeker == nil:
		return syscall.EAGAIN
	}
	c.peekErr = syscall.EAGAIN
	_ = c.peeker.Control(c.peekFn) // fails when it is closed on our side, as the write will
	return c.peekErr
}

func (c *Client) peek(fd uintptr) { c.peekErr = peek.Look(fd) }

// staleFault is that of a connection that was dead before anything was sent.
func (c *Client) staleFault() *stream.Fault {
	f := &stream.Fault{Kind: stream.UpstreamClosed, Retry: stream.RetryUnsent, Cause: errStale}
	switch c.turn.err {
	case nil:
		f.Cause = errPoisoned
	case io.EOF:
	default:
		f.Kind, f.Cause = stream.UpstreamReset, c.turn.err
	}
	return f
}
