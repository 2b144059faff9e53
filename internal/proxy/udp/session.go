package udp

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// What waits of a session while its upstream is picked.
const (
	maxQueued      = 64
	maxQueuedBytes = 64 << 10
)

// failedStay is how long a session that got no upstream takes the datagrams of
// its client.
const failedStay = time.Second

var (
	errNoDuplex = errors.New("the service answered a UDP session with something that is not one; route it to a cluster")
	errPanic    = errors.New("the session panicked")
)

// session is one client at one socket. Its goroutine asks the service and
// carries replies; the reader of the socket delivers what the client sends.
type session struct {
	srv    *Server
	cfg    *config
	down   *downstream
	who    tuple
	mark   []byte // see downstream.read
	facts  stream.Conn
	req    stream.Request // of the session's goroutine
	guard  watchdog.Guard
	cancel context.CancelFunc

	datagrams         atomic.Int64 // both ways
	bytesIn, bytesOut atomic.Int64
	seen              int64 // datagrams at the last look of endIfSilent

	mu          sync.Mutex
	upstream    stream.Duplex // nil until it is picked. The reader writes to it under mu
	queue       [][]byte      // what came before that
	queuedBytes int
	over        bool          // nothing is delivered any more
	fault       *stream.Fault // of the delivery
}

func newSession(s *Server, cfg *config, down *downstream, who tuple, mark, first []byte) *session {
	now := time.Now()
	remote := netip.AddrPortFrom(who.from.Addr().Unmap(), who.from.Port())
	local := netip.AddrPortFrom(who.to, down.local.Port())
	x := &session{srv: s, cfg: cfg, down: down, who: who, mark: bytes.Clone(mark)}
	x.facts = stream.Conn{ID: cfg.IDs.Add(1), Listener: cfg.Listener, Remote: remote, Local: local, Accepted: now, Places: cfg.Places}
	x.req = stream.Request{
		Proto: stream.UDP, Conn: &x.facts, Client: remote.Addr(), ID: newID(),
		Body: stream.BytesBody(bytes.Clone(first)), Length: int64(len(first)),
	}
	x.req.Exchange.Start, x.req.Exchange.HeadRead = now, now
	x.datagrams.Store(1)
	x.bytesIn.Store(int64(len(first)))
	return x
}

// newID is 128 random bits.
func newID() string {
	var b [16]byte
	binary.NativeEndian.PutUint64(b[:], rand.Uint64())
	binary.NativeEndian.PutUint64(b[8:], rand.Uint64())
	return hex.EncodeToString(b[:])
}

// deliver passes a datagram of the client on, or keeps a copy until there is
// an upstream. It runs on the reader of the socket and does not wait.
func (x *session) deliver(datagram []byte) {
	x.datagrams.Add(1)
	x.bytesIn.Add(int64(len(datagram)))
	x.guard.Moved(1 + len(datagram)) // an empty one is a sign of life, too
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.over:
		x.srv.Stats.Undelivered.Add(1)
	case x.upstream != nil:
		x.send(datagram)
	case len(x.queue) >= maxQueued || x.queuedBytes+len(datagram) > maxQueuedBytes:
		x.srv.Stats.Overflowed.Add(1)
	default:
		x.queue = append(x.queue, bytes.Clone(datagram))
		x.queuedBytes += len(datagram)
	}
}

// send writes upstream, with mu held. A fault ends the session, a panic too.
func (x *session) send(datagram []byte) {
	defer func() {
		if p := recover(); p != nil {
			x.srv.contain(x, p)
			x.fail(&stream.Fault{Kind: stream.Internal, Cause: errPanic})
		}
	}()
	if _, err := x.upstream.Write(datagram); err != nil {
		x.fail(stream.AsFault(err))
	}
}

// fail ends delivery, with mu held, and wakes the session's goroutine.
func (x *session) fail(f *stream.Fault) {
	x.fault, x.over = f, true
	_ = x.upstream.Close()
}

// run is the life of the session.
func (x *session) run(parent context.Context) {
	ctx, cancel := context.WithCancel(parent)
	x.mu.Lock()
	x.cancel = cancel
	if x.over { // CloseAll was faster
		cancel()
	}
	x.mu.Unlock()
	x.cfg.Dog.Watch(&x.guard, x.cfg.limits, x.expire, nil)
	defer x.leave()
	opened, fault := x.carry(ctx)
	x.finish(fault)
	if !opened && ctx.Err() == nil {
		sleep(ctx, failedStay)
	}
}

// leave is the end of the goroutine, after a panic of Done, too.
func (x *session) leave() {
	if p := recover(); p != nil {
		x.srv.contain(x, p)
	}
	x.cancel()
	x.guard.Release()
	x.srv.table.remove(x)
	x.srv.Stats.Open.Add(-1)
	x.srv.release()
}

// expire runs on the dog's goroutine when the session was silent for too long,
// or has lasted for too long.
func (x *session) expire(_ uint8, v watchdog.Verdict) {
	if v == watchdog.Shortened {
		x.cfg.Dog.Shortened.Add(1)
	}
	x.end()
}

