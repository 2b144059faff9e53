package route

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/pressure"
	"github.com/weirproxy/weir/stream"
)

// Router sends each request to the service of its route.
type Router struct {
	table    atomic.Pointer[Table]
	pressure func() pressure.Grades // may be nil
	stats    Stats
}

// Stats are the counters of a Router.
type Stats struct {
	NoRoute     atomic.Int64 // requests that no route matched
	Misdirected atomic.Int64 // 421: the handshake did not decide for this route
	Forbidden   atomic.Int64 // a route that needs a client certificate, without TLS
	NoConnect   atomic.Int64 // CONNECT that no route takes
	TooEarly    atomic.Int64 // 425: early data on a route that does not take it
	Shed        atomic.Int64 // 503: the route is not important enough at the time
}

// NewRouter makes a Router.
func NewRouter(t *Table) *Router {
	r := new(Router)
	r.table.Store(t)
	return r
}

// Guard lets the router refuse requests of routes that are not important enough
// for what is done about overload. It is called before the first request.
func (r *Router) Guard(now func() pressure.Grades) { r.pressure = now }

// Swap replaces the table. Requests under way keep the service they have.
func (r *Router) Swap(t *Table) { r.table.Store(t) }

// Table is the present table.
func (r *Router) Table() *Table { return r.table.Load() }

// Stats are the counters, which grow while they are read.
func (r *Router) Stats() *Stats { return &r.stats }

// Serve finds the route of req and calls its service.
func (r *Router) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	entry := r.table.Load().Find(req)
	if entry == nil {
		req.Body.Close()
		return nil, r.nothing(req)
	}
	req.Exchange.Route, req.Tunnel = entry.Label, entry.tunnel
	if r.pressure != nil && r.pressure()&entry.sheds != 0 {
		r.stats.Shed.Add(1)
		req.Body.Close()
		return nil, &stream.Fault{Kind: stream.Overloaded, Limit: "overload", RetryAfter: time.Second}
	}
	if entry.certificate || req.Early {
		if fault := r.check(entry, req); fault != nil {
			req.Body.Close()
			return nil, fault
		}
	}
	return entry.Service.Serve(ctx, req)
}

var errNoConnect = errors.New("CONNECT is not served here: no route with connect takes this host and port")

// nothing is the fault of a request without a route. Where no route asks for
// CONNECT, it is a method that is not implemented.
func (r *Router) nothing(req *stream.Request) *stream.Fault {
	if trafficFor(req) == trafficConnect {
		r.stats.NoConnect.Add(1)
		return &stream.Fault{Kind: stream.MethodUnsupported, Cause: errNoConnect}
	}
	r.stats.NoRoute.Add(1)
	return &stream.Fault{Kind: stream.NoRoute}
}

// check judges what the route says of how the request came.
func (r *Router) check(entry *Entry, req *stream.Request) *stream.Fault {
	if entry.certificate {
		if fault := r.checkCertificate(req); fault != nil {
			return fault
		}
	}
	if req.Early && (!entry.early || !harmlessTwice(req)) {
		r.stats.TooEarly.Add(1)
		return &stream.Fault{Kind: stream.TooEarly}
	}
	return nil
}

// harmlessTwice tells whether a request may be served that an attacker can send
// again (RFC 8470 section 4): the methods are the safe ones.
func harmlessTwice(req *stream.Request) bool {
	switch req.Method {
	case "GET", "HEAD", "OPTIONS":
		return req.Upgrade == ""
	}
	return false
}

// checkCertificate judges the handshake again, by the route that the request
// has taken: the policy of a handshake was picked by the server name, the route
// by the Host field, and a client may send one name and then another. The host
// of CONNECT is that of another server, and a connection has no second name.
func (r *Router) checkCertificate(req *stream.Request) *stream.Fault {
	tls := req.Conn.TLS
	switch {
	case tls == nil:
		r.stats.Forbidden.Add(1)
		return stream.Faultf(stream.Forbidden, stream.RetryNever, "the route needs a client certificate, the connection is not TLS")
	case trafficFor(req) == trafficHTTP && !sameName(tls.ServerName, req.Target.Host):
		r.stats.Misdirected.Add(1)
		return stream.Faultf(stream.Misdirected, stream.RetryNever,
			"the route needs a client certificate, and the handshake was for %q, not for %q", tls.ServerName, req.Target.Host)
	case tls.Client == nil:
		r.stats.Misdirected.Add(1)
		return stream.Faultf(stream.Misdirected, stream.RetryNever, "the route needs a client certificate, the connection showed none")
	}
	return nil
}

// sameName compares the name of the handshake with that of the request. An
// address is never sent as a server name (RFC 6066 section 3).
func sameName(serverName, host string) bool {
	if serverName != "" {
		return serverName == host
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}
