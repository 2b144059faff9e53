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

	"github.com/weirproxy/weir/internal/proxy/listener"
	"github.com/weirproxy/weir/internal/proxy/route"
	"github.com/weirproxy/weir/internal/proxy/tlsedge"
	"github.com/weirproxy/weir/internal/proxy/websocket"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

// front is a listener that serves: the address, TLS, the codecs and the table
// of routes. It lives as long as its address; everything behind that is
// replaced in place.
type front struct {
	engine  *Engine
	ln      *listener.Listener // nil until the front inherits it, and for protocol udp
	heirOf  *front             // whose address it gets when its generation begins; nil: it opened its own
	tls     *tlsedge.Server    // nil: in the clear
	router  *route.Router
	sockets *websocket.Stage // the WebSockets of every server

	inherited bool // another front has the address now; guarded by Engine.apply

	// server serves connections accepted from now on. It is replaced when
	// limits change; the connections of the old one end one by one, each with
	// the answer to a request, so that none of these is lost.
	server atomic.Pointer[server]
	serves sync.Once

	// readHello: a route goes by what a TLS hello asks for; passOn: one passes
	// TLS on that otherwise ends here.
	readHello, passOn atomic.Bool

	// ctx is that of every exchange; cut ends it.
	ctx context.Context
	cut context.CancelFunc

	mu        sync.Mutex
	spec      *snapshot.Listener
	table     tableState
	alpn      []string   // that routes for connections ask for
	former    []*server  // that may have connections still
	datagrams *datagrams // the socket of protocol udp, or of HTTP/3; nil: none
}

// keeps tells whether the address, the protocol and the presence of TLS stay
// the same.
func (f *front) keeps(l *snapshot.Listener) bool {
	return f.place() == placeOf(l) && f.spec.Spec.Protocol == l.Spec.Protocol && (f.tls != nil) == (l.TLS != nil)
}

// place is the address as written, whoever has it.
func (f *front) place() string { return placeOf(f.spec) }

func placeOf(l *snapshot.Listener) string {
	if l.Spec.Protocol == "udp" {
		return "udp " + l.Address
	}
	return l.Network + " " + l.Address
}

// newFront makes a front without an address.
func (e *Engine) newFront(l *snapshot.Listener) (*front, error) {
	f := &front{engine: e, spec: l, router: route.NewRouter(route.Build(nil))}
	f.router.Guard(e.pressure.Grades)
	f.sockets = websocket.New(f.router, websocket.Config{Log: e.log})
	if l.TLS != nil {
		server, err := tlsedge.NewServer(f.tlsConfig(l))
		if err != nil {
			return nil, fmt.Errorf("listener %s: %w", l.Spec.Name, err)
		}
		f.tls = server
	}
	f.ctx, f.cut = context.WithCancel(e.ctx)
	return f, nil
}

// openFront makes a front with an address of its own.
func (e *Engine) openFront(l *snapshot.Listener) (*front, error) {
	f, err := e.newFront(l)
	if err != nil {
		return nil, err
	}
	if err := f.open(l); err != nil {
		f.abandon()
		return nil, err
	}
	return f, f.build(l, f.datagrams)
}

// build makes the server for l, or gives everything back.
func (f *front) build(l *snapshot.Listener, packets *datagrams) error {
	s, err := f.newServer(l, packets)
	if err != nil {
		f.abandon()
		return err
	}
	f.server.Store(s)
	if f.datagrams != nil {
		f.datagrams.configure(f, l, s)
	}
	return nil
}

// abandon gives back what a front has that never served.
func (f *front) abandon() {
	if f.ln != nil {
		f.ln.Stop()
	}
	if f.datagrams != nil {
		f.datagrams.close()
	}
	f.cut()
}

func (f *front) open(l *snapshot.Listener) (err error) {
	if l.Spec.Protocol == "udp" {
		f.datagrams, err = f.openDatagrams(l, l.Address)
		return err
	}
	if f.ln, err = listener.Open(f.listenerConfig()); err != nil || l.Spec.HTTP3 == nil {
		return err
	}
	f.datagrams, err = f.openDatagrams(l, besideTCP(l, f.ln.Addr()))
	return err
}

