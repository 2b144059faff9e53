package engine

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/internal/proxy/framed"
	"github.com/weirproxy/weir/internal/proxy/http1"
	"github.com/weirproxy/weir/internal/proxy/http2"
	"github.com/weirproxy/weir/internal/proxy/http3"
	"github.com/weirproxy/weir/internal/proxy/pool"
	"github.com/weirproxy/weir/internal/proxy/tcp"
	"github.com/weirproxy/weir/internal/proxy/udp"
	"github.com/weirproxy/weir/stream"
)

// codecs are the client halves of a cluster: what all its connections share.
type codecs struct {
	http1  http1.ClientConfig
	http2  http2.ClientConfig
	loads  http2.ClientConfig // of streams of load reports
	framed framed.ClientConfig
	http3  *http3.Dialer // nil: not spoken
	udp    udp.ClientStats
}

func (u *upstream) assembleCodecs() {
	spec, e := &u.spec.Spec, u.engine
	phases := upstreamPhases(spec)
	count, size := spec.Limits.MaxHeaderCount, int64(spec.Limits.MaxHeaderBytes)
	u.codecs.http1 = http1.ClientConfig{
		Limits: http1.Limits{MaxHeaderCount: count, MaxHeaderBytes: size}, Dog: &e.dog, Phases: phases, Go: e.spawn, Payer: e.accounts.Of,
	}
	scheme := "http"
	if u.tls != nil {
		scheme = "https"
	}
	h := &spec.HTTP2
	for _, c := range []*http2.ClientConfig{&u.codecs.http2, &u.codecs.loads} {
		c.Limits = http2.Limits{MaxHeaderCount: count, MaxHeaderBytes: size}
		c.MaxStreams, c.StreamWindow, c.ConnectionWindow = h.MaxStreams, int64(h.StreamWindow), int64(h.ConnectionWindow)
		c.PingInterval, c.PingTimeout, c.Scheme = time.Duration(h.PingInterval), time.Duration(h.PingTimeout), scheme
		c.Dog, c.Phases, c.Go, c.Log = &e.dog, phases, e.spawn, e.log.With("cluster", spec.Name)
	}
	if s := spec.LoadStream; s != nil {
		u.codecs.loads.Phases[stream.PhaseUpstreamBody] = stream.PhaseLimit{Idle: 2 * time.Duration(s.Silence)} // the reader is stricter
	}
	u.codecs.http2.Payer = e.accounts.Of
	if spec.Framing != nil {
		u.codecs.framed = framed.ClientConfig{Framing: *spec.Framing, Dog: &e.dog, Phases: phases}
	}
	if spec.Protocol == "h3" {
		u.codecs.http3 = http3.NewDialer(http3.ClientConfig{
			Limits: http3.Limits{MaxHeaderCount: count, MaxHeaderBytes: size}, Dog: &e.dog, Phases: phases, Go: e.spawn, Payer: e.accounts.Of,
			MaxStreams: h.MaxStreams, StreamWindow: int64(h.StreamWindow), ConnectionWindow: int64(h.ConnectionWindow),
		})
	}
}

// closeSocket closes the socket of HTTP/3, once nothing uses it any more.
func (u *upstream) closeSocket() {
	if u.codecs.http3 == nil {
		return
	}
	if u.load.Requests() == 0 || u.engine.ctx.Err() != nil {
		_ = u.codecs.http3.Close()
		return
	}
	u.engine.retired.Go(func() { // tunnels that outlive the grace period
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for u.load.Requests() > 0 && u.engine.ctx.Err() == nil {
			select {
			case <-tick.C:
			case <-u.engine.ctx.Done():
			}
		}
		_ = u.codecs.http3.Close()
	})
}

// carriage is the transport of an endpoint: exchanges go by the protocol of the
// cluster, connections and sessions as they are.
type carriage struct {
	exchanges endpoint.Transport
	streams   *tcp.Transport
	sessions  *udp.Transport
}

func (u *upstream) carriage(ep *endpoint.Endpoint) *carriage {
	return &carriage{
		exchanges: u.exchanges(ep),
		streams:   tcp.NewTransport(tcp.TransportConfig{Endpoint: ep, Dial: u.dialStream(ep)}),
		sessions:  udp.NewTransport(udp.TransportConfig{Endpoint: ep, Dial: u.dialSession(ep), Stats: &u.codecs.udp}),
	}
}

// Serve makes one attempt. See endpoint.Transport.
func (c *carriage) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	switch {
	case req.Proto == stream.TCP, req.Method == "CONNECT" && req.Upgrade == "":
		return c.streams.Serve(ctx, req)
	case req.Proto == stream.UDP:
		return c.sessions.Serve(ctx, req)
	}
	return c.exchanges.Serve(ctx, req)
}

