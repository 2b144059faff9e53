package explain

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

// carried is the request that is made of a connection or a session, or why it
// comes to nothing. For a TLS hello there are two steps: a route passes it on as
// it is, or TLS ends here first.
func (u *url) carried(s *snapshot.Snapshot, l *snapshot.Listener, stages Stages) (req *stream.Request, note, refused string) {
	req = &stream.Request{
		Proto: stream.TCP, Body: stream.NoBody, Client: u.client,
		Conn: &stream.Conn{Listener: l.Spec.Name, Remote: netip.AddrPortFrom(u.client, 40000), Local: localOf(l)},
	}
	if u.kind == session {
		req.Proto = stream.UDP
		return req, "", ""
	}
	name, err := u.serverName()
	if err != nil {
		return req, "", err.Error()
	}
	req.Target.Host = name
	if u.scheme != "tls" {
		return req, "", ""
	}
	req.Conn.Hello = &stream.Hello{ServerName: name, ALPN: u.alpn}
	if l.TLS == nil {
		return req, "the hello is passed on: TLS ends at the endpoint", ""
	}
	if won := winner(stages.Find(l.Spec.Name, req)); won != nil && won.Spec.Passthrough {
		return req, "the hello is passed on: TLS ends at the endpoint", ""
	}
	req.Conn.Hello = nil
	note, refused = u.endTLS(s, l, req)
	return req, note, refused
}

// endTLS is the handshake with the listener.
func (u *url) endTLS(s *snapshot.Snapshot, l *snapshot.Listener, req *stream.Request) (note, refused string) {
	if refused = unknownName(l, req.Target.Host); refused != "" {
		return "", refused
	}
	agreed, ok := agree(protocolsOf(s, l), u.alpn)
	if !ok {
		return "", "the handshake ends: the listener agrees to none of the protocols of the client"
	}
	req.Conn.TLS = &stream.TLS{ServerName: req.Target.Host, ALPN: agreed}
	if l.Spec.Protocol == "http" || l.Spec.Protocol == "detect" && (agreed == "h2" || agreed == "http/1.1") {
		return "", "no route passes the connection on, TLS ends here and HTTP is spoken: ask for its requests, GET https://..."
	}
	return "TLS ends here", ""
}

// protocolsOf are what the listener agrees to, the ones that it prefers first;
// none: whatever the client says.
func protocolsOf(s *snapshot.Snapshot, l *snapshot.Listener) []string {
	var own, asked []string
	if p := l.Spec.Protocol; p == "http" || p == "detect" {
		if l.Spec.HTTP2.Enabled {
			own = append(own, "h2")
		}
		own = append(own, "http/1.1")
	}
	for _, r := range s.Routes {
		if r.Spec.Protocol == "tcp" && !r.Spec.Passthrough && slices.Contains(r.Listeners, l.Spec.Name) {
			asked = append(asked, r.Match.ALPN...)
		}
	}
	slices.Sort(asked)
	for _, name := range slices.Compact(asked) {
		if !slices.Contains(own, name) {
			own = append(own, name)
		}
	}
	return own
}

// agree is RFC 7301 section 3.2; ok is false when there is nothing in common.
func agree(own, offered []string) (name string, ok bool) {
	if len(own) == 0 || len(offered) == 0 {
		return "", true
	}
	for _, name := range own {
		if slices.Contains(offered, name) {
			return name, true
		}
	}
	return "", false
}

// localOf is the address that a client has connected to, of which the port is
// known.
func localOf(l *snapshot.Listener) netip.AddrPort {
	port, err := strconv.ParseUint(listenerPort(l), 10, 16)
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(port))
}

func winner(candidates []Candidate) *snapshot.Route {
	for _, c := range candidates {
		if c.Won {
			return c.Route
		}
	}
	return nil
}

// lost is what becomes of what no route takes.
func (k kind) lost(l *snapshot.Listener) string {
	switch k {
	case tunnel:
		return "no route with connect takes this host and port: 501"
	case connection:
		return "no route matches: the connection is closed"
	case session:
		return "no route matches: the datagram is dropped"
	}
	if l.Spec.Protocol == "framed" {
		return "no route matches: the frame is answered with an error"
	}
	return "no route matches: 404"
}

// describeCarriage fills in what a route that carries bytes has in the place of
// what an upstream sees.
func (e *Explanation) describeCarriage(route *snapshot.Route, l *snapshot.Listener, req *stream.Request, k kind) {
	e.Route.Carries = kindNames[k]
	limits := Tunnel{Idle: l.Spec.Timeouts.TunnelIdle, Max: l.Spec.Timeouts.TunnelMax}
	if k == session {
		limits.Idle = l.Spec.Timeouts.SessionIdle
	}
	if own := route.Spec.Tunnel.Idle; own > 0 {
		limits.Idle = own
	}
	if own := route.Spec.Tunnel.Max; own > 0 {
		limits.Max = own
	}
	e.Route.Tunnel = &limits
	connect := route.Spec.Connect
	if connect == nil || !connect.Target {
		return
	}
	e.Route.Target = hostPort(&req.Target)
	if port, err := strconv.Atoi(req.Target.Port); err != nil || !slices.Contains(connect.Ports, port) {
		e.Refused = fmt.Sprintf("port %s is not among connect.ports of the route: 403", req.Target.Port)
	}
	if !connect.AllowPrivate {
		e.Notes = append(e.Notes, "the name is resolved when it is asked for, and refused with 403 when its address is not public")
	}
}
