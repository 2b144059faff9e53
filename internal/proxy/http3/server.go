package http3

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/weirproxy/weir/internal/account"
	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// ServerConfig is what a Server needs. Nothing in it changes after it was given.
type ServerConfig struct {
	Limits Limits
	// Listener is the name in the facts of each connection; IDs numbers them.
	Listener string
	IDs      *atomic.Uint64
	// Places finds where clients are; may be nil.
	Places stream.Locator
	// TLSFacts makes the facts of a handshake.
	TLSFacts func(*tls.ConnectionState) *stream.TLS
	// Service answers the requests. It never returns an error; one that it
	// returns all the same goes to Refuse.
	Service stream.Service
	// Refuse makes the answer to a request that could not be read; req holds
	// what was understood of it.
	Refuse func(ctx context.Context, req *stream.Request, f *stream.Fault) *stream.Response
	// Done is called once per exchange, after its last byte. May be nil.
	Done func(req *stream.Request)
	// Go starts a goroutine.
	Go     func(func())
	Dog    *watchdog.Dog
	Phases stream.PhaseLimits

	MaxStreams       int   // of a connection at a time; 0: 100
	StreamWindow     int64 // bytes that a stream takes ahead of its reader; 0: 256 KiB
	ConnectionWindow int64 // the same for all streams of a connection; 0: 1 MiB
	// MaxAbuse is how many points a connection may collect; see score. 0: 2000.
	MaxAbuse int
	// MaxRequests and MaxAge of a connection, 0 for none; MaxAge is spread by
	// ten per cent either way.
	MaxRequests int
	MaxAge      time.Duration
	// TunnelMax is the longest duration of a tunnel, 0 for no limit. What the
	// request says (stream.Request.Tunnel) counts more.
	TunnelMax time.Duration
	// MaxConnections and MaxConnectionsPerClient, 0 for none.
	MaxConnections          int
	MaxConnectionsPerClient int
	// Payer, when not nil, is who pays for what an exchange keeps in memory. It is
	// asked for content that is not in memory whole.
	Payer func(req *stream.Request) *account.Account
	// TurnAway, when not nil, refuses connections while it is true.
	TurnAway func() bool
	// Tight, when not nil, ends connections behind their next request while it is
	// true.
	Tight func() bool
	// EarlyData: 0-RTT is taken.
	EarlyData bool

	limits []watchdog.Limit // Phases, made once
	quic   *quic.Config     // made once
}

// Server serves the connections of one UDP socket.
type Server struct {
	Stats Stats

	cfg      atomic.Pointer[ServerConfig]
	date     atomic.Pointer[dateLine]
	door     admission
	draining atomic.Bool

	mu             sync.Mutex
	conns          map[*serverConn]struct{} // touched when one opens or closes only
	closedRequests int64
	transport      *quic.Transport
	listener       *quic.EarlyListener
	empty          chan struct{} // closed when draining and no connection is left
}

// Stats counts what happened; the engine reads it on scrape.
type Stats struct {
	Open        atomic.Int64 // connections open now
	Opened      atomic.Int64 // connections ever
	Handshaking atomic.Int64 // handshakes under way
	Retries     atomic.Int64 // clients asked to prove their address
	Turned      atomic.Int64 // connections refused: max_connections
	TurnedOne   atomic.Int64 // connections refused: max_connections_per_client
	TurnedBusy  atomic.Int64 // connections refused: TurnAway
	Panics      atomic.Int64 // exchanges and connections that ended in a panic
	Upgrades    atomic.Int64 // streams that became tunnels
	Drained     atomic.Int64 // connections that were told to go
	Cut         atomic.Int64 // responses cut off, so that the client notices
	Resets      atomic.Int64 // requests that clients gave up
	Abusive     atomic.Int64 // connections ended because of what they cost
	Broken      atomic.Int64 // connections ended because of a broken rule of the protocol
	Early       atomic.Int64 // requests taken as early data
	// Refused counts requests that could not be read, by kind.
	Refused [stream.NumKinds]atomic.Int64
}

// ConnState is what one connection is doing.
type ConnState struct {
	Facts    *stream.Conn
	Phase    stream.Phase
	Age      time.Duration
	Streams  int
	Requests int64
	BytesIn  int64 // content read
	BytesOut int64 // content written
}

// NewServer makes a Server. It opens nothing.
func NewServer(cfg ServerConfig) *Server {
	s := &Server{conns: make(map[*serverConn]struct{}), empty: make(chan struct{})}
	s.door.init(s)
	s.SetConfig(cfg)
	return s
}

// SetConfig is for connections that come from now on; those that are open keep
// theirs (see Retire).
func (s *Server) SetConfig(cfg ServerConfig) {
	if cfg.MaxStreams <= 0 {
		cfg.MaxStreams = 100
	}
	if cfg.StreamWindow <= 0 {
		cfg.StreamWindow = 256 << 10
	}
	if cfg.ConnectionWindow <= 0 {
		cfg.ConnectionWindow = 1 << 20
	}
	cfg.limits = watchLimits(&cfg.Phases)
	cfg.quic = serverQUIC(&cfg)
	s.cfg.Store(&cfg)
}

// pingPeriod keeps what is between us and the client from forgetting it; a
// client that does not answer for maxSilence is gone.
const (
	pingPeriod = 15 * time.Second
	maxSilence = 45 * time.Second
)

