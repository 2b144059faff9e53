package engine

import (
	"context"
	"fmt"
	"net"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/proxy/answer"
	"github.com/weirproxy/weir/internal/proxy/entry"
	"github.com/weirproxy/weir/internal/proxy/http1"
	"github.com/weirproxy/weir/internal/proxy/listener"
	"github.com/weirproxy/weir/internal/proxy/route"
	"github.com/weirproxy/weir/internal/proxy/tlsedge"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

// front is a listener that serves: the address, TLS, the codec and the table
// of routes. It lives as long as its address; everything behind that is
// replaced in place.
type front struct {
	engine *Engine
	ln     *listener.Listener // nil until the front inherits it
	heirOf *front             // whose address it gets when its generation begins; nil: it opened its own
	tls    *tlsedge.Server    // nil: in the clear
	router *route.Router

	inherited bool // another front has the address now; guarded by Engine.apply

	// server serves connections accepted from now on. It is replaced when
	// limits change; the connections of the old one end one by one, each with
	// the answer to a request, so that none of these is lost.
	server atomic.Pointer[server]
	serves sync.Once

	// ctx is that of every exchange; cut ends it.
	ctx context.Context
	cut context.CancelFunc

	mu     sync.Mutex
	spec   *snapshot.Listener
	table  tableState
	former []*server // that may have connections still
}

// server is the codec of a front with the stages between it and the routes.
type server struct {
	codec  *http1.Server
	answer *answer.Stage
	entry  *entry.Stage
}

// keeps tells whether the address and the presence of TLS stay the same.
func (f *front) keeps(l *snapshot.Listener) bool {
	return f.spec.Network == l.Network && f.spec.Address == l.Address && (f.tls != nil) == (l.TLS != nil)
}

// place is the address as written, whoever has it.
func (f *front) place() string { return placeOf(f.spec) }

func placeOf(l *snapshot.Listener) string { return l.Network + " " + l.Address }

// newFront makes a front without an address: it inherits one.
func (e *Engine) newFront(l *snapshot.Listener) (*front, error) {
	f := &front{engine: e, spec: l, router: route.NewRouter(route.Build(nil))}
	if l.TLS != nil {
		server, err := tlsedge.NewServer(f.tlsConfig(l))
		if err != nil {
			return nil, fmt.Errorf("listener %s: %w", l.Spec.Name, err)
		}
		f.tls = server
	}
	f.server.Store(f.newServer(l))
	f.ctx, f.cut = context.WithCancel(e.ctx)
	return f, nil
}

func (e *Engine) openFront(l *snapshot.Listener) (*front, error) {
	f, err := e.newFront(l)
	if err != nil {
		return nil, err
	}
	if f.ln, err = listener.Open(f.listenerConfig()); err != nil {
		f.cut()
		return nil, err
	}
	return f, nil
}

func (f *front) listenerConfig() listener.Config {
	l := f.spec
	return listener.Config{
		Name: l.Spec.Name, Network: l.Network, Address: l.Address,
		MaxConnections: l.Spec.Limits.MaxConnections, MaxPerClient: l.Spec.Limits.MaxConnectionsPerClient,
		IDs: &f.engine.connIDs, Log: f.engine.log,
	}
}

// inherit takes the open address of the front that had it.
func (f *front) inherit() {
	if f.heirOf != nil {
		f.ln = f.heirOf.ln.HandOver(f.listenerConfig())
		f.heirOf.inherited, f.heirOf = true, nil
	}
}

// update takes over what changed, part by part: certificates without touching
// a connection, limits for connections from now on.
func (f *front) update(l *snapshot.Listener) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.spec.Hash == l.Hash {
		f.spec = l // the same content, but perhaps at another place in the file
		return nil
	}
	if f.tls != nil {
		if err := f.tls.Update(f.tlsConfig(l)); err != nil {
			return err
		}
	}
	f.ln.SetLimits(l.Spec.Limits.MaxConnections, l.Spec.Limits.MaxConnectionsPerClient)
	if !sameServer(f.spec, l) {
		old := f.server.Swap(f.newServer(l))
		old.codec.Retire()
		f.former = append(slices.DeleteFunc(f.former, (*server).empty), old)
	}
	f.spec = l
	return nil
}

func (s *server) empty() bool { return s.codec.Stats.Open.Load() == 0 }

// servers are all that may have connections, the present one first.
func (f *front) servers() []*server {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*server{f.server.Load()}, f.former...)
}

// sameServer tells whether the codec and the stages around it need no change.
func sameServer(a, b *snapshot.Listener) bool {
	x, y := a.Spec, b.Spec
	return x.Limits == y.Limits && x.Timeouts == y.Timeouts && reflect.DeepEqual(x.Forwarded, y.Forwarded)
}

func (f *front) tlsConfig(l *snapshot.Listener) tlsedge.Config {
	phases := phasesOf(&l.Spec.Timeouts)
	return tlsedge.Config{
		Spec: *l.Spec.TLS, Material: l.TLS, NextProtos: []string{"http/1.1"},
		Phases: &phases, Dog: &f.engine.dog,
	}
}

