package route

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/stream"
)

// with changes the route of an entry.
func with(e Entry, change func(*config.Route)) Entry {
	change(&e.Route.Spec)
	return e
}

func forConnect(r *config.Route) { r.Connect = new(config.Connect) }

func forProtocol(protocol string) func(*config.Route) {
	return func(r *config.Route) { r.Protocol = protocol }
}

// session is a TCP connection or a UDP session with that server name.
func session(proto stream.Proto, name string) *stream.Request {
	return &stream.Request{
		Proto: proto, Target: stream.Target{Host: name}, Body: stream.NoBody,
		Conn: &stream.Conn{Local: netip.MustParseAddrPort("192.0.2.1:5432")},
	}
}

// TestTrafficIsKeptApart: every kind of request with every kind of route, all of
// them for any host and without another condition.
func TestTrafficIsKeptApart(t *testing.T) {
	entries := []Entry{
		with(entry("connect"), forConnect), with(entry("tcp"), forProtocol("tcp")), with(entry("udp"), forProtocol("udp")),
		with(entry("http"), forProtocol("http")),
	}
	upgrade := request(t, "GET h /")
	upgrade.Upgrade = "websocket"
	framed := request(t, "POST h /")
	framed.Proto = stream.Framed
	for _, c := range []struct {
		want string
		req  *stream.Request
	}{
		{"http", request(t, "GET h /")},
		{"http", request(t, "OPTIONS h *")},
		{"http", upgrade},
		{"http", framed},
		{"connect", request(t, "CONNECT h:443 h:443")},
		{"tcp", session(stream.TCP, "h")},
		{"tcp", session(stream.TCP, "")},
		{"udp", session(stream.UDP, "")},
	} {
		if got := found(Build(entries), c.req); got != c.want {
			t.Errorf("%s %s %s: found %q, want %q", c.req.Proto, c.req.Method, c.req.Target.Host, got, c.want)
		}
		if got := found(Build(entries).With(nil, []string{c.want}), c.req); got != "" {
			t.Errorf("%s %s: without its route it is taken by %q", c.req.Proto, c.req.Method, got)
		}
	}
}

// A path that is none matches no condition on the path, and hosts as usual.
func TestHostsWithoutAPath(t *testing.T) {
	for _, proto := range []stream.Proto{stream.TCP, stream.UDP, stream.HTTP11} {
		protocol, method := map[stream.Proto]string{stream.TCP: "tcp", stream.UDP: "udp", stream.HTTP11: "http"}[proto], ""
		change := forProtocol(protocol)
		if proto == stream.HTTP11 {
			method, change = "CONNECT", forConnect
		}
		table := Build([]Entry{
			with(entry("exact", host("db.example.com")), change), with(entry("wild", host("*.example.com")), change),
			with(entry("any"), change), with(entry("high", host("*.org"), 7), change),
			with(entry("prefix", host("db.example.com"), path("/"), 9), change),
			with(entry("below", path("/a"), 9), change), with(entry("same", path("=/"), 9), change),
			with(entry("regex", path("~.*"), 9), change), with(entry("template", path("{/{x...}"), 9), change),
		})
		for name, want := range map[string]string{
			"db.example.com": "exact", "a.b.example.com": "wild", "example.com": "any", "": "any", "h.org": "high",
		} {
			req := session(proto, name)
			req.Method = method
			if got := found(table, req); got != want {
				t.Errorf("%s %q: found %q, want %q", protocol, name, got, want)
			}
		}
	}
}

func TestConditionsOnTheConnection(t *testing.T) {
	h2 := entry("r")
	h2.Route.Match.ALPN = []string{"h2", "http/1.1"}
	port := entry("r")
	port.Route.Match.Ports = []uint16{5432, 5433}
	for _, e := range []*Entry{&h2, &port} {
		*e = with(*e, forProtocol("tcp"))
	}
	for _, c := range []struct {
		name  string
		route Entry
		conn  stream.Conn
		why   string
	}{
		{"offered", h2, stream.Conn{Hello: &stream.Hello{ALPN: []string{"x", "http/1.1"}}}, ""},
		{"agreed", h2, stream.Conn{TLS: &stream.TLS{ALPN: "h2"}}, ""},
		{"offered another", h2, stream.Conn{Hello: &stream.Hello{ALPN: []string{"H2"}}}, "ALPN has none of h2, http/1.1"},
		{"agreed on none", h2, stream.Conn{TLS: &stream.TLS{}}, "ALPN has none of h2, http/1.1"},
		{"in the clear", h2, stream.Conn{}, "ALPN has none of h2, http/1.1"},
		{"port", port, stream.Conn{Local: netip.MustParseAddrPort("[::1]:5433")}, ""},
		{"another port", port, stream.Conn{Local: netip.MustParseAddrPort("[::1]:80")}, "port 80 is not 5432 or 5433"},
		{"no port", port, stream.Conn{}, "port 0 is not 5432 or 5433"},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := session(stream.TCP, "")
			req.Conn = &c.conn
			table := Build([]Entry{c.route})
			if got := found(table, req) != ""; got != (c.why == "") {
				t.Errorf("matched: %v", got)
			}
			if list := table.Explain(req); len(list) != 1 || list[0].Why != c.why {
				t.Errorf("Explain: %+v, want %q", list, c.why)
			}
		})
	}
}