// Drain implements endpoint.Transport.
func (c *carriage) Drain() {
	c.exchanges.Drain()
	c.streams.Drain()
	c.sessions.Drain()
}

// Connections implements endpoint.Transport.
func (c *carriage) Connections() (open, idle int) {
	open, idle = c.exchanges.Connections()
	streams, _ := c.streams.Connections()
	sessions, _ := c.sessions.Connections()
	return open + streams + sessions, idle
}

// Horizon is what the pool has learned, if there is one that learns.
func (c *carriage) Horizon() (time.Duration, bool) {
	if p, ok := c.exchanges.(interface{ Horizon() (time.Duration, bool) }); ok {
		return p.Horizon()
	}
	return 0, false
}

// exchanges is the transport of the cluster's protocol.
func (u *upstream) exchanges(ep *endpoint.Endpoint) endpoint.Transport {
	spec := &u.spec.Spec
	if spec.ProxyProtocol != "off" {
		return pool.NewExclusive(u.group, ep, u.dialExclusive(ep))
	}
	switch {
	case spec.Protocol == "h3":
		return pool.NewMux(u.group, ep, u.dialHTTP3(ep))
	case spec.Protocol == "framed":
		return pool.NewTransport(u.group, ep, u.dialFramed(ep))
	case spec.Protocol == "h2" || spec.Protocol == "h2c":
		return pool.NewMux(u.group, ep, u.dialHTTP2(ep))
	case spec.Protocol == "auto" && u.tls != nil:
		return pool.NewAuto(u.group, ep, u.dialAuto(ep))
	}
	return pool.NewTransport(u.group, ep, u.dialHTTP1(ep))
}

func (u *upstream) dialHTTP1(ep *endpoint.Endpoint) pool.Dial[*http1.Client] {
	return func(ctx context.Context, deadline time.Time, release func(reusable bool)) (*http1.Client, net.Conn, error) {
		nc, _, err := u.connect(ctx, ep, deadline, nil, protoHTTP1)
		if err != nil {
			return nil, nil, err
		}
		return u.newHTTP1(nc, release), nc, nil
	}
}

func (u *upstream) newHTTP1(nc net.Conn, release func(reusable bool)) *http1.Client {
	client := http1.NewClient(nc, &u.codecs.http1)
	client.Release = func(_ *http1.Client, reusable bool) { release(reusable) }
	return client
}

func (u *upstream) dialHTTP2(ep *endpoint.Endpoint) pool.DialShared {
	return func(ctx context.Context, deadline time.Time, ended func()) (pool.Shared, error) {
		return asShared(u.connectHTTP2(ctx, ep, u.connectBy(deadline), &u.codecs.http2, ended))
	}
}

// connectHTTP2 opens a connection that speaks HTTP/2.
func (u *upstream) connectHTTP2(ctx context.Context, ep *endpoint.Endpoint, limit time.Time, cfg *http2.ClientConfig, ended func()) (*http2.Client, error) {
	nc, agreed, err := u.connect(ctx, ep, limit, nil, protoHTTP2)
	if err != nil {
		return nil, err
	}
	if u.tls != nil && agreed != protoHTTP2 {
		_ = nc.Close()
		return nil, stream.Faultf(stream.TLSFailed, stream.RetryUnsent,
			"the endpoint did not agree to HTTP/2 by ALPN; write protocol: auto for the cluster if it speaks HTTP/1.1")
	}
	return beginHTTP2(ctx, limit, nc, cfg, ended)
}

func (u *upstream) newHTTP2(ctx context.Context, deadline time.Time, nc net.Conn, ended func()) (*http2.Client, error) {
	return beginHTTP2(ctx, deadline, nc, &u.codecs.http2, ended)
}

func beginHTTP2(ctx context.Context, deadline time.Time, nc net.Conn, cfg *http2.ClientConfig, ended func()) (*http2.Client, error) {
	client := http2.NewClient(nc, cfg, ended)
	if err := client.Ready(ctx, deadline); err != nil {
		return nil, err
	}
	return client, nil
}

func (u *upstream) dialAuto(ep *endpoint.Endpoint) pool.AutoDial[*http1.Client] {
	return pool.AutoDial[*http1.Client]{
		Connect: func(ctx context.Context, deadline time.Time) (net.Conn, bool, error) {
			nc, agreed, err := u.connect(ctx, ep, deadline, nil, protoHTTP2, protoHTTP1)
			return nc, agreed == protoHTTP2, err
		},
		Single: u.newHTTP1,
		Shared: func(ctx context.Context, deadline time.Time, nc net.Conn, ended func()) (pool.Shared, error) {
			return asShared(u.newHTTP2(ctx, u.connectBy(deadline), nc, ended))
		},
	}
}

