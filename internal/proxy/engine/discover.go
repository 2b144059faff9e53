package engine

import (
	"net"
	"net/netip"
	"strconv"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/internal/snapshot"
)

// startEndpoints gives the cluster the endpoints that are known by address and
// starts to resolve the others.
func (u *upstream) startEndpoints(before *upstream) {
	u.setEndpoints(fixed(u.spec.Endpoints), before)
}

// fixed are the endpoints that need no name server.
func fixed(written []snapshot.Endpoint) []endpoint.Spec {
	var specs []endpoint.Spec
	for _, w := range written {
		if spec, ok := literal(w); ok {
			specs = append(specs, spec)
		}
	}
	return specs
}

// literal is an endpoint written as an address or the path of a socket.
func literal(w snapshot.Endpoint) (endpoint.Spec, bool) {
	if w.Network == "unix" {
		return endpoint.Spec{Network: "unix", Address: w.Host, Host: "localhost", Weight: w.Weight}, true
	}
	addr, err := netip.ParseAddr(w.Host)
	if err != nil {
		return endpoint.Spec{}, false
	}
	return endpoint.Spec{
		Network: "tcp", Address: net.JoinHostPort(addr.String(), strconv.Itoa(int(w.Port))), Host: w.Host, Weight: w.Weight,
	}, true
}