func TestGRPCOnly(t *testing.T) {
	e := entry("grpc")
	e.Route.Match.GRPC = true
	table := Build([]Entry{e, entry("a-method", method("POST")), entry("any")})
	for kind, want := range map[stream.GRPC]string{
		stream.NotGRPC: "a-method", stream.GRPCCall: "grpc", stream.GRPCWeb: "grpc", stream.GRPCWebText: "grpc",
	} {
		req := request(t, "POST h /pkg.Service/Method")
		req.GRPC = kind
		if got := found(table, req); got != want {
			t.Errorf("%d: found %q, want %q", kind, got, want)
		}
	}
	want := []string{
		"grpc *: the request is no gRPC call", "a-method *: method GET is not POST", "any *: won",
	}
	if got := explained(table.Explain(request(t, "GET h /"))); !cmp.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
}

func TestExplainTraffic(t *testing.T) {
	table := Build([]Entry{entry("web"), with(entry("tunnel", host("h")), forConnect), with(entry("db"), forProtocol("tcp"))})
	want := []string{
		"tunnel h: won", "db *: the route is for tcp connections, not for CONNECT", "web *: the route is for http requests, not for CONNECT",
	}
	if got := explained(table.Explain(request(t, "CONNECT h:443 h:443"))); !cmp.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
}

// A CONNECT that no route takes is answered as if the method were not known,
// whatever routes there are for others.
func TestConnectWithoutARoute(t *testing.T) {
	web, tunnel := entry("web"), with(entry("tunnel", host("db.example.com")), forConnect)
	web.Service, tunnel.Service = answers(200), answers(200)
	r := NewRouter(Build([]Entry{web, tunnel}))
	req := request(t, "CONNECT other.example.com:443 other.example.com:443")
	if _, fault := serve(t, r, req); fault == nil || fault.Kind != stream.MethodUnsupported {
		t.Errorf("fault %v", fault)
	}
	if n, none := r.Stats().NoConnect.Load(), r.Stats().NoRoute.Load(); n != 1 || none != 0 {
		t.Errorf("NoConnect %d, NoRoute %d", n, none)
	}
	if resp, fault := serve(t, r, request(t, "CONNECT db.example.com:5432 db.example.com:5432")); resp == nil {
		t.Errorf("fault %v", fault)
	}
}

func TestTunnelLimitsOfTheRoute(t *testing.T) {
	e := with(entry("r"), func(r *config.Route) {
		r.Tunnel = config.Tunnel{Idle: config.Duration(time.Minute), Max: config.Duration(time.Hour)}
	})
	e.Service = answers(200)
	req := request(t, "GET h /")
	serve(t, NewRouter(Build([]Entry{e})), req)
	if want := (stream.TunnelLimits{Idle: time.Minute, Max: time.Hour}); req.Tunnel != want {
		t.Errorf("the request has %+v", req.Tunnel)
	}
}

// RFC 8470: early data goes to routes that say so, and to safe methods only.
func TestEarlyData(t *testing.T) {
	yes := with(entry("yes", host("yes")), func(r *config.Route) { r.EarlyData = true })
	no := entry("no", host("no"))
	yes.Service, no.Service = answers(200), answers(200)
	r := NewRouter(Build([]Entry{yes, no}))
	refused := int64(0)
	for _, c := range []struct {
		line, upgrade string
		early, ok     bool
	}{
		{"GET yes /", "", true, true}, {"HEAD yes /", "", true, true}, {"OPTIONS yes *", "", true, true},
		{"POST yes /", "", true, false}, {"BREW yes /", "", true, false}, {"GET yes /", "websocket", true, false},
		{"POST yes /", "", false, true}, {"GET no /", "", false, true}, {"GET no /", "", true, false},
	} {
		req := request(t, c.line)
		req.Early, req.Upgrade = c.early, c.upgrade
		resp, fault := serve(t, r, req)
		if (resp != nil) != c.ok || !c.ok && fault.Kind != stream.TooEarly {
			t.Errorf("%s %s, early %v: response %v, fault %v", c.line, c.upgrade, c.early, resp, fault)
		}
		if !c.ok {
			refused++
		}
	}
	if n := r.Stats().TooEarly.Load(); n != refused {
		t.Errorf("counted %d, want %d", n, refused)
	}
}

// The handshake decides for the connection, not for where a tunnel goes.
func TestClientCertificateForTunnels(t *testing.T) {
	tunnel := with(entry("tunnel"), forConnect)
	db := with(entry("db"), forProtocol("tcp"))
	tunnel.Route.Spec.ClientCertificate, db.Route.Spec.ClientCertificate = "require", "require"
	tunnel.Service, db.Service = answers(200), answers(200)
	r := NewRouter(Build([]Entry{tunnel, db}))
	for _, c := range []struct {
		tls *stream.TLS
		ok  bool
	}{
		{&stream.TLS{ServerName: "proxy.example.com", Client: new(stream.Identity)}, true},
		{&stream.TLS{Client: new(stream.Identity)}, true},
		{&stream.TLS{ServerName: "proxy.example.com"}, false},
		{nil, false},
	} {
		for _, req := range []*stream.Request{request(t, "CONNECT h:443 h:443"), session(stream.TCP, "")} {
			req.Conn.TLS = c.tls
			if resp, fault := serve(t, r, req); (resp != nil) != c.ok {
				t.Errorf("%s %s with %+v: %v", req.Proto, req.Method, c.tls, fault)
			}
		}
	}
}

func TestAllocsFindTunnel(t *testing.T) {
	e := with(entry("x", host("*.example.com")), forProtocol("tcp"))
	e.Route.Match.ALPN, e.Route.Match.Ports = []string{"postgresql"}, []uint16{5432}
	table := Build(append(table(100, mixed), e))
	req := session(stream.TCP, "db.example.com")
	req.Conn.Hello = &stream.Hello{ALPN: []string{"postgresql"}}
	if got := found(table, req); got != "x" {
		t.Fatalf("found %q", got)
	}
	if n := testing.AllocsPerRun(200, func() { table.Find(req) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