// asShared keeps a nil client from becoming an interface that is not nil.
func asShared(client *http2.Client, err error) (pool.Shared, error) {
	if err != nil {
		return nil, err
	}
	return client, nil
}

func (u *upstream) dialHTTP3(ep *endpoint.Endpoint) pool.DialShared {
	return func(ctx context.Context, deadline time.Time, ended func()) (pool.Shared, error) {
		address, err := netip.ParseAddrPort(ep.Address)
		if err != nil {
			return nil, stream.Faultf(stream.ConnectFailed, stream.RetryUnsent, "HTTP/3 needs an address and a port: %w", err)
		}
		var secure *tls.Config
		if secure, err = u.tls.QUICConfig(ep.Host); err != nil {
			return nil, err
		}
		client, err := u.codecs.http3.Dial(ctx, u.connectBy(deadline), address, secure, ended)
		if err != nil {
			return nil, err
		}
		return client, nil
	}
}

func (u *upstream) dialFramed(ep *endpoint.Endpoint) pool.Dial[*framed.Client] {
	return func(ctx context.Context, deadline time.Time, release func(reusable bool)) (*framed.Client, net.Conn, error) {
		nc, _, err := u.connect(ctx, ep, deadline, nil)
		if err != nil {
			return nil, nil, err
		}
		return u.newFramed(nc, release), nc, nil
	}
}

func (u *upstream) newFramed(nc net.Conn, release func(reusable bool)) *framed.Client {
	client := framed.NewClient(nc, &u.codecs.framed)
	client.Release = func(_ *framed.Client, reusable bool) { release(reusable) }
	return client
}

// dialExclusive opens connections that begin with the address of the client.
func (u *upstream) dialExclusive(ep *endpoint.Endpoint) pool.DialFor[pool.Client] {
	protos := map[string][]string{"auto": {protoHTTP2, protoHTTP1}, "h1": {protoHTTP1}, "h2": {protoHTTP2}}[u.spec.Spec.Protocol]
	return func(ctx context.Context, req *stream.Request, deadline time.Time, release func(reusable bool)) (pool.Client, error) {
		limit := u.connectBy(deadline)
		nc, agreed, err := u.connect(ctx, ep, limit, req.Conn, protos...)
		switch {
		case err != nil:
			return nil, err
		case u.spec.Spec.Protocol == "framed":
			return u.newFramed(nc, release), nil
		case agreed != protoHTTP2 && u.spec.Spec.Protocol != "h2c":
			return u.newHTTP1(nc, release), nil
		}
		client, err := u.newHTTP2(ctx, limit, nc, func() { release(false) })
		if err != nil {
			return nil, err
		}
		if !client.Reserve() {
			_ = client.Close()
			return nil, stream.Faultf(stream.ConnectFailed, stream.RetryUnsent, "the endpoint takes no request on a new connection of HTTP/2")
		}
		return client, nil
	}
}

// dialStream opens a connection for one of the client's.
func (u *upstream) dialStream(ep *endpoint.Endpoint) func(context.Context, *stream.Request, time.Time) (net.Conn, error) {
	return func(ctx context.Context, req *stream.Request, deadline time.Time) (net.Conn, error) {
		var protos []string
		if t := req.Conn.TLS; t != nil && t.ALPN != "" && req.Proto == stream.TCP {
			protos = []string{t.ALPN} // what the client believes to speak
		}
		nc, _, err := u.connect(ctx, ep, deadline, req.Conn, protos...)
		return nc, err
	}
}

// dialSession opens the socket of a session.
func (u *upstream) dialSession(ep *endpoint.Endpoint) func(context.Context, *stream.Request, time.Time) (net.Conn, error) {
	return func(ctx context.Context, _ *stream.Request, _ time.Time) (net.Conn, error) {
		nc, err := u.engine.dialer.DialContext(ctx, "udp", ep.Address)
		if err != nil {
			return nil, connectFault(ctx, err)
		}
		return nc, nil
	}
}

// call is a check of health over the protocol of the cluster.
func (u *upstream) call(ctx context.Context, ep *endpoint.Endpoint, req *stream.Request) (*stream.Response, error) {
	c, ok := ep.Transport.(*carriage)
	if !ok {
		_ = req.Body.Close()
		return nil, stream.Faultf(stream.Internal, stream.RetryNever, "the endpoint %s has no transport for exchanges", ep.Address)
	}
	u.load.Reenter() // checks are not refused for the requests that are under way
	ep.Checks()
	resp, err := c.exchanges.Serve(ctx, req)
	if err != nil {
		ep.Aborted()
		u.load.Leave()
	}
	return resp, err
}