func serverQUIC(cfg *ServerConfig) *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout:           handshakeTime(&cfg.Phases),
		MaxIdleTimeout:                 maxSilence,
		KeepAlivePeriod:                pingPeriod,
		InitialStreamReceiveWindow:     uint64(cfg.StreamWindow),
		MaxStreamReceiveWindow:         uint64(cfg.StreamWindow),
		InitialConnectionReceiveWindow: uint64(cfg.ConnectionWindow),
		MaxConnectionReceiveWindow:     uint64(cfg.ConnectionWindow),
		MaxIncomingStreams:             int64(cfg.MaxStreams),
		MaxIncomingUniStreams:          maxUniStreams,
		RequireStreamCreditRelease:     true,
		Allow0RTT:                      cfg.EarlyData,
	}
}

// handshakeTime is the longest silence inside a handshake; quic-go bounds all
// of it by twice that.
func handshakeTime(phases *stream.PhaseLimits) time.Duration {
	l := phases[stream.PhaseHandshake]
	longest := l.Ceiling
	if longest == 0 || l.Idle > 0 && l.Idle < longest {
		longest = l.Idle
	}
	return longest / 2
}

// Serve serves pc, which stays the caller's to close, until Drain, CloseAll or
// the end of ctx, which ends the connections too. It returns nil when told to stop.
func (s *Server) Serve(ctx context.Context, pc net.PacketConn, tlsConf *tls.Config) error {
	ln, err := s.listen(pc, tlsConf)
	if err != nil {
		return fmt.Errorf("http3: listen for QUIC on %s: %w", pc.LocalAddr(), err)
	}
	defer context.AfterFunc(ctx, s.CloseAll)()
	for {
		conn, err := ln.Accept(ctx)
		if err != nil {
			if errors.Is(err, quic.ErrServerClosed) || ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("http3: accept on %s: %w", pc.LocalAddr(), err)
		}
		cfg := s.cfg.Load()
		cfg.Go(func() { s.serve(conn, cfg) })
	}
}

func (s *Server) listen(pc net.PacketConn, tlsConf *tls.Config) (*quic.EarlyListener, error) {
	var reset quic.StatelessResetKey
	rand.Read(reset[:]) // never fails (crypto/rand)
	t := &quic.Transport{
		Conn: pc, StatelessResetKey: &reset,
		VerifySourceAddress: s.door.mustProve, ConnContext: s.door.admit,
	}
	cfg := s.cfg.Load().quic.Clone()
	cfg.GetConfigForClient = func(*quic.ClientInfo) (*quic.Config, error) { return s.cfg.Load().quic, nil }
	ln, err := t.ListenEarly(tlsConf, cfg)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.transport, s.listener = t, ln
	return ln, nil
}

// Retire tells the connections that are open now to go after their present
// requests, spread over that time. New ones are taken.
func (s *Server) Retire(over time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.leave(over)
	}
}

// Drain takes no new connections and tells those that are open to go after
// their present requests, spread over that time: GOAWAY in two steps (RFC 9114
// section 5.2). Wait waits for their end.
func (s *Server) Drain(over time.Duration) {
	s.draining.Store(true)
	s.mu.Lock()
	ln := s.listener
	s.settle()
	s.mu.Unlock()
	if ln != nil {
		ln.Close()
	}
	s.Retire(over)
}

// settle tells Wait when nothing is left. mu is held.
func (s *Server) settle() {
	if !s.draining.Load() || len(s.conns) > 0 {
		return
	}
	select {
	case <-s.empty:
	default:
		close(s.empty)
	}
}

// Wait waits for the end of every connection after Drain or CloseAll, then
// gives the socket back.
func (s *Server) Wait(ctx context.Context) error {
	select {
	case <-s.empty:
	case <-ctx.Done():
		return fmt.Errorf("http3: wait for %d connections to end: %w", s.Stats.Open.Load(), ctx.Err())
	}
	s.mu.Lock()
	t := s.transport
	s.transport = nil
	s.mu.Unlock()
	if t != nil {
		return t.Close()
	}
	return nil
}

// CloseAll ends everything now.
func (s *Server) CloseAll() {
	s.draining.Store(true)
	s.mu.Lock()
	ln := s.listener
	conns := make([]*serverConn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.settle()
	s.mu.Unlock()
	if ln != nil {
		ln.Close()
	}
	for _, c := range conns {
		c.conn.CloseWithError(codeNoError, "")
	}
}

// Requests is how many requests were read, on all connections.
func (s *Server) Requests() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.closedRequests
	for c := range s.conns {
		n += c.requests.Load()
	}
	return n
}

// Connections yields the state of every open connection, until yield returns false.
func (s *Server) Connections(yield func(ConnState) bool) {
	now := time.Now()
	s.mu.Lock()
	states := make([]ConnState, 0, len(s.conns))
	for c := range s.conns {
		states = append(states, c.state(now))
	}
	s.mu.Unlock()
	for _, state := range states {
		if !yield(state) {
			return
		}
	}
}

// dateLine is the value of the Date field of one second.
type dateLine struct {
	second int64
	text   string
}

// dateNow is the Date of now, which is made once a second.
func (s *Server) dateNow(now time.Time) string {
	line := s.date.Load()
	if second := now.Unix(); line == nil || line.second != second {
		line = &dateLine{second, now.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")}
		s.date.Store(line)
	}
	return line.text
}
