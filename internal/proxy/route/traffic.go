package route

import (
	"slices"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/stream"
)

// traffic is what a route is for. A route never takes what is of another kind,
// whatever its conditions say: a route for any host must not become an open
// proxy by way of CONNECT.
type traffic uint8

const (
	trafficHTTP traffic = iota // frames too, which became requests
	trafficConnect
	trafficTCP
	trafficUDP
)

var trafficNames = [...]string{"http requests", "CONNECT", "tcp connections", "udp sessions"}

func trafficOf(spec *config.Route) traffic {
	switch {
	case spec.Protocol == "tcp":
		return trafficTCP
	case spec.Protocol == "udp":
		return trafficUDP
	case spec.Connect != nil:
		return trafficConnect
	}
	return trafficHTTP
}

// trafficFor is the kind of a request. An extended CONNECT is a GET (see
// stream.Request.Upgrade).
func trafficFor(req *stream.Request) traffic {
	switch {
	case req.Proto == stream.TCP:
		return trafficTCP
	case req.Proto == stream.UDP:
		return trafficUDP
	case req.Method == "CONNECT":
		return trafficConnect
	}
	return trafficHTTP
}

// holdsConn tells whether the conditions on the connection itself hold.
func (r *indexed) holdsConn(conn *stream.Conn) bool {
	if len(r.ports) > 0 && !slices.Contains(r.ports, conn.Local.Port()) {
		return false
	}
	return len(r.alpn) == 0 || r.holdsALPN(conn)
}

// holdsALPN looks at what the client offered in a hello that is passed on, or,
// where TLS ends here, at what was chosen.
func (r *indexed) holdsALPN(conn *stream.Conn) bool {
	if conn.Hello != nil {
		for _, offered := range conn.Hello.ALPN {
			if slices.Contains(r.alpn, offered) {
				return true
			}
		}
	}
	return conn.TLS != nil && conn.TLS.ALPN != "" && slices.Contains(r.alpn, conn.TLS.ALPN)
}
