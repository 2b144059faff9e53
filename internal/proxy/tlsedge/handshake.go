package tlsedge

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// The phases that the guard of a handshake knows.
const (
	phaseHandshake = uint8(stream.PhaseHandshake)
	phaseLinger    = phaseHandshake + 1
)

// After a failed handshake the connection is read for a moment: a close with
// unread bytes would reset it and destroy the alert on its way to the client.
const (
	lingerTime  = time.Second
	lingerBytes = 64 << 10
)

func guardLimits(l stream.PhaseLimit) []watchdog.Limit {
	longest := l.Ceiling
	if longest == 0 || l.Idle > 0 && l.Idle < longest {
		longest = l.Idle
	}
	return []watchdog.Limit{phaseHandshake: {Ceiling: longest}, phaseLinger: {Ceiling: lingerTime}}
}

// conn carries the state of a handshake to choose, which only sees the
// connection that tls was given.
type conn struct {
	net.Conn
	handshake *handshake // nil once it is over
}

// NetConn is the connection underneath.
func (c *conn) NetConn() net.Conn { return c.Conn }

// SyscallConn lets a stage look whether the peer has gone.
func (c *conn) SyscallConn() (syscall.RawConn, error) {
	if sc, ok := c.Conn.(syscall.Conn); ok {
		return sc.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// handshake is a handshake under way. Its goroutine owns it; expire, called by
// the dog, uses nc and expired only.
type handshake struct {
	nc          net.Conn
	guard       watchdog.Guard
	expired     chan struct{} // closed when the handshake took too long
	slots       chan struct{} // where it holds a slot; nil when it holds none
	name        string        // SNI, normalised
	unknownName bool
	noSlot      bool
}

// expire wakes every wait of the handshake.
func (hs *handshake) expire(phase uint8, _ watchdog.Verdict) {
	if phase == phaseHandshake {
		close(hs.expired)
	}
	hs.nc.SetDeadline(time.Unix(1, 0))
}

var errNoSlot = errors.New("no slot became free: max_handshakes are under way")

// wait takes a slot; a nil channel has no end of them.
func (hs *handshake) wait(slots chan struct{}, waiting *atomic.Int64) error {
	if slots == nil || hs.slots != nil {
		return nil
	}
	select {
	case slots <- struct{}{}:
		hs.slots = slots
		return nil
	default:
	}
	waiting.Add(1)
	defer waiting.Add(-1)
	select {
	case slots <- struct{}{}:
		hs.slots = slots
		return nil
	case <-hs.expired:
		hs.noSlot = true
		return errNoSlot
	}
}

func (hs *handshake) free() {
	if hs.slots != nil {
		<-hs.slots
		hs.slots = nil
	}
}

// linger lets the client read the alert. It does not hold a slot.
func (hs *handshake) linger(reason Reason) {
	half, ok := hs.nc.(interface{ CloseWrite() error })
	if !ok || reason == Timeout || reason == Canceled || reason == Closed {
		return
	}
	hs.guard.Enter(phaseLinger)
	if half.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, hs.nc, lingerBytes) // ends by close, limit or expire
	}
	hs.guard.Rest()
}
