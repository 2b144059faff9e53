package route

import (
	"context"
	"net/netip"
	"strings"
	"sync/atomic"

	"github.com/weirproxy/weir/stream"
)

// Router sends each request to the service of its route.
type Router struct {
	table atomic.Pointer[Table]
	stats Stats
}

// Stats are the counters of a Router.
type Stats struct {
	NoRoute     atomic.Int64 // requests that no route matched
	Misdirected atomic.Int64 // 421: the handshake did not decide for this route
	Forbidden   atomic.Int64 // a route that needs a client certificate, without TLS
}

// NewRouter makes a Router.
func NewRouter(t *Table) *Router {
	r := new(Router)
	r.table.Store(t)
	return r
}

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
		r.stats.NoRoute.Add(1)
		req.Body.Close()
		return nil, &stream.Fault{Kind: stream.NoRoute}
	}
	req.Exchange.Route = entry.Label
	if entry.certificate {
		if fault := r.checkCertificate(req); fault != nil {
			req.Body.Close()
			return nil, fault
		}
	}
	return entry.Service.Serve(ctx, req)
}

// checkCertificate judges the handshake again, by the route that the request
// has taken: the policy of a handshake was picked by the server name, the route
// by the Host field, and a client may send one name and then another.
func (r *Router) checkCertificate(req *stream.Request) *stream.Fault {
	tls := req.Conn.TLS
	switch {
	case tls == nil:
		r.stats.Forbidden.Add(1)
		return stream.Faultf(stream.Forbidden, stream.RetryNever, "the route needs a client certificate, the connection is not TLS")
	case !sameName(tls.ServerName, req.Target.Host):
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
