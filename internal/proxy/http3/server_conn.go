package http3

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// serverConn is one downstream connection. Each request has a goroutine; what
// they share is under mu.
type serverConn struct {
	srv    *Server
	cfg    *ServerConfig
	conn   *quic.Conn
	facts  *stream.Conn
	opened time.Time
	expiry time.Time // no further request after it; zero: never
	posts  posts
	score  score
	peer   peer

	mu       sync.Mutex
	guard    watchdog.Guard // of the wait between requests
	control  *quic.SendStream
	active   int    // requests under way
	nextID   uint64 // behind the highest stream that was served
	refuseAt uint64 // streams from it on are rejected, once final
	settled  bool   // SETTINGS have come
	leaving  bool   // the first GOAWAY is sent
	final    bool   // the second one is
	closed   bool
	timer    *time.Timer // of leaving; one for the connection

	requests, bytesIn, bytesOut atomic.Int64
}

// serve is the life of a connection.
func (s *Server) serve(conn *quic.Conn, cfg *ServerConfig) {
	c := &serverConn{srv: s, cfg: cfg, conn: conn, opened: time.Now()}
	defer c.contain()
	ticket, _ := conn.Context().Value(ticketKey{}).(*ticket)
	if !c.shake(ticket) {
		return
	}
	c.open()
	defer c.shut()
	c.accept()
}

// shake waits for the end of the handshake, unless the client sends early data.
func (c *serverConn) shake(t *ticket) bool {
	if !c.conn.ConnectionState().Used0RTT && !c.handshaken(c.conn.Context()) {
		return false
	}
	if t != nil && !t.proved(c.cfg) {
		c.conn.CloseWithError(codeExcessiveLoad, "max_connections_per_client")
		return false
	}
	return true
}

// handshaken waits for the end of the handshake.
func (c *serverConn) handshaken(ctx context.Context) bool {
	select {
	case <-c.conn.HandshakeComplete():
		return true
	case <-ctx.Done():
		return false
	}
}

func (c *serverConn) early() bool {
	select {
	case <-c.conn.HandshakeComplete():
		return false
	default:
		return true
	}
}

func (c *serverConn) open() {
	cfg := c.cfg
	state := c.conn.ConnectionState().TLS
	c.facts = &stream.Conn{
		Listener: cfg.Listener, Accepted: c.opened,
		Remote: addrOf(c.conn.RemoteAddr()), Local: addrOf(c.conn.LocalAddr()),
		Places: cfg.Places,
	}
	if cfg.IDs != nil {
		c.facts.ID = cfg.IDs.Add(1)
	}
	if cfg.TLSFacts != nil {
		c.facts.TLS = cfg.TLSFacts(&state)
	} else {
		c.facts.TLS = &stream.TLS{Version: state.Version, Suite: state.CipherSuite, ALPN: state.NegotiatedProtocol, Resumed: state.DidResume}
	}
	if cfg.MaxAge > 0 {
		spread := cfg.MaxAge / 10
		c.expiry = c.opened.Add(cfg.MaxAge - spread + rand.N(2*spread+1))
	}
	c.posts = posts{dog: cfg.Dog, limits: cfg.limits}
	c.score.begin(c.cfg.MaxAbuse, c.opened, func() { c.srv.Stats.Abusive.Add(1) })
	c.peer = peer{conn: c.conn, score: &c.score, settings: c.settings, goAway: func(uint64) {}}
	cfg.Dog.Watch(&c.guard, cfg.limits, c.expire, nil)
	s := c.srv
	s.Stats.Open.Add(1)
	s.Stats.Opened.Add(1)
	s.mu.Lock()
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	c.mu.Lock()
	c.rephase()
	c.mu.Unlock()
}

func (c *serverConn) shut() {
	c.conn.CloseWithError(codeNoError, "")
	c.mu.Lock()
	c.closed = true
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Unlock()
	c.guard.Release()
	c.posts.close()
	s := c.srv
	s.Stats.Open.Add(-1)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.closedRequests += c.requests.Load()
	s.settle()
}

// accept takes streams until the connection ends.
func (c *serverConn) accept() {
	control, err := openControl(c.conn, &c.cfg.Limits, true)
	if err != nil {
		return
	}
	c.mu.Lock()
	c.control = control
	c.mu.Unlock()
	if c.srv.draining.Load() {
		c.leave(0)
	}
	c.cfg.Go(c.acceptUni)
	for {
		str, err := c.conn.AcceptStream(c.conn.Context())
		if err != nil {
			return
		}
		if !c.begin(str) {
			str.CancelRead(codeRequestRejected)
			str.CancelWrite(codeRequestRejected)
			str.ReleaseStreamCredit()
			if c.score.add(pointsReset) != nil {
				c.end(fatal(codeExcessiveLoad, "requests behind GOAWAY"))
			}
			continue
		}
		st := &serverStream{c: c, str: str}
		c.cfg.Go(st.serve)
	}
}

