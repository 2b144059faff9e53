package engine

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/proxy/http3"
	"github.com/weirproxy/weir/internal/proxy/listener"
	"github.com/weirproxy/weir/internal/proxy/tlsedge"
	"github.com/weirproxy/weir/internal/proxy/udp"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

// datagrams is an open UDP socket: of a listener with protocol udp, or of
// HTTP/3 beside a listener for HTTP. It may be handed from front to front.
type datagrams struct {
	engine *Engine
	pc     *net.UDPConn
	// One of the two, from configure on.
	sessions *udp.Server
	http3    *http3.Server

	owner  atomic.Pointer[front]
	serves sync.Once

	// ctx is that of every exchange; cut ends it.
	ctx context.Context
	cut context.CancelFunc
}

// besideTCP is the address of HTTP/3: the port of the same number, also when
// the system chose that.
func besideTCP(l *snapshot.Listener, tcp net.Addr) string {
	bound, err := netip.ParseAddrPort(tcp.String())
	host, _, split := net.SplitHostPort(l.Address)
	if err != nil || split != nil {
		return l.Address
	}
	return net.JoinHostPort(host, strconv.Itoa(int(bound.Port())))
}

func (f *front) openDatagrams(l *snapshot.Listener, address string) (*datagrams, error) {
	pc, err := listener.OpenPacket(listener.Config{Name: l.Spec.Name, Network: "udp", Address: address, Log: f.engine.log})
	if err != nil {
		return nil, err
	}
	d := &datagrams{engine: f.engine, pc: pc}
	d.ctx, d.cut = context.WithCancel(f.engine.ctx)
	return d, nil
}

// configure makes f, l and s what sessions and connections go by from now on.
func (d *datagrams) configure(f *front, l *snapshot.Listener, s *server) {
	d.owner.Store(f)
	switch {
	case l.Spec.Protocol == "udp" && d.sessions == nil:
		d.sessions = udp.NewServer(f.sessionConfig(l))
	case l.Spec.Protocol == "udp":
		d.sessions.SetConfig(f.sessionConfig(l))
	case d.http3 == nil:
		d.http3 = http3.NewServer(f.http3Config(l, s))
	default:
		d.http3.SetConfig(f.http3Config(l, s))
		d.http3.Retire(drainSpread(f.engine.Grace()))
	}
}

func (f *front) sessionConfig(l *snapshot.Listener) udp.ServerConfig {
	e, limits, timeouts := f.engine, l.Spec.Limits, l.Spec.Timeouts
	phases := phasesOf(&timeouts)
	phases[stream.PhaseTunnel].Floor = sessionFloor
	return udp.ServerConfig{
		Listener: l.Spec.Name, Service: f.router, Done: f.done, Go: e.spawn, Dog: &e.dog, Phases: phases, Refuse: e.refusing,
		SessionIdle: time.Duration(timeouts.SessionIdle), SessionMax: time.Duration(timeouts.TunnelMax),
		MaxSessions: limits.MaxConnections, MaxSessionsPerClient: limits.MaxConnectionsPerClient,
		IDs: &e.connIDs, Places: &e.places, Log: e.log,
	}
}

func (f *front) http3Config(l *snapshot.Listener, s *server) http3.ServerConfig {
	e, limits, timeouts := f.engine, l.Spec.Limits, l.Spec.Timeouts
	return http3.ServerConfig{
		Limits: http3.Limits{
			MaxHeaderCount: limits.MaxHeaderCount, MaxHeaderBytes: int64(limits.MaxHeaderBytes),
			MaxURIBytes: int64(limits.MaxURIBytes), MaxBodyBytes: int64(limits.MaxBodyBytes),
		},
		Listener: l.Spec.Name, IDs: &e.connIDs, Places: &e.places, TLSFacts: tlsedge.QUICFacts,
		Service: s.answer, Refuse: s.refuse, Done: f.done, Go: e.spawn, Dog: &e.dog, Phases: phasesOf(&timeouts),
		MaxAbuse:   l.Spec.HTTP3.MaxAbuse,
		MaxStreams: l.Spec.HTTP3.MaxStreams, StreamWindow: int64(l.Spec.HTTP2.StreamWindow), ConnectionWindow: int64(l.Spec.HTTP2.ConnectionWindow),
		MaxRequests: limits.MaxRequests, MaxAge: time.Duration(timeouts.MaxAge), TunnelMax: time.Duration(timeouts.TunnelMax),
		MaxConnections: limits.MaxConnections, MaxConnectionsPerClient: limits.MaxConnectionsPerClient,
		EarlyData: l.Spec.HTTP3.EarlyData, Tight: e.tight, TurnAway: e.refusing, Payer: e.accounts.Of,
	}
}

// port is the number of the bound port.
func (d *datagrams) port() int { return d.pc.LocalAddr().(*net.UDPAddr).Port }

// serve starts to read, once.
func (d *datagrams) serve(f *front) {
	name := f.spec.Spec.Name
	d.serves.Do(func() {
		if d.http3 != nil {
			d.engine.log.Info("serving HTTP/3", "listener", name, "address", d.pc.LocalAddr().String())
		}
		d.engine.retired.Go(func() {
			var err error
			if d.sessions != nil {
				err = d.sessions.Serve(d.ctx, d.pc)
			} else {
				err = d.http3.Serve(d.ctx, d.pc, d.tlsConfig())
			}
			if err != nil && d.ctx.Err() == nil {
				d.engine.log.Error("a listener reads no more datagrams; a restart opens it again", "listener", name, "err", err)
			}
		})
	})
}

// tlsConfig is that of whoever owns the socket at the time of a handshake.
func (d *datagrams) tlsConfig() *tls.Config {
	cfg := d.owner.Load().tls.QUICConfig()
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		return d.owner.Load().tls.QUICConfig().GetConfigForClient(hello)
	}
	return cfg
}

// stop lets no session or connection begin and tells those that are open to go.
func (d *datagrams) stop(over time.Duration) {
	if d.sessions != nil {
		d.sessions.Drain()
	} else {
		d.http3.Drain(over)
	}
}

// wait closes the socket when all have gone, or cuts them when ctx ends.
func (d *datagrams) wait(ctx context.Context) {
	defer d.close()
	wait, closeAll := d.waits()
	if wait(ctx) == nil {
		return
	}
	d.cut()
	closeAll()
	_ = wait(context.Background()) // they end at once
}

func (d *datagrams) waits() (wait func(context.Context) error, closeAll func()) {
	if d.sessions != nil {
		return d.sessions.Wait, d.sessions.CloseAll
	}
	return d.http3.Wait, d.http3.CloseAll
}

func (d *datagrams) close() {
	d.cut()
	_ = d.pc.Close()
}

// retirePackets ends a socket that its front needs no more.
func (e *Engine) retirePackets(d *datagrams) {
	grace := e.Grace()
	d.stop(drainSpread(grace))
	e.retired.Go(func() {
		ctx, cancel := context.WithTimeout(e.ctx, grace)
		defer cancel()
		d.wait(ctx)
	})
}