// end ends the session, whatever it is at; any goroutine.
func (x *session) end() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.over = true
	if x.cancel != nil {
		x.cancel()
	}
	if x.upstream != nil {
		_ = x.upstream.Close()
	}
}

// endIfSilent ends a session of which nothing moved since the last look. The
// draining goroutine calls it.
func (x *session) endIfSilent() {
	if n := x.datagrams.Load(); n != x.seen {
		x.seen = n
		return
	}
	x.end()
}

// carry asks the service and carries replies until the session is over; opened
// tells that there was an upstream. Its recover boundary ends this session only.
func (x *session) carry(ctx context.Context) (opened bool, fault *stream.Fault) {
	defer func() {
		if p := recover(); p != nil {
			x.srv.contain(x, p)
			fault = &stream.Fault{Kind: stream.Internal, Cause: errPanic}
			if content := x.req.Exchange.Content; content != nil {
				_ = content.Close()
			}
		}
	}()
	x.guard.EnterUntil(uint8(stream.PhaseWait), ctx, time.Time{})
	resp, err := x.cfg.Service.Serve(ctx, &x.req)
	if err != nil {
		return false, stream.AsFault(err)
	}
	x.req.Exchange.Status = resp.Status
	upstream, ok := resp.Body.(stream.Duplex)
	if !ok {
		_ = resp.Body.Close()
		if f := x.req.Exchange.Fault; f != nil { // an answer was made of it
			return false, f
		}
		return false, &stream.Fault{Kind: stream.Internal, Cause: errNoDuplex}
	}
	defer upstream.Close()
	x.req.Exchange.HeadSent = time.Now()
	x.enterTunnel(ctx)
	if x.open(upstream) {
		err = x.replies(upstream)
	}
	_, verdict := x.guard.Fired()
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.fault != nil:
		return true, x.fault
	case x.over || verdict != watchdog.None || ctx.Err() != nil || err == nil || err == io.EOF:
		return true, nil // silent for long enough, or told to end
	}
	return true, stream.AsFault(err)
}

// enterTunnel begins the watch over silence and duration.
func (x *session) enterTunnel(ctx context.Context) {
	idle, deadline := x.req.Tunnel.Idle, time.Time{}
	if idle == 0 {
		idle = x.cfg.SessionIdle
	}
	longest := x.req.Tunnel.Max
	if longest == 0 {
		longest = x.cfg.SessionMax
	}
	if longest > 0 {
		deadline = x.facts.Accepted.Add(longest)
	}
	x.guard.EnterIdle(uint8(stream.PhaseTunnel), ctx, deadline, idle)
}

// open lets datagrams through, first those that waited. It reports false when
// the session is over already.
func (x *session) open(upstream stream.Duplex) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.over {
		return false
	}
	x.upstream = upstream
	for _, datagram := range x.queue {
		if x.send(datagram); x.over {
			break
		}
	}
	x.queue = nil
	return !x.over
}

// replies carries upstream to downstream.
func (x *session) replies(upstream stream.Duplex) error {
	waiter, _ := upstream.(stream.Awaiter)
	for {
		if waiter != nil {
			if err := waiter.Await(); err != nil {
				return err
			}
		}
		if err := x.reply(upstream); err != nil {
			return err
		}
	}
}

// reply carries one datagram.
func (x *session) reply(upstream stream.Duplex) error {
	buf := buffers.Get().(*[maxDatagram]byte)
	defer buffers.Put(buf)
	n, err := upstream.Read(buf[:])
	if err != nil {
		return err
	}
	x.datagrams.Add(1)
	x.guard.Moved(1 + n)
	if err := x.down.write(buf[:n], x.mark, x.who.from); err != nil {
		x.srv.Stats.WriteErrors.Add(1) // lost, as any datagram may be
		return nil
	}
	x.bytesOut.Add(int64(n))
	x.srv.Stats.DatagramsOut.Add(1)
	x.srv.Stats.BytesOut.Add(int64(n))
	return nil
}

// finish makes the record of the session.
func (x *session) finish(fault *stream.Fault) {
	x.guard.Rest()
	x.mu.Lock()
	x.over, x.upstream, x.queue = true, nil, nil
	x.mu.Unlock()
	facts := &x.req.Exchange
	facts.End = time.Now()
	facts.BytesIn, facts.BytesOut = x.bytesIn.Load(), x.bytesOut.Load()
	if fault != nil {
		x.srv.Stats.Failed.Add(1)
		if facts.Fault == nil {
			facts.Fault = fault
		}
	}
	facts.Draining = x.srv.draining.Load()
	if x.cfg.Done != nil {
		x.cfg.Done(&x.req)
	}
}

func (x *session) state(now time.Time) ConnState {
	phase, _ := x.guard.Fired()
	if phase >= uint8(stream.NumPhases) {
		phase = uint8(stream.PhaseWait)
	}
	return ConnState{
		Facts: &x.facts, Phase: stream.Phase(phase), Age: now.Sub(x.facts.Accepted),
		BytesIn: x.bytesIn.Load(), BytesOut: x.bytesOut.Load(),
	}
}
