package listener

import (
	"errors"
	"net"
	"net/netip"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/weirproxy/weir/stream"
)

// After a failed accept the loop waits, twice as long each time. An accept
// that fails for want of descriptors succeeds only once others have closed
// theirs; without the wait it would burn a core until then.
const (
	minBackOff = 5 * time.Millisecond
	maxBackOff = time.Second
)

// quiet is the time between two log lines about refused connections.
const quiet = 10 * time.Second

// Serve accepts connections until Stop or HandOver, each on its own goroutine.
// It returns nil then, and may be called once.
func (l *Listener) Serve(handle Handler) error {
	l.SetHandler(handle)
	l.state.Lock()
	if l.state.serving {
		l.state.Unlock()
		return errors.New("listener " + l.name + ": Serve was called twice")
	}
	if l.state.stopped {
		l.state.Unlock()
		return nil
	}
	l.state.serving = true
	l.state.Unlock()
	defer l.release()
	defer close(l.left)
	return l.acceptLoop()
}

func (l *Listener) acceptLoop() error {
	var backOff time.Duration
	var warned time.Time // when a refusal was logged last
	for {
		nc, err := l.ln.Accept()
		if err == nil {
			backOff = 0
			if refused := l.admit(nc); refused != "" && time.Since(warned) >= quiet {
				warned = time.Now()
				l.log.Warn("connections are refused", "limit", refused, "remote", nc.RemoteAddr().String())
			}
			continue
		}
		if l.stopping() {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return err // closed by someone else: accepting can not go on
		}
		l.Stats.AcceptErrors.Add(1)
		// Grown before it is logged, so that a run of failures gives one line at
		// its start and at most one per second after that.
		first := backOff == 0
		backOff = min(max(2*backOff, minBackOff), maxBackOff)
		if first || backOff == maxBackOff {
			l.log.Error("accept failed; trying again"+advice(err), "err", err, "in", backOff)
		}
		if !l.sleep(backOff) {
			return nil
		}
	}
}

// advice is what to do about a failed accept that does not mend itself.
func advice(err error) string {
	if errors.Is(err, syscall.EMFILE) {
		return "; this process has no descriptor left: raise its limit (LimitNOFILE, ulimit -n), or lower max_connections"
	}
	return ""
}

func (l *Listener) stopping() bool {
	select {
	case <-l.stop:
		return true
	default:
		return false
	}
}

// sleep tells whether the time passed without a Stop.
func (l *Listener) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.stop:
		return false
	}
}

// admit starts the goroutine of a connection, or closes it and names the limit
// that refused it. Only the accept loop calls it, so Open can only fall
// between the check and the add.
func (l *Listener) admit(nc net.Conn) (refused string) {
	if l.refuse != nil && l.refuse() {
		l.Stats.RefusedBusy.Add(1)
		nc.Close()
		return "overload"
	}
	if limit := l.max.Load(); limit > 0 && l.Stats.Open.Load() >= limit {
		l.Stats.RefusedFull.Add(1)
		nc.Close()
		return "max_connections"
	}
	c := &connection{nc: nc, facts: stream.Conn{
		ID: l.ids.Add(1), Listener: l.name, Accepted: time.Now(),
		Remote: addrPort(nc.RemoteAddr()), Local: addrPort(nc.LocalAddr()),
		Places: l.places,
	}}
	if !l.clients.enter(c) {
		l.Stats.RefusedClient.Add(1)
		nc.Close()
		return "max_connections_per_client"
	}
	l.Stats.Accepted.Add(1)
	l.Stats.Open.Add(1)
	l.live.Add(1)
	go l.run(c)
	return ""
}

// run is the life of a connection and its recover boundary.
func (l *Listener) run(c *connection) {
	defer l.finish(c)
	(*l.handler.Load())(c.nc, &c.facts)
}

// finish is one deferred call: five of them would make the frame of run so much
// larger, which lies under every wait of the connection. Where that is deep
// enough, the stack of a quiet connection stays at 8 KiB instead of 4.
func (l *Listener) finish(c *connection) {
	if r := recover(); r != nil {
		l.Stats.Panics.Add(1)
		l.log.Error("a connection ended by a panic", "conn", c.facts.ID, "remote", c.facts.Remote.String(),
			"panic", r, "stack", string(debug.Stack()))
	}
	_ = c.nc.Close()
	l.clients.leave(c)
	l.Stats.Open.Add(-1)
	l.release()
}

// addrPort is the address of a TCP peer, an IPv4 one on a socket for both
// families in its plain form; zero for a Unix socket.
func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