// heirFront makes a front that gets the open address of heir when its
// generation begins.
func (e *Engine) heirFront(l *snapshot.Listener, heir *front) (*front, error) {
	f, err := e.newFront(l)
	if err != nil {
		return nil, err
	}
	f.heirOf = heir
	packets := heir.packets()
	if l.Spec.HTTP3 != nil && packets == nil {
		if f.datagrams, err = f.openDatagrams(l, besideTCP(l, heir.ln.Addr())); err != nil {
			f.cut()
			return nil, err
		}
		packets = f.datagrams
	}
	return f, f.build(l, packets)
}

func (f *front) listenerConfig() listener.Config {
	l := f.spec
	return listener.Config{
		Name: l.Spec.Name, Network: l.Network, Address: l.Address,
		MaxConnections: l.Spec.Limits.MaxConnections, MaxPerClient: l.Spec.Limits.MaxConnectionsPerClient,
		IDs: &f.engine.connIDs, Log: f.engine.log, Refuse: f.engine.refusing, Places: &f.engine.places,
	}
}

// inherit takes the open address of the front that had it.
func (f *front) inherit() {
	heir := f.heirOf
	if heir == nil {
		return
	}
	if heir.ln != nil {
		f.ln = heir.ln.HandOver(f.listenerConfig())
	}
	if f.datagrams == nil && (f.spec.Spec.HTTP3 != nil || f.spec.Spec.Protocol == "udp") {
		f.datagrams = heir.giveDatagrams()
		f.datagrams.configure(f, f.spec, f.server.Load())
	}
	heir.inherited, f.heirOf = true, nil
}

// update takes over what changed, part by part: certificates without touching
// a connection, limits for connections from now on. What cannot be taken over
// leaves everything as it is.
func (f *front) update(l *snapshot.Listener) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.spec.Hash == l.Hash {
		f.spec = l // the same content, but perhaps at another place in the file
		return nil
	}
	packets, err := f.packetsFor(l)
	if err != nil {
		return err
	}
	next, err := f.serverFor(l, packets)
	if err == nil && f.tls != nil {
		err = f.tls.Update(f.tlsConfig(l))
	}
	if err != nil {
		if packets != nil && packets != f.datagrams {
			packets.close()
		}
		return err
	}
	if f.ln != nil {
		f.ln.SetLimits(l.Spec.Limits.MaxConnections, l.Spec.Limits.MaxConnectionsPerClient)
	}
	gone := f.datagrams
	f.spec, f.datagrams = l, packets
	if gone != nil && gone != packets {
		f.engine.retirePackets(gone)
	}
	if next == nil {
		return nil
	}
	old := f.server.Swap(next)
	old.retire()
	f.former = append(slices.DeleteFunc(f.former, (*server).empty), old)
	if packets != nil {
		packets.configure(f, l, next)
	}
	return nil
}

// packetsFor is the UDP socket that l needs: the present one, a new one, or
// none.
func (f *front) packetsFor(l *snapshot.Listener) (*datagrams, error) {
	switch {
	case l.Spec.Protocol == "udp", l.Spec.HTTP3 != nil && f.datagrams != nil:
		return f.datagrams, nil
	case l.Spec.HTTP3 == nil:
		return nil, nil
	}
	return f.openDatagrams(l, besideTCP(l, f.ln.Addr()))
}

// serverFor is the server for l, or nil when the present one is as good.
func (f *front) serverFor(l *snapshot.Listener, packets *datagrams) (*server, error) {
	if sameServer(f.spec, l) && f.datagrams == packets {
		return nil, nil
	}
	return f.newServer(l, packets)
}

// servers are all that may have connections, the present one first.
func (f *front) servers() []*server {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*server{f.server.Load()}, f.former...)
}

// packets is the UDP socket of the front, or nil.
func (f *front) packets() *datagrams {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.datagrams
}

// giveDatagrams hands the UDP socket to an heir.
func (f *front) giveDatagrams() *datagrams {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.datagrams
	f.datagrams = nil
	return d
}

