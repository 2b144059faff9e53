package tlsedge

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// Config is what a Server is made of.
type Config struct {
	// Spec has every default filled in; Material is what it refers to.
	Spec     config.ListenerTLS
	Material *snapshot.ListenerTLS
	// NextProtos are the protocols offered by ALPN, the preferred first.
	NextProtos []string
	// Phases has the limit of stream.PhaseHandshake. Only its times count; as
	// a handshake is short, the shorter of them bounds all of it.
	Phases *stream.PhaseLimits
	// Dog watches the handshakes. Update does not look at it.
	Dog *watchdog.Dog
}

// ServerStats are the counters of a Server.
type ServerStats struct {
	Done     atomic.Int64             // handshakes that succeeded
	Resumed  atomic.Int64             // those of them that resumed a session
	Failed   [NumReasons]atomic.Int64 // by Reason
	Underway atomic.Int64             // handshakes begun and not ended
	Waiting  atomic.Int64             // those of them that wait for a slot (max_handshakes)
	Updates  atomic.Int64             // changes taken over
	Rejected atomic.Int64             // changes refused: the state before stays in use
}

// Server ends TLS for the connections of one listener.
type Server struct {
	Stats ServerStats

	dog    *watchdog.Dog
	base   *tls.Config // only asks choose for the config of a connection
	master [32]byte    // ticket keys are derived from it; never leaves the process
	state  atomic.Pointer[state]
	update sync.Mutex // one Update at a time
}

// NewServer compiles cfg.
func NewServer(cfg Config) (*Server, error) {
	s := &Server{dog: cfg.Dog}
	rand.Read(s.master[:]) // never fails (crypto/rand)
	s.base = &tls.Config{GetConfigForClient: s.choose, MinVersion: tls.VersionTLS12}
	st, err := s.compile(cfg)
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	s.state.Store(st)
	return s, nil
}

// Update takes a changed configuration over for handshakes that begin from now
// on; nothing happens to connections. When it returns an error, what was in
// use stays in use.
func (s *Server) Update(cfg Config) error {
	s.update.Lock()
	defer s.update.Unlock()
	st, err := s.compile(cfg)
	if err != nil {
		s.Stats.Rejected.Add(1)
		return fmt.Errorf("tls: %w; the certificates and trust in use before stay in use", err)
	}
	old := s.state.Load()
	if st.hash == old.hash {
		return nil
	}
	if cap(st.slots) == cap(old.slots) {
		st.slots, st.quicSlots = old.slots, old.quicSlots // the handshakes under way keep counting
	}
	s.state.Store(st)
	s.Stats.Updates.Add(1)
	return nil
}

// Handshake ends TLS on nc and fills facts.TLS. An error is a *Failure, is
// counted, and leaves nc to the caller to close, who has nothing left to write
// to it: the alert is sent.
func (s *Server) Handshake(ctx context.Context, nc net.Conn, facts *stream.Conn) (net.Conn, error) {
	s.Stats.Underway.Add(1)
	defer s.Stats.Underway.Add(-1)
	hs := &handshake{nc: nc, expired: make(chan struct{})}
	s.dog.Watch(&hs.guard, s.state.Load().limits, hs.expire, nil)
	defer hs.guard.Release()
	defer hs.free() // after a panic, too

	hs.guard.EnterUntil(phaseHandshake, ctx, time.Time{})
	wrapped := &conn{Conn: nc, handshake: hs}
	tc := tls.Server(wrapped, s.base)
	// Not HandshakeContext: with a context that can end it starts a goroutine,
	// and the guard watches ctx already.
	err := tc.Handshake()
	_, verdict := hs.guard.Fired()
	if !hs.guard.Rest() && verdict == watchdog.None {
		verdict = watchdog.TooLong // it fired between the two calls
	}
	if err != nil || verdict != watchdog.None {
		failure := &Failure{Reason: reasonOf(err, hs, verdict), Cause: err}
		s.Stats.Failed[failure.Reason].Add(1)
		hs.free()
		hs.linger(failure.Reason)
		return nil, failure
	}
	wrapped.handshake = nil
	cs := tc.ConnectionState()
	facts.TLS = factsOf(&cs, hs.name)
	s.Stats.Done.Add(1)
	if cs.DidResume {
		s.Stats.Resumed.Add(1)
	}
	return tc, nil
}

func factsOf(cs *tls.ConnectionState, name string) *stream.TLS {
	facts := &stream.TLS{
		Version: cs.Version, Suite: cs.CipherSuite, ServerName: name,
		ALPN: cs.NegotiatedProtocol, Resumed: cs.DidResume,
	}
	if len(cs.PeerCertificates) > 0 {
		facts.Client = identityOf(cs.PeerCertificates[0])
	}
	return facts
}

// choose picks the config for a hello. It runs on the goroutine of the
// handshake once the whole hello is there, and waits here for a slot: clients
// that connect and say nothing cannot take the slots of those who do.
func (s *Server) choose(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	hs := hello.Conn.(*conn).handshake
	st := s.state.Load()
	hs.name = serverName(hello.ServerName)
	g := st.lookup(hs.name)
	if g == nil {
		hs.unknownName = true
		return st.refuse, nil
	}
	if err := hs.wait(st.slots, &s.Stats.Waiting); err != nil {
		return nil, err
	}
	g.refreshTickets(&s.master, st.trust, time.Now())
	return g.config, nil
}

// Expiry is how long a certificate of the listener lasts.
type Expiry struct {
	Name     string // its first DNS name, or its subject
	NotAfter time.Time
	Days     float64 // from now; negative once it has expired
}

// Expiries lists the certificates in use in the order of the document; of those
// with one name (RSA and ECDSA) the one that ends first.
func (s *Server) Expiries(now time.Time) []Expiry {
	st := s.state.Load()
	list := make([]Expiry, 0, len(st.leaves))
	for _, leaf := range st.leaves {
		x := Expiry{Name: leaf.Subject.String(), NotAfter: leaf.NotAfter, Days: leaf.NotAfter.Sub(now).Hours() / 24}
		if len(leaf.DNSNames) > 0 {
			x.Name = leaf.DNSNames[0]
		}
		at := slices.IndexFunc(list, func(y Expiry) bool { return y.Name == x.Name })
		switch {
		case at < 0:
			list = append(list, x)
		case x.NotAfter.Before(list[at].NotAfter):
			list[at] = x
		}
	}
	return list
}