func (f *front) newServer(l *snapshot.Listener) *server {
	e := f.engine
	own := new(server)
	own.entry = entry.New(f.router, entry.Config{
		Trust: l.Trust, RFC7239: l.Spec.Forwarded.RFC7239, Via: l.Spec.Forwarded.Via, Listener: l.Spec.Name,
	})
	own.answer = answer.New(own.entry, answer.Config{Log: e.log})
	limits, timeouts := l.Spec.Limits, l.Spec.Timeouts
	own.codec = http1.NewServer(http1.ServerConfig{
		Limits: http1.Limits{
			MaxHeaderCount: limits.MaxHeaderCount, MaxHeaderBytes: int64(limits.MaxHeaderBytes),
			MaxURIBytes: int64(limits.MaxURIBytes), MaxBodyBytes: int64(limits.MaxBodyBytes),
		},
		Service: own.answer,
		Refuse: func(_ context.Context, req *stream.Request, fault *stream.Fault) *stream.Response {
			return own.answer.Respond(req, fault)
		},
		Done: f.done, Go: e.spawn, Dog: &e.dog, Phases: phasesOf(&timeouts),
		MaxRequests: limits.MaxRequests, MaxAge: time.Duration(timeouts.MaxAge),
	})
	return own
}

// done records an exchange. What we cut at the end of the grace period looks to
// the stages like a client that left; it did not.
func (f *front) done(req *stream.Request) {
	if fault := req.Exchange.Fault; fault != nil && fault.Kind == stream.ClientGone && f.ctx.Err() != nil {
		req.Exchange.Fault = &stream.Fault{Kind: stream.Draining, Limit: "grace", Cause: fault.Cause}
	}
	f.engine.recorder.Done(req)
}

// rateGrace is how long a body may take before its rate is judged.
const rateGrace = 10 * time.Second

// phasesOf gives every phase its limit. The upstream ones are set by the
// cluster; here they have the ceiling of a tunnel, which no client reaches.
func phasesOf(t *config.ListenerTimeouts) stream.PhaseLimits {
	seconds := func(d config.Duration) time.Duration { return time.Duration(d) }
	var l stream.PhaseLimits
	l[stream.PhaseProxyHeader] = stream.PhaseLimit{Ceiling: seconds(t.Hello)}
	l[stream.PhaseHello] = stream.PhaseLimit{Ceiling: seconds(t.Hello)}
	l[stream.PhasePreface] = stream.PhaseLimit{Ceiling: seconds(t.Head)}
	l[stream.PhaseHandshake] = stream.PhaseLimit{Ceiling: seconds(t.Handshake)}
	l[stream.PhaseIdle] = stream.PhaseLimit{Ceiling: seconds(t.Idle)}
	l[stream.PhaseHead] = stream.PhaseLimit{Ceiling: seconds(t.Head)}
	l[stream.PhaseBody] = stream.PhaseLimit{Idle: seconds(t.BodyIdle), MinRate: int64(t.MinRate), Grace: rateGrace}
	l[stream.PhaseWait] = stream.PhaseLimit{Ceiling: waitCeiling}
	l[stream.PhaseWrite] = stream.PhaseLimit{Idle: seconds(t.WriteIdle), MinRate: int64(t.MinRate), Grace: rateGrace}
	l[stream.PhaseTunnel] = stream.PhaseLimit{Idle: seconds(t.TunnelIdle)}
	l[stream.PhaseLinger] = stream.PhaseLimit{Ceiling: lingerCeiling}
	for p := stream.PhaseUpstreamSend; p < stream.NumPhases; p++ {
		l[p] = stream.PhaseLimit{Ceiling: waitCeiling}
	}
	return l
}

const (
	// waitCeiling ends a wait that the timeouts of routes should have ended.
	waitCeiling = 24 * time.Hour
	// lingerCeiling is how long the rest of a refused request is read, so that
	// the client sees the answer instead of a reset.
	lingerCeiling = 2 * time.Second
)

// serve starts to accept, once.
func (f *front) serve() {
	f.serves.Do(func() {
		name := f.spec.Spec.Name
		f.engine.retired.Go(func() {
			if err := f.ln.Serve(f.handle); err != nil {
				f.engine.log.Error("a listener accepts no more; a restart opens it again", "listener", name, "err", err)
			}
		})
	})
}

// handle carries one connection to its end.
func (f *front) handle(nc net.Conn, facts *stream.Conn) {
	ctx := f.ctx
	if f.tls != nil {
		secured, err := f.tls.Handshake(ctx, nc, facts)
		if err != nil {
			f.engine.log.Debug("TLS handshake failed", "listener", facts.Listener, "client", facts.Remote, "err", err)
			return
		}
		nc = secured
	}
	f.server.Load().codec.Serve(ctx, nc, facts)
}

// stop closes the address; connections are told to end. When the address lives
// on, idle ones are told with their next answer: for their clients nothing
// ended, so a request may be on its way.
func (f *front) stop() {
	f.ln.Stop()
	for _, s := range f.servers() {
		if f.inherited {
			s.codec.Retire()
		} else {
			s.codec.Drain()
		}
	}
}

// wait returns when all connections have ended; when ctx ends first it closes
// those that are left, and ends what they wait for: an upstream that does not
// answer, for one.
func (f *front) wait(ctx context.Context) {
	defer f.cut()
	if f.ln.Wait(ctx) == nil {
		return
	}
	f.engine.log.Warn("connections were cut that did not end in time", "listener", f.spec.Spec.Name, "open", f.ln.Stats.Open.Load())
	f.cut()
	f.ln.CloseAll()
	_ = f.ln.Wait(context.Background()) // their handlers end at once
}