// acceptUni takes unidirectional streams, of which there are never more than
// maxUniStreams.
func (c *serverConn) acceptUni() {
	defer c.contain()
	for {
		str, err := c.conn.AcceptUniStream(c.conn.Context())
		if err != nil {
			return
		}
		c.cfg.Go(func() {
			defer c.contain()
			if err := c.peer.serve(str, c.claim); err != nil {
				c.end(err)
			}
		})
	}
}

func (c *serverConn) claim(typ uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peer.claim(typ)
}

func (c *serverConn) settings(bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settled = true
	c.rephase()
}

// end ends the connection because of err, if that is an error of the connection.
func (c *serverConn) end(err error) bool {
	var ce *connError
	if !errors.As(err, &ce) {
		return false
	}
	if c.conn.Context().Err() == nil && ce.code != codeExcessiveLoad {
		c.srv.Stats.Broken.Add(1)
	}
	c.conn.CloseWithError(ce.code, ce.reason)
	return true
}

// begin counts a request in. False: it came behind the last GOAWAY.
func (c *serverConn) begin(str *quic.Stream) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := uint64(str.StreamID())
	if c.closed || c.final && id >= c.refuseAt {
		return false
	}
	c.nextID = max(c.nextID, id+4)
	c.active++
	n := c.requests.Add(1)
	c.rephase()
	if !c.leaving && (c.cfg.MaxRequests > 0 && n >= int64(c.cfg.MaxRequests) || !c.expiry.IsZero() && time.Now().After(c.expiry) ||
		c.cfg.Tight != nil && c.cfg.Tight()) {
		c.leaveIn(0)
	}
	return true
}

// finish counts a request out.
func (c *serverConn) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.active--
	c.rephase()
}

// rephase sets what the guard of the connection watches. mu is held.
func (c *serverConn) rephase() {
	switch {
	case c.closed:
	case c.active > 0:
		c.guard.Rest()
	case c.final:
		c.guard.Rest()
		c.lingerOut()
	case !c.settled:
		c.guard.Enter(uint8(stream.PhasePreface))
	default:
		c.guard.Enter(uint8(stream.PhaseIdle))
	}
}

// expire runs on the dog's goroutine.
func (c *serverConn) expire(phase uint8, v watchdog.Verdict) {
	code, reason := quic.ApplicationErrorCode(codeNoError), "idle"
	if v == watchdog.Shortened {
		c.cfg.Dog.Shortened.Add(1)
	}
	if stream.Phase(phase) == stream.PhasePreface {
		code, reason = codeMissingSettings, "no SETTINGS in time"
	}
	c.cfg.Go(func() { c.conn.CloseWithError(code, reason) }) // it waits for the connection, which the dog must not
}

// goAwayTurn is the time between the two steps of a drain: in it the client
// learns of the first, and what it has sent before arrives.
const goAwayTurn = 500 * time.Millisecond

// leave tells the client to go at some moment within over.
func (c *serverConn) leave(over time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if over > 0 {
		over = rand.N(over)
	}
	c.leaveIn(over)
}

// leaveIn is the first step, after a while. mu is held.
func (c *serverConn) leaveIn(wait time.Duration) {
	if c.leaving || c.closed || c.control == nil {
		return
	}
	c.leaving = true
	c.timer = time.AfterFunc(wait, c.announce)
}

const lastStream = 1<<62 - 4 // a GOAWAY that refuses nothing yet

// announce sends the first GOAWAY.
func (c *serverConn) announce() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.srv.Stats.Drained.Add(1)
	_ = writeGoAway(c.control, lastStream) // a stream that broke ends the connection anyway
	c.timer = time.AfterFunc(goAwayTurn, c.finalise)
}

// finalise sends the second GOAWAY, with the first stream that is not served.
func (c *serverConn) finalise() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.final, c.refuseAt = true, c.nextID
	_ = writeGoAway(c.control, c.refuseAt)
	c.rephase()
}

// lingerOut ends a connection whose last response was written, after time for it
// to arrive: an end of the connection overtakes what is under way. mu is held.
func (c *serverConn) lingerOut() {
	c.timer = time.AfterFunc(goAwayTurn+4*c.conn.ConnectionStats().SmoothedRTT, func() {
		c.conn.CloseWithError(codeNoError, "draining")
	})
}

func (c *serverConn) draining() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leaving
}

// contain is a recover boundary: a panic ends this connection alone.
func (c *serverConn) contain() {
	if p := recover(); p != nil {
		c.panicked(p)
		c.conn.CloseWithError(codeInternalError, "")
	}
}

func (c *serverConn) panicked(p any) {
	c.srv.Stats.Panics.Add(1)
	var id uint64
	if c.facts != nil {
		id = c.facts.ID
	}
	slog.Error("panic while serving a connection",
		"component", "http3", "connection", id, "listener", c.cfg.Listener,
		"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
}

func (c *serverConn) state(now time.Time) ConnState {
	c.mu.Lock()
	active := c.active
	c.mu.Unlock()
	phase := stream.PhaseWait
	if active == 0 {
		phase = stream.PhaseIdle
	}
	return ConnState{
		Facts: c.facts, Phase: phase, Age: now.Sub(c.opened), Streams: active,
		Requests: c.requests.Load(), BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(),
	}
}