// addr is the bound address.
func (f *front) addr() net.Addr {
	if f.ln != nil {
		return f.ln.Addr()
	}
	return f.packets().pc.LocalAddr()
}

// sameServer tells whether the codecs and the stages around them need no change.
func sameServer(a, b *snapshot.Listener) bool {
	x, y := a.Spec, b.Spec
	return x.Limits == y.Limits && x.Timeouts == y.Timeouts && x.HTTP2 == y.HTTP2 && reflect.DeepEqual(x.HTTP3, y.HTTP3) &&
		reflect.DeepEqual(x.Forwarded, y.Forwarded) && reflect.DeepEqual(x.ProxyProtocol, y.ProxyProtocol) && reflect.DeepEqual(x.Framed, y.Framed)
}

// tlsConfig offers by ALPN what the listener speaks, and what its routes for
// connections ask for.
func (f *front) tlsConfig(l *snapshot.Listener) tlsedge.Config {
	var protos []string
	if p := l.Spec.Protocol; p == "http" || p == "detect" {
		if l.Spec.HTTP2.Enabled {
			protos = append(protos, protoHTTP2)
		}
		protos = append(protos, protoHTTP1)
	}
	for _, proto := range f.alpn {
		if !slices.Contains(protos, proto) {
			protos = append(protos, proto)
		}
	}
	phases := phasesOf(&l.Spec.Timeouts)
	return tlsedge.Config{
		Spec: *l.Spec.TLS, Material: l.TLS, NextProtos: protos, Phases: &phases, Dog: &f.engine.dog,
	}
}

// The names of protocols in ALPN (RFC 7301 section 6, RFC 9113 section 3.1).
const (
	protoHTTP1 = "http/1.1"
	protoHTTP2 = "h2"
)

// done records an exchange. What we cut at the end of the grace period looks to
// the stages like a client that left; it did not.
func (f *front) done(req *stream.Request) {
	if fault := req.Exchange.Fault; fault != nil && fault.Kind == stream.ClientGone && f.ctx.Err() != nil {
		req.Exchange.Fault = &stream.Fault{Kind: stream.Draining, Limit: "grace", Cause: fault.Cause}
	}
	f.engine.recorder.Done(req)
}

// serve starts to accept, once.
func (f *front) serve() {
	f.serves.Do(func() {
		if f.ln == nil {
			return
		}
		name := f.spec.Spec.Name
		f.engine.retired.Go(func() {
			if err := f.ln.Serve(f.handle); err != nil {
				f.engine.log.Error("a listener accepts no more; a restart opens it again", "listener", name, "err", err)
			}
		})
	})
	if d := f.packets(); d != nil {
		d.serve(f)
	}
}

// stop closes the address; connections are told to end, each at a moment of
// its own within over. When the address lives on, idle ones are told with their
// next answer: for their clients nothing ended, so a request may be on its way.
func (f *front) stop(over time.Duration) {
	if f.ln != nil {
		f.ln.Stop()
	}
	if d := f.packets(); d != nil {
		d.stop(over)
	}
	for _, s := range f.servers() {
		if f.inherited {
			s.retire()
		} else {
			s.drain(over)
		}
	}
	if !f.inherited {
		f.sockets.Drain(over)
	}
}

// wait returns when all connections have ended; when ctx ends first it closes
// those that are left, and ends what they wait for: an upstream that does not
// answer, for one.
func (f *front) wait(ctx context.Context) {
	defer f.cut()
	d := f.packets()
	if d != nil {
		defer d.wait(ctx)
	}
	if f.ln == nil || f.ln.Wait(ctx) == nil {
		return
	}
	f.engine.log.Warn("connections were cut that did not end in time", "listener", f.spec.Spec.Name, "open", f.ln.Stats.Open.Load())
	f.cut()
	f.ln.CloseAll()
	_ = f.ln.Wait(context.Background()) // their handlers end at once
}

// drainSpread is over how much of a grace period connections are told to go:
// not all clients come back at once, and each has most of it left.
func drainSpread(grace time.Duration) time.Duration { return min(grace/4, 10*time.Second) }
